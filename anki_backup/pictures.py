"""What the pictures of a backup need, counted once, when the backup is made.

A page is drawn from this and from the manifest alone, so no collection is opened
for it. It says nothing that could not be counted again from the collection, and a
backup without it is as good as any: then its page shows fewer pictures.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import apsw
from msgspec import Struct

from anki_backup import collection
from anki_backup.errors import DamageError, SourceError
from anki_backup.model import DeckStats, dump, load, typed
from anki_backup.objects import ObjectStore

FORMAT = 1
# 53 weeks, so that a calendar of whole weeks has no gap.
DAYS = 371
AHEAD = 31
MATURE_DAYS = 21
MOST = 24
LIMIT = 1 << 20
DAY_S = 86_400
ROLLOVER_HOUR = 4
# The mature ones, most of a grown collection, are what is left.
STATES = f"""
    select case when queue = -1 then 'suspended' when queue < 0 then 'buried' when type = 0 then 'new'
    when type = 2 then 'young' else 'learning' end, count(*)
    from cards where queue < 0 or type != 2 or ivl < {MATURE_DAYS} group by 1
"""
# The day that a card in a filtered deck goes back to stands in `odue`.
DUE = """
    select max(case when odid != 0 and odue != 0 then odue else due end, :first) as day, count(*)
    from cards where queue in (2, 3) and day < :end group by 1
"""
REVIEWS = """
    select (id / 1000 - :shift) / 86400, count(*) from revlog
    where id >= :start and id < :end and ease > 0 group by 1
"""


class States(Struct, frozen=True, kw_only=True):
    """How many cards are where: each card counts once."""

    new: int
    learning: int
    young: int
    mature: int
    suspended: int
    buried: int


class Named(Struct, frozen=True, array_like=True):
    """A name and how many there are of it."""

    name: str
    count: int


class Pictures(Struct, frozen=True, kw_only=True):
    """The document. `reviews` are per day and end with `day`; `due` begins with what is overdue."""

    format: int
    day: str
    reviews: list[int]
    states: States
    due: list[int]
    notetypes: list[Named]
    decks: list[Named]


def count(path: Path, decks: list[DeckStats], at: datetime) -> Pictures | None:
    """Count what pictures need in a checked, closed collection, as it stood `at` that time.

    None where the schema is newer than we know, or what is counted isn't there: a
    backup is never lost for want of a picture.
    """
    try:
        with collection.connect(path) as db:
            if (collection.schema(db) or 0) > collection.NEWEST:
                return None
            return _count(db, decks, at)
    except (SourceError, ValueError, OverflowError, TypeError, KeyError):
        return None


def _count(db: apsw.Connection, decks: list[DeckStats], at: datetime) -> Pictures:
    tables = collection.table_names(db)
    now = int(at.timestamp())
    conf = _settings(db, tables)
    shift = _minutes(conf.get("localOffset"), at) * 60 + _hour(conf.get("rollover")) * 3600
    day = (now - shift) // DAY_S
    first = day - DAYS + 1
    span = {"shift": shift, "start": (first * DAY_S + shift) * 1000, "end": (now + DAY_S) * 1000}
    reviewed = dict(db.execute(REVIEWS, span))
    today = _today(db, conf, day, now)
    waiting = dict(db.execute(DUE, {"first": today - 1, "end": today + AHEAD}))
    states: Counter[str] = Counter(dict(db.execute(STATES)))
    total = cast(int, db.execute("SELECT count(*) FROM cards").get)
    states["mature"] = total - states.total()
    return Pictures(
        format=FORMAT,
        day=str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()),
        reviews=[int(reviewed.get(number, 0)) for number in range(first, day + 1)],
        states=States(**{name: states[name] for name in States.__struct_fields__}),
        due=[int(waiting.get(number, 0)) for number in range(today - 1, today + AHEAD)],
        notetypes=_largest(_notetypes(db, tables)),
        decks=_largest(_whole_trees(decks)),
    )


def _today(db: apsw.Connection, conf: dict[str, Any], day: int, now: int) -> int:
    """Return the number that Anki gives the day: so many since the collection was made."""
    created = cast(int, db.execute("SELECT CAST(crt AS INTEGER) FROM col").get)
    if (offset := conf.get("creationOffset")) is None:
        return (now - created) // DAY_S
    return day - (created - int(offset) * 60) // DAY_S


def _minutes(offset: object, at: datetime) -> int:
    """Return minutes west of UTC: the collection's own, else this machine's."""
    if isinstance(offset, int) and abs(offset) <= 24 * 60:
        return offset
    here = at.astimezone().utcoffset() or timedelta()
    return -int(here.total_seconds()) // 60


def _hour(rollover: object) -> int:
    return rollover % 24 if isinstance(rollover, int) else ROLLOVER_HOUR


def _settings(db: apsw.Connection, tables: set[str]) -> dict[str, Any]:
    """Return the few settings that say when a day begins; what doesn't parse is left out."""
    if "config" not in tables:
        return _json(db.execute("SELECT CAST(conf AS BLOB) FROM col").get) or {}
    wanted = (
        "SELECT key, CAST(val AS BLOB) FROM config WHERE key IN ('rollover','localOffset','creationOffset')"
    )
    return {str(key): _parsed(value) for key, value in db.execute(wanted)}


def _notetypes(db: apsw.Connection, tables: set[str]) -> Counter[str]:
    used = dict(db.execute("SELECT CAST(mid AS INTEGER), count(*) FROM notes GROUP BY 1"))
    names: dict[int, str] = {}
    if "notetypes" in tables:
        rows = db.execute("SELECT CAST(id AS INTEGER), CAST(name AS BLOB) FROM notetypes")
        names = {cast(int, number): collection.text(name) for number, name in rows}
    else:
        models = _json(db.execute("SELECT CAST(models AS BLOB) FROM col").get) or {}
        names = {
            int(key): str(model.get("name"))
            for key, model in models.items()
            if key.isdecimal() and key.isascii() and isinstance(model, dict)
        }
    found: Counter[str] = Counter()
    for number, notes in used.items():
        found[names.get(cast(int, number), "?")] += cast(int, notes)
    return found


def _whole_trees(decks: list[DeckStats]) -> Counter[str]:
    """Count the cards of each top deck with all that is below it."""
    found: Counter[str] = Counter()
    for deck in decks:
        found[deck.name.partition("::")[0]] += deck.cards
    return found


def _largest(found: Counter[str]) -> list[Named]:
    some = sorted(
        ((name, number) for name, number in found.items() if number), key=lambda it: (-it[1], it[0])
    )
    return [Named(name, number) for name, number in some[:MOST]]


def _json(stored: object) -> dict[str, Any] | None:
    value = _parsed(stored)
    return value if isinstance(value, dict) else None


def _parsed(stored: object) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(collection.text(stored))
    return None


def keep(store: ObjectStore, pictures: Pictures | None) -> str | None:
    """Keep the document as an object; return its name for the manifest."""
    return store.put(dump(pictures) + b"\n") if pictures else None


def read(store: ObjectStore, name: str) -> Pictures | None:
    """Return the document that a manifest names; None if it is of a later format, DamageError if damaged."""
    what = f"pictures {name}"
    document = load(store.read(name, LIMIT), what)
    if not isinstance(document, dict):
        raise DamageError(f"{what} is no object of JSON")
    return typed(document, Pictures, what) if document.get("format") == FORMAT else None
