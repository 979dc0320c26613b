"""The rows of notes, cards and reviews in which two collections differ.

SQLite finds them, with its lock on Python released; only those that differ come
here. What counts is what the content hash reads: no sync numbers, no sort fields,
a buried card in the queue that it comes back to.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw

from anki_backup import collection

QUEUE = (
    "CASE WHEN {t}.queue NOT IN (-2,-3) THEN {t}.queue WHEN {t}.type IN (0,2) THEN {t}.type "
    "WHEN {t}.type NOT IN (1,3) THEN {t}.queue WHEN {t}.due>1000000000 THEN 1 ELSE 3 END"
)
DATA = "CASE {t}.data WHEN '' THEN '{{}}' ELSE {t}.data END"
# What is compared of each table besides the id, as in content.QUERIES.
COMPARED = {
    "notes": "guid mid mod tags flds flags data".split(),
    "cards": "nid did ord mod type queue due ivl factor reps lapses left odue odid flags data".split(),
    "revlog": "cid ease ivl lastIvl factor time type".split(),
}
MASKED = {("cards", "queue"): QUEUE, ("cards", "data"): DATA}
TEXTS = {"guid", "tags", "flds", "data"}
BEGINNING = 1200


class Note(NamedTuple):
    """A row of notes; its texts are what others wrote."""

    id: int
    guid: str
    mid: int
    mod: int
    tags: str
    flds: str
    flags: int
    data: str


class Card(NamedTuple):
    """A row of cards."""

    id: int
    nid: int
    did: int
    ord: int
    mod: int
    type: int
    queue: int
    due: int
    ivl: int
    factor: int
    reps: int
    lapses: int
    left: int
    odue: int
    odid: int
    flags: int
    data: str

    @property
    def home(self) -> int:
        """The deck that the card belongs to, also while it is in a filtered one."""
        return self.odid or self.did

    @property
    def own_due(self) -> int:
        """When it is due, also while it is in a filtered deck."""
        return self.odue if self.odid and self.odue else self.due

    @property
    def memory(self) -> str:
        """What FSRS and others keep; an empty text stands for nothing, like `{}`."""
        return self.data or "{}"


class Review(NamedTuple):
    """What is wanted of a row of revlog."""

    id: int
    cid: int
    type: int


Row = Note | Card | Review
Pair = tuple[Row | None, Row | None]
KINDS: dict[str, type[Note] | type[Card] | type[Review]] = {"notes": Note, "cards": Card, "revlog": Review}


class Rows(NamedTuple):
    """For each table the pairs (before, after) that differ; None where one has no such row."""

    notes: list[tuple[Note | None, Note | None]]
    cards: list[tuple[Card | None, Card | None]]
    reviews: list[tuple[Review | None, Review | None]]


def differing(old: Path, new: Path) -> Rows:
    """Return all that differs between two checked collections of schemas that we know."""
    with ThreadPoolExecutor(len(COMPARED)) as pool:
        found = [pool.submit(_differing, old, new, table) for table in COMPARED]
        return Rows(*(cast(Any, part.result()) for part in found))


@contextmanager
def both(old: Path, new: Path) -> Iterator[apsw.Connection]:
    """Open two collections for reading only: `main` is the new one, `old` the old one."""
    with collection.connect(new) as db:
        db.execute("ATTACH ? AS old", (collection.uri(old),))
        yield db


def _differing(old: Path, new: Path, table: str) -> list[Pair]:
    kind = KINDS[table]
    here, there = (columns(kind, name) for name in "no")
    differs = " OR ".join(f"{_value(table, c, 'n')} IS NOT {_value(table, c, 'o')}" for c in COMPARED[table])
    width = len(kind._fields)
    pairs: list[Pair] = []
    with both(old, new) as db:
        joined = f"FROM main.{table} n LEFT JOIN old.{table} o ON o.id = n.id"
        query = f"SELECT {here},{there} {joined} WHERE o.id IS NULL OR {differs}"
        added = 0
        for values in db.execute(query):
            before = row(kind, values[width:])
            pairs.append((before, row(kind, values[:width])))
            added += before is None
        counts = [
            cast(int, db.execute(f"SELECT count(*) FROM {name}.{table}").get) for name in ("old", "main")
        ]
        if counts[0] + added != counts[1]:  # some are gone: a second pass finds which
            gone = f"NOT EXISTS (SELECT 1 FROM main.{table} n WHERE n.id = o.id)"
            for values in db.execute(f"SELECT {there} FROM old.{table} o WHERE {gone}"):
                pairs.append((row(kind, values), None))
    return pairs


def _value(table: str, column: str, name: str) -> str:
    return MASKED.get((table, column), "{t}." + column).format(t=name)


def columns(kind: type[Row], name: str) -> str:
    """List the columns to read; text may be no UTF-8, so it is read as bytes."""
    return ",".join(
        f"CAST({name}.{column} AS BLOB)" if column in TEXTS else f"{name}.{column}" for column in kind._fields
    )


def row(kind: type[Row], values: Sequence[object]) -> Row | None:
    """Return what was read by these columns; None for a row of nothing."""
    if values[0] is None:
        return None
    read = [collection.text(value) if isinstance(value, bytes) else value for value in values]
    return kind._make(cast(Any, read))


def first_fields(path: Path, notes: Collection[int]) -> dict[int, str]:
    """Return the beginning of each note's fields."""
    query = (
        f"SELECT id, substr(CAST(flds AS BLOB), 1, {BEGINNING}) FROM notes"
        " WHERE id IN (SELECT value FROM json_each(?))"
    )
    with collection.connect(path) as db:
        found = db.execute(query, (json.dumps(list(notes)),))
        return {cast(int, note): collection.text(fields) for note, fields in found}


def unburied(card: Card) -> Card:
    """Return a card as the content hash sees it: in the queue that it comes back to."""
    queue = card.queue
    if queue in (-2, -3) and card.type in (0, 2):
        queue = card.type
    elif queue in (-2, -3) and card.type in (1, 3):
        queue = 1 if card.due > 1_000_000_000 else 3
    return card._replace(queue=queue, data=card.memory)


def decks_of_notes(path: Path, notes: Sequence[int]) -> dict[int, int]:
    """Return the home deck of each note's first card."""
    query = (
        "SELECT nid, coalesce(nullif(odid, 0), did), min(ord) FROM cards"
        " WHERE nid IN (SELECT value FROM json_each(?)) GROUP BY nid"
    )
    with collection.connect(path) as db:
        return {cast(int, each[0]): cast(int, each[1]) for each in db.execute(query, (json.dumps(notes),))}


def whole(value: Any) -> int:
    """Return the whole number of a column; 0 where a damaged row has something else in it."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
