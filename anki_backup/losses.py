"""What a rollback would take away and bring back: in figures, and then by name.

Pure reading: two closed collections are compared by the ids of their rows. What is
only in the present one would be lost, what is only in the other would come back,
and what is in both but not the same would be as it was then.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

import apsw
from msgspec import Struct

from anki_backup import collection
from anki_backup.collection import Statistics
from anki_backup.model import file_name_text

NAMES = 10
RANGES = 256
WIDTH = 60
TAG = re.compile(r"<[^<>]*>")
NOUNS = ("notes", "cards", "decks", "reviews", "media")
# Of both tables, what makes a row another one; counters of syncing don't.
NOTE = "a.flds IS NOT b.flds OR a.tags IS NOT b.tags OR a.mid IS NOT b.mid"
CARD = " OR ".join(
    f"a.{name} IS NOT b.{name}" for name in "did odid type queue due ivl factor reps lapses".split()
)


class Change(Struct, frozen=True, kw_only=True):
    """What becomes of one kind of thing; the names are the first few."""

    lost: int = 0
    regained: int = 0
    changed: int = 0
    lost_names: list[str] = []
    regained_names: list[str] = []


class Losses(Struct, frozen=True, kw_only=True):
    """What a rollback changes, noun by noun."""

    notes: Change = Change()
    cards: Change = Change()
    decks: Change = Change()
    reviews: Change = Change()
    media: Change = Change()

    def rows(self) -> list[tuple[str, Change]]:
        """Return each noun with its change."""
        return [(noun, getattr(self, noun)) for noun in NOUNS]

    @property
    def nothing(self) -> bool:
        """Whether both are the same, as far as this looks."""
        return all(not (each.lost or each.regained or each.changed) for _, each in self.rows())


def compare(present: Path, target: Path, now: Statistics, then: Statistics, media: Change) -> Losses:
    """Compare the collection that is there with the one that would take its place; both are closed files."""
    with collection.connect(present) as db:
        db.execute("ATTACH ? AS target", (collection.uri(target),))
        return Losses(
            notes=Change(
                lost=_only(db, "main.notes", "target.notes"),
                regained=_only(db, "target.notes", "main.notes"),
                changed=_differ(db, "notes", NOTE),
                lost_names=_texts(db, "main.notes", "target.notes"),
                regained_names=_texts(db, "target.notes", "main.notes"),
            ),
            cards=Change(
                lost=_only(db, "main.cards", "target.cards"),
                regained=_only(db, "target.cards", "main.cards"),
                changed=_differ(db, "cards", CARD),
            ),
            decks=named(
                {deck.id: deck.name for deck in now.decks}, {deck.id: deck.name for deck in then.decks}
            ),
            reviews=_reviews(db),
            media=media,
        )


def named(now: Mapping[int, str], then: Mapping[int, str]) -> Change:
    """Compare things that have a name each."""
    lost = sorted(name for key, name in now.items() if key not in then)
    regained = sorted(name for key, name in then.items() if key not in now)
    changed = sum(then[key] != name for key, name in now.items() if key in then)
    return Change(
        lost=len(lost),
        regained=len(regained),
        changed=changed,
        lost_names=lost[:NAMES],
        regained_names=regained[:NAMES],
    )


def files(now: Mapping[bytes, object], then: Mapping[bytes, object], *, exact: bool) -> Change:
    """Compare media by what tells their content; what the backup doesn't have goes only if `exact`."""
    lost = sorted(file_name_text(name) for name in now if name not in then) if exact else []
    regained = sorted(file_name_text(name) for name in then if name not in now)
    return Change(
        lost=len(lost),
        regained=len(regained),
        changed=sum(name in now and now[name] != told for name, told in then.items()),
        lost_names=lost[:NAMES],
        regained_names=regained[:NAMES],
    )


def _only(db: apsw.Connection, one: str, other: str) -> int:
    query = f"SELECT count() FROM {one} a WHERE NOT EXISTS (SELECT 1 FROM {other} b WHERE b.id = a.id)"
    return int(db.execute(query).get)


def _reviews(db: apsw.Connection) -> Change:
    """Compare the many ids of reviews; ranges whose counts and sums agree are taken for the same."""
    both = ("main.revlog", "target.revlog")
    bounds = [db.execute(f"SELECT min(id), max(id) + 1 FROM {table}").fetchone() for table in both]
    known = [bound for bound in bounds if bound and bound[0] is not None]
    if not known:
        return Change()
    start, end = min(int(low) for low, _ in known), max(int(high) for _, high in known)
    step = (end - start) // RANGES + 1
    lost = regained = 0
    for at in range(start, end, step):
        within = (at, at + step)
        sums = [
            db.execute(f"SELECT count(), sum(id) FROM {table} WHERE id >= ? AND id < ?", within).fetchone()
            for table in both
        ]
        if sums[0] != sums[1]:
            now, then = (
                {row for (row,) in db.execute(f"SELECT id FROM {table} WHERE id >= ? AND id < ?", within)}
                for table in both
            )
            lost, regained = lost + len(now - then), regained + len(then - now)
    return Change(lost=lost, regained=regained)


def _differ(db: apsw.Connection, table: str, condition: str) -> int:
    query = f"SELECT count() FROM main.{table} a JOIN target.{table} b ON b.id = a.id WHERE {condition}"
    return int(db.execute(query).get)


def _texts(db: apsw.Connection, one: str, other: str) -> list[str]:
    """Return how the newest notes begin that only one of the two has."""
    missing = f"NOT EXISTS (SELECT 1 FROM {other} b WHERE b.id = a.id)"
    query = f"SELECT CAST(flds AS BLOB) FROM {one} a WHERE {missing} ORDER BY a.id DESC LIMIT {NAMES}"
    return [_plain(collection.text(fields)) for (fields,) in db.execute(query)]


def _plain(fields: str) -> str:
    first = " ".join(html.unescape(TAG.sub(" ", fields.split("\x1f", maxsplit=1)[0])).split())
    return first if len(first) <= WIDTH else first[:WIDTH] + "…"
