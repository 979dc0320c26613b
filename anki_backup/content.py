"""The content hash: equal while nothing that a person would miss has changed.

Bytes of a collection change with every sync and every click; what is hashed here
is the rows, without what clients recompute (usn, sort fields, day counters) and
without the state of windows. `docs/ARCHITECTURE.md` specifies it to the byte. A
hash is only ever compared with another one: v1 never changes its meaning, what
would be hashed otherwise becomes v2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import apsw
import apsw.sqlite_extra

from anki_backup import canonical, collection
from anki_backup.errors import SourceError

VERSION = "v1"
HEADING = b"ankibak content v1\n"

# The three large tables: the text of the query is itself hashed, so it never changes.
QUERIES = {
    "revlog": "SELECT id,cid,ease,ivl,lastIvl,factor,time,type FROM revlog ORDER BY id",
    "notes": "SELECT id,guid,mid,mod,tags,flds,flags,data FROM notes ORDER BY id",
    # A buried card is hashed in the queue that it comes back to: every client unburies
    # on its own when a day begins, without marking the card as changed, and writes '{}'
    # where data was empty.
    "cards": (
        "SELECT id,nid,did,ord,mod,type,"
        "CASE WHEN queue NOT IN (-2,-3) THEN queue WHEN type IN (0,2) THEN type "
        "WHEN type NOT IN (1,3) THEN queue WHEN due>1000000000 THEN 1 ELSE 3 END,"
        "due,ivl,factor,reps,lapses,left,odue,odid,flags,"
        "CASE data WHEN '' THEN '{}' ELSE data END FROM cards ORDER BY id"
    ),
}
LABELS = [
    *("col", "notes", "cards", "revlog", "config", "deck_config"),
    *("notetypes", "fields", "templates", "decks", "tags", "media"),
]

WINDOWS = re.compile(
    rb"curDeck|curModel|activeDecks|activeCols|activeNoteCols|sortType|sortBackwards|noteSortType"
    rb"|nextPos|lastUnburied|localOffset|addToCur|withScheduling|withDeckConfigs|updateNotes"
    rb"|updateNotetypes|mergeNotetypes|browser[A-Z].*|collapse(?!Time\Z)[A-Z].*"
    rb"|_deck_[0-9]+_(lastNotetype|customStudy.*)|_nt_[0-9]+_lastDeck",
    re.DOTALL,
)
# Of decks.common: folding (1, 2) and the day's counters (3-7).
COMMON_MASK = range(1, 8)
DECK_MASK = {"usn", "mod", "newToday", "revToday", "lrnToday", "timeToday", "collapsed", "browserCollapsed"}

Encode = Callable[[bytes], bytes]
Layout = tuple[tuple[str, Encode | None], ...]
Value = tuple[str, bytes]


def content_hash(path: Path, media: str) -> str:
    """Return `v1:` and 64 hex digits for a closed collection and its media, given as their section.

    The file must have passed `collection.check`, now or beside us in another
    thread. Equal hashes mean equal content; another hash may, rarely, come from a
    change that nobody would miss. SourceError if not every row can be read.
    """
    return combined(sections(path, media))


def combined(found: dict[str, str]) -> str:
    """Return the hash of sections: with other media it is that of the same collection beside those."""
    lines = [f"{label} {digest}\n".encode() for label, digest in found.items()]
    return f"{VERSION}:{hashlib.sha256(HEADING + b''.join(lines)).hexdigest()}"


def sections(path: Path, media: str) -> dict[str, str]:
    """Return the parts of the hash by label, in their order: which one differs says what changed."""
    with collection.connect(path) as db:
        tables = collection.table_names(db)
        if (collection.schema(db) or 0) > collection.NEWEST:
            with path.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest()
            return {"bytes": whole, "media": media}
    with ThreadPoolExecutor(2) as pool:
        large = {label: pool.submit(_large, path, label) for label in QUERIES}
        small = pool.submit(_small, path, tables)
        digests = {label: digest.result() for label, digest in large.items()} | small.result()
    digests["media"] = media
    return {label: digests.get(label, "-") for label in LABELS}


def _large(path: Path, table: str) -> str:
    """Hash a large table in C, with the GIL released."""
    query = QUERIES[table]
    steps: list[int] = []

    def finished(event: dict[str, Any]) -> None:
        if event["sql"] == query:
            steps.append(event["stmt_status"]["SQLITE_STMTSTATUS_FULLSCAN_STEP"])

    with collection.connect(path) as db:
        apsw.sqlite_extra.load(db, "shathree")
        rows = cast(int, db.execute(f"SELECT count(*) FROM {table}").get)
        db.trace_v2(apsw.SQLITE_TRACE_PROFILE, finished)
        digest = cast(bytes, db.execute("SELECT sha3_query(?, 256)", (query,)).get)
        # sha3_query takes an error in the middle for the end: the steps that it took say
        # whether it saw every row.
        if rows and (not steps or steps[-1] + 1 < rows):
            raise SourceError(f"{path} is damaged: not every row of {table} can be read")
    return digest.hex()


def _small(path: Path, tables: set[str]) -> dict[str, str]:
    """Hash the tables of settings, those that this schema has."""
    with collection.connect(path) as db:
        columns = layouts(collection.schema(db) or 0)
        return {
            table: _digest(encoded_row(values, layout) for values in raw_rows(db, table, layout))
            for table, layout in columns.items()
            if table in tables
        }


def layouts(schema: int) -> dict[str, Layout]:
    """Return for each small table the columns that count, in their order, and how each is encoded."""
    return {
        "col": (("crt", None), ("ver", None), *((column, _members_of(column)) for column in MEMBERS)),
        "config": (("key", None), ("val", _value)),
        "deck_config": (
            ("id", None),
            ("name", None),
            ("mtime_secs", None),
            ("config", _deck_options if schema < 15 else _message),
        ),
        "notetypes": (("id", None), ("name", None), ("mtime_secs", None), ("config", _message)),
        "fields": (("ntid", None), ("ord", None), ("name", None), ("config", _message)),
        "templates": (("ntid", None), ("ord", None), ("name", None), ("config", _message)),
        "decks": (("id", None), ("name", None), ("common", _common), ("kind", None)),
        "tags": (("tag", None),),
    }


def raw_rows(db: apsw.Connection, table: str, layout: Layout) -> Iterator[list[Value]]:
    """Yield the rows of a small table, each value with its type, without config keys that are no settings."""
    wanted = ",".join(f"typeof({name}),CAST({name} AS BLOB)" for name, _ in layout)
    for row in db.execute(f"SELECT {wanted} FROM {table}"):
        values = [
            (str(kind), bytes(cast(bytes, content or b"")))
            for kind, content in zip(row[::2], row[1::2], strict=True)
        ]
        if table != "config" or not WINDOWS.fullmatch(values[0][1]):
            yield values


def encoded_row(values: Iterable[Value], layout: Layout) -> bytes:
    """Return what is hashed of a row."""
    return b"".join(
        _encoded(kind, content, encode) for (kind, content), (_, encode) in zip(values, layout, strict=True)
    )


def _encoded(kind: str, content: bytes, encode: Encode | None) -> bytes:
    if encode and kind in ("blob", "text"):
        try:
            return encode(content)
        except canonical.Unparsable:
            pass
    return canonical.item({"real": b"F", "null": b"N"}.get(kind, kind[:1].upper().encode()), content)


def _digest(rows: Iterable[bytes]) -> str:
    """Hash rows in the order of their bytes, so that no order of reading counts."""
    return hashlib.sha256(b"".join(canonical.item(b"R", row) for row in sorted(rows))).hexdigest()


def media_section(media: Iterable[tuple[bytes, str]]) -> str:
    """Return the section of media: a digest of names and SHA-256s, whatever their order."""
    return _digest(
        canonical.item(b"B", name) + canonical.item(b"T", sha256.encode()) for name, sha256 in media
    )


def _message(content: bytes) -> bytes:
    return canonical.message_item(content)


def _common(content: bytes) -> bytes:
    return canonical.message_item(content, COMMON_MASK)


def _value(content: bytes) -> bytes:
    return canonical.json_item(canonical.parse_json(content))


def _deck_options(content: bytes) -> bytes:
    """Encode the JSON that schema 14 keeps in deck_config.config."""
    return canonical.json_item(_without(_object(content), {"usn"}), nulls=False)


def _members_of(column: str) -> Encode:
    """Return what encodes a JSON column of `col`."""

    def encode(content: bytes) -> bytes:
        return canonical.json_item(MEMBERS[column](content), nulls=column in NULLS_COUNT)

    return encode


def _conf(content: bytes) -> dict[str, Any]:
    settings = _object(content)
    windows = {key for key in settings if WINDOWS.fullmatch(key.encode("utf-8", "replace"))}
    return cast(dict[str, Any], _without(settings, windows))


def _listed(mask: set[str]) -> Callable[[bytes], dict[str, Any]]:
    """Return what reads a JSON object of objects (models, decks, options), each without `mask`."""
    return lambda content: {key: _without(thing, mask) for key, thing in _object(content).items()}


def _object(content: bytes) -> dict[str, Any]:
    value = canonical.parse_json(content)
    if not isinstance(value, dict):
        raise canonical.Unparsable
    return value


def _without(thing: Any, mask: set[str]) -> Any:
    if not isinstance(thing, dict):
        return thing
    return {key: value for key, value in thing.items() if key not in mask}


# The JSON columns of `col`, up to schema 14: what counts of each as an object, or Unparsable.
MEMBERS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "conf": _conf,
    "models": _listed({"usn"}),
    "decks": _listed(DECK_MASK),
    "dconf": _listed({"usn"}),
    "tags": lambda content: dict.fromkeys(_object(content)),
}
NULLS_COUNT = {"conf", "tags"}
