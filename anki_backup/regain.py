"""Which notes of one collection another one lacks, or has otherwise: what putting them back would do.

Pure reading of two closed collections. Notes are the same by their guid, as in
Anki; ids of rows may differ. A deck is compared by its name.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from anki_backup import collection

NAMES = 5
WIDTH = 40
TAG = re.compile(r"<[^<>]*>")
# As it is at home: a filtered deck keeps the real due date aside. Of the queue only suspension counts.
CARD = (
    "nid, ord, coalesce(nullif(odid, 0), did), type, queue = -1, CASE WHEN odid THEN odue ELSE due END,"
    " ivl, factor, reps, lapses"
)
REVIEWS = (
    "SELECT count() FROM revlog a WHERE cid IN (SELECT id FROM cards WHERE nid IN (SELECT value FROM"
    " json_each(?))) AND NOT EXISTS (SELECT 1 FROM present.revlog b WHERE b.id = a.id)"
)
NEW = 0

Note = tuple[frozenset[str], bytes]
Cards = dict[int, tuple[Any, ...]]


class Regained(NamedTuple):
    """Notes by their ids in the first collection: gone, otherwise, or the same in the second."""

    missing: list[int]
    changed: list[int]
    same: list[int]
    texts: list[str]

    @property
    def wanted(self) -> list[int]:
        """The notes that have to be put back."""
        return sorted([*self.missing, *self.changed])


class _Side(NamedTuple):
    """The notes of one collection by guid, and the cards of each by their number."""

    ids: dict[str, int]
    notes: dict[str, Note]
    cards: dict[str, Cards]


def compare(then: Path, present: Path, notes: Iterable[int], *, scheduling: bool) -> Regained:
    """Compare notes of `then` with those of `present`; without `scheduling`, cards only have to be there."""
    old = _read(then, set(notes), None)
    now = _read(present, None, set(old.ids))
    missing, changed, same = list[int](), list[int](), list[int]()
    texts: list[str] = []
    for guid, note in sorted(old.ids.items(), key=lambda item: item[1]):
        if guid not in now.ids:
            missing.append(note)
        elif old.notes[guid] != now.notes[guid] or _cards_differ(
            old.cards[guid], now.cards[guid], scheduling=scheduling
        ):
            changed.append(note)
        else:
            same.append(note)
            continue
        if len(texts) < NAMES:
            texts.append(_plain(collection.text(old.notes[guid][1])))
    return Regained(missing, changed, same, texts)


def guids(path: Path, notes: Iterable[int]) -> list[str]:
    """Return the guids of notes."""
    return list(_read(path, set(notes), None).ids)


def lacking_reviews(then: Path, present: Path, notes: Iterable[int]) -> int:
    """Return how many reviews of these notes `present` doesn't have."""
    with collection.connect(then) as db:
        db.execute("ATTACH ? AS present", (collection.uri(present),))
        return int(db.execute(REVIEWS, (json.dumps(list(notes)),)).get)


def _cards_differ(old: Cards, now: Cards, *, scheduling: bool) -> bool:
    return old != now if scheduling else not old.keys() <= now.keys()


def _read(path: Path, ids: set[int] | None, wanted: set[str] | None) -> _Side:
    """Read the notes with these ids, or these guids."""
    decks = {deck.id: deck.name.casefold() for deck in collection.statistics(path).decks}
    side = _Side({}, {}, defaultdict(dict))
    by_id = {}
    with collection.connect(path) as db:
        for note, guid, tags, fields in _rows(db, "SELECT id, guid, tags, flds FROM notes"):
            key = collection.text(guid)
            if (ids is None or note in ids) and (wanted is None or key in wanted):
                by_id[note] = key
                side.ids[key] = note
                side.notes[key] = frozenset(collection.text(tags).casefold().split()), fields
        for note, number, deck, kind, *rest in db.execute(f"SELECT {CARD} FROM cards"):
            if note in by_id:
                # The place of a new card in the queue is Anki's to give.
                shown = (kind, rest[0]) if kind == NEW else (kind, *rest)
                side.cards[by_id[note]][number] = (decks.get(deck), *shown)
    return side


def _rows(db: apsw.Connection, query: str) -> Iterable[Any]:
    head, _, tail = query.partition(" FROM ")
    first, *texts = head.removeprefix("SELECT ").split(", ")
    blobs = ", ".join(f"CAST({name} AS BLOB)" for name in texts)
    return db.execute(f"SELECT {first}, {blobs} FROM {tail}")


def _plain(fields: str) -> str:
    first = " ".join(html.unescape(TAG.sub(" ", fields.split("\x1f", maxsplit=1)[0])).split())
    return first if len(first) <= WIDTH else first[:WIDTH] + "…"
