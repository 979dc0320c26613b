"""A read-only look inside an .anki2: is it one, is it whole, what is in it.

The file must be private to us and closed: it is opened as immutable, so nothing
is locked, nothing appears beside it and a `-wal` would not be seen. What is in it
was written by others: names may be no UTF-8, JSON may not parse, cards may point
to decks that don't exist. None of that raises here; only damage does.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote_from_bytes

import apsw

from anki_backup.errors import SourceError
from anki_backup.model import BackupStats, DeckStats

OLDEST, NEWEST = 11, 18
MAGIC = b"SQLite format 3\0"
TABLES = ("cards", "notes", "revlog", "graves")
LEVEL = "\x1f"
CACHE_KIB = 64 << 10
FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
FROM_BACKUP = "In Anki, choose File > Switch Profile > Open Backup, take the newest good one, and run again."
NOT_ANKI = "Name the file `collection.anki2` of a profile; import a package into Anki first."

Table = dict[str, Any]


class Statistics(NamedTuple):
    """What a collection holds; the decks in the order of their names."""

    stats: BackupStats
    decks: list[DeckStats]


@contextmanager
def connect(path: Path, vfs: str | None = None) -> Iterator[apsw.Connection]:
    """Open a closed .anki2 for reading only; what SQLite objects to becomes a SourceError.

    `unicase`, Anki's collation, is registered, and so is any that a newer Anki
    may bring. Views and triggers in the file are never run.
    """
    try:
        db = apsw.Connection(uri(path), flags=FLAGS, vfs=vfs)
        try:
            for off in ("TRUSTED_SCHEMA", "ENABLE_VIEW", "ENABLE_TRIGGER"):
                db.config(getattr(apsw, f"SQLITE_DBCONFIG_{off}"), 0)
            db.collation_needed(lambda db, name: db.create_collation(name, _unicase))
            yield db
        finally:
            db.close()
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise SourceError(f"{path} is damaged: {error}", hint=FROM_BACKUP) from error
    except (apsw.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path} can't be read as a collection: {error}", hint=NOT_ANKI) from error


def check(path: Path, *, thorough: bool) -> int:
    """Return the schema version of a whole collection; SourceError says what is wrong.

    Whole means: a regular file as long as its header says, a `col` row, no schema
    before 11, and no finding of SQLite's `quick_check`, or of `integrity_check`
    if `thorough`. A schema newer than 18 is fine, but only checked quickly: its
    indexes may be in an order that we don't know.
    """
    _check_length(path)
    with connect(path) as db:
        tables = table_names(db)
        if "facts" in tables:
            hint = "Open it in Anki 2.0, which converts it, then that collection in a newer Anki."
            raise SourceError(f"{path} is a deck of Anki 1", hint=hint)
        if "col" not in tables:
            raise SourceError(f"{path} is no collection: it has no table col", hint=NOT_ANKI)
        version = schema(db)
        if version is None:
            raise SourceError(f"{path} is no collection: its table col is empty", hint=FROM_BACKUP)
        if version < OLDEST:
            hint = "Open it once in Anki 2.0, which upgrades it, close Anki, and run again."
            raise SourceError(f"{path} has schema {version}, which is older than schema 11", hint=hint)
        missing = [name for name in TABLES if name not in tables]
        if missing and version <= NEWEST:
            raise SourceError(f"{path} is damaged: it has no table {missing[0]}", hint=FROM_BACKUP)
        _check_structure(db, path, thorough=thorough and version <= NEWEST)
    return version


def looks_like_one(file: int) -> bool:
    """Say whether an open file begins as SQLite's do and could be whole pages: `check` says the rest."""
    return os.pread(file, len(MAGIC), 0) == MAGIC and os.fstat(file).st_size % 512 == 0


def refers_to_media(path: Path) -> bool:
    """Say whether any note of a checked collection shows a picture or plays a sound."""
    query = "SELECT 1 FROM notes WHERE flds LIKE '%<img%' OR flds LIKE '%[sound:%' LIMIT 1"
    with connect(path) as db:
        return "notes" in table_names(db) and db.execute(query).fetchone() is not None


def statistics(path: Path) -> Statistics:
    """Count what is in a checked collection, as Anki's library would.

    A card in a filtered deck counts for its home deck. Where the schema is newer
    than 18 everything is None; where a list of decks, note types or tags does not
    parse, that figure is.
    """
    with connect(path) as db:
        if (schema(db) or 0) > NEWEST:
            return Statistics(BackupStats(), [])
        tables = table_names(db)
        decks = _decks(db, tables)
        stats = BackupStats(
            cards=_count(db, "cards"),
            notes=_count(db, "notes"),
            revlog=_count(db, "revlog"),
            decks=None if decks is None else len(decks),
            notetypes=_count(db, "notetypes") if "notetypes" in tables else _length(_json(db, "models")),
            tags=_count(db, "tags") if "tags" in tables else _length(_folded(_json(db, "tags"))),
        )
        return Statistics(stats, decks or [])


def schema(db: apsw.Connection) -> int | None:
    """Return the version that the collection says it has; None if it has no `col` row."""
    row = db.execute("SELECT CAST(ver AS INTEGER) FROM col").fetchone()
    return None if row is None else cast(int, row[0] or 0)


def modified_ms(path: Path) -> int:
    """Return when a collection was last changed, as it says itself; 0 if it says nothing."""
    with connect(path) as db:
        row = db.execute("SELECT CAST(mod AS INTEGER) FROM col").fetchone()
    return cast(int, row[0] or 0) if row else 0


def table_names(db: apsw.Connection) -> set[str]:
    """Return the names of the tables, as they are looked up: in lower case."""
    rows = db.execute("SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table'")
    return {text(name).lower() for (name,) in rows}


def text(value: Any) -> str:
    """Decode what was read as a blob; bytes that are no UTF-8 become lone surrogates."""
    return bytes(value or b"").decode("utf-8", "surrogateescape")


def uri(path: Path, query: str = "immutable=1") -> str:
    """Return what SQLite opens a file by, by default as one that nobody changes."""
    # Quoted from bytes: an unquoted `?` or `#` would open another file.
    return f"file://{quote_from_bytes(os.fsencode(os.path.abspath(path)))}?{query}"


def _unicase(one: str, other: str) -> int:
    first, second = one.casefold(), other.casefold()
    return (first > second) - (first < second)


def _check_length(path: Path) -> None:
    """Refuse what is no SQLite file, or not as long as its header says."""
    try:
        # A FIFO would block for ever without O_NONBLOCK.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path} is not a regular file", hint=NOT_ANKI)
            header = os.pread(file, 100, 0)
        finally:
            os.close(file)
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}", hint=NOT_ANKI) from error
    if not status.st_size:
        raise SourceError(f"{path} is empty", hint=FROM_BACKUP)
    if len(header) < 100 or not header.startswith(MAGIC):
        raise SourceError(f"{path} is no collection: it has no header of SQLite", hint=NOT_ANKI)
    page_size, changes, pages, valid_for = struct.unpack(">16xH6xII60xI4x", header)
    page_size = 65536 if page_size == 1 else page_size
    if page_size < 512 or page_size & (page_size - 1):
        raise SourceError(f"{path} is damaged: its pages can't be of {page_size} bytes", hint=FROM_BACKUP)
    # As SQLite does: a count of pages that an old writer has left behind doesn't count.
    told = pages * page_size if pages and changes == valid_for else None
    if status.st_size % page_size or status.st_size != (told or status.st_size):
        expected = f"{told} bytes" if told else f"whole pages of {page_size} bytes"
        message = f"{path} is damaged: it has {status.st_size} bytes where its header says {expected}"
        raise SourceError(message, hint=FROM_BACKUP)


def _check_structure(db: apsw.Connection, path: Path, *, thorough: bool) -> None:
    word = "quick_check"
    if thorough:
        word = "integrity_check"
        # It looks up each row in each index: half as long with more than SQLite's 2 MB at hand.
        db.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
    try:
        row = db.execute(f"PRAGMA {word}(1)").fetchone()
    except UnicodeDecodeError:
        # A name that is no UTF-8 can't be put in order; all else still can be checked.
        row = db.execute("PRAGMA quick_check(1)").fetchone()
    finding = str(row[0]) if row else "nothing"
    if finding != "ok":
        lines = [line for line in finding.splitlines() if not line.startswith("***")]
        message = f"{path} is damaged: SQLite's {word} says {' '.join(lines[:1]) or finding!r}"
        raise SourceError(message, hint=FROM_BACKUP)


def _count(db: apsw.Connection, table: str) -> int:
    return cast(int, db.execute(f"SELECT count(*) FROM {table}").get)


def _decks(db: apsw.Connection, tables: set[str]) -> list[DeckStats] | None:
    """Return every deck with the cards whose home it is; None if the list doesn't parse."""
    if "decks" in tables:
        rows = db.execute("SELECT CAST(id AS INTEGER), CAST(name AS BLOB) FROM decks")
        names = {cast(int, deck): text(name) for deck, name in rows}
    else:
        listed = _json(db, "decks")
        if listed is None:
            return None
        names = dict(_listed_names(listed))
    cards = _homes(db)
    ordered = sorted(names.items(), key=lambda item: (item[1].casefold().split(LEVEL), item[0]))
    return [DeckStats(id=deck, name=name.replace(LEVEL, "::"), cards=cards[deck]) for deck, name in ordered]


def _homes(db: apsw.Connection) -> Counter[int]:
    """Count the cards of each home deck; both queries walk an index, not the cards."""
    cards: Counter[int] = Counter()
    for deck, number in db.execute("SELECT CAST(did AS INTEGER), count(*) FROM cards GROUP BY did"):
        cards[deck] += number
    places = "CAST(did AS INTEGER), CAST(odid AS INTEGER)"
    for deck, home, number in db.execute(
        f"SELECT {places}, count(*) FROM cards WHERE odid != 0 GROUP BY 1, 2"
    ):
        if home:
            cards[deck] -= number
            cards[home] += number
    return cards


def _listed_names(listed: Table) -> Iterator[tuple[int, str]]:
    """Yield the decks of schema 11 to 14 under the names that Anki gives them when it upgrades."""
    for key, deck in listed.items():
        name = deck.get("name") if isinstance(deck, dict) else None
        if key.isdecimal() and key.isascii():
            levels = str(name or "").split("::")
            yield int(key), LEVEL.join(_level(level) for level in levels)


def _level(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    printable = "".join(letter for letter in composed if letter >= " " and letter != "\x7f")
    start, end = 0, len(printable)
    while start < end and (printable[start].isspace() or printable[start] == ":"):
        start += 1
    while end > start and (printable[end - 1].isspace() or printable[end - 1] == ":"):
        end -= 1
    return printable[start:end] or "blank"


def _json(db: apsw.Connection, column: str) -> Table | None:
    """Return one of the JSON columns of `col`; None if it is no object."""
    stored = db.execute(f"SELECT CAST({column} AS BLOB) FROM col").get
    try:
        value = json.loads(text(stored))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _folded(names: Table | None) -> Table | None:
    return None if names is None else {name.casefold(): None for name in names}


def _length(table: Table | None) -> int | None:
    return None if table is None else len(table)
