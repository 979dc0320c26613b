"""The content hash once more, in plain Python, as the specification tells it."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anki_backup import content


def tlv(tag: str, payload: bytes) -> bytes:
    return tag.encode() + struct.pack(">Q", len(payload)) + payload


def book_json(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return tlv({None: "n", True: "t", False: "f"}[value], b"")
    if isinstance(value, int):
        return tlv("i", str(value).encode())
    if isinstance(value, float):
        return tlv("d", struct.pack(">d", value))
    if isinstance(value, str):
        return tlv("s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return tlv("l", b"".join(map(book_json, value)))
    return tlv("o", b"".join(book_json(key) + book_json(value[key]) for key in sorted(value, key=str.encode)))


def book_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: book_nulls(member) for key, member in value.items() if member is not None}
    return [book_nulls(member) for member in value] if isinstance(value, list) else value


def book_message(data: bytes, masked: Iterable[int] = ()) -> bytes:
    fields = []
    while data:
        (key, data) = book_varint(data)
        number, kind = divmod(key, 8)
        if kind == 0:
            integer, data = book_varint(data)
            found = tlv("v", struct.pack(">Q", integer))
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            found, data = tlv("q" if kind == 1 else "w", data[:size]), data[size:]
        else:
            assert kind == 2
            size, data = book_varint(data)
            found, data = tlv("b", data[:size]), data[size:]
            if number == 255:
                found = book_json(book_nulls(json.loads(found[9:])))
        if number not in masked and found != tlv("o", b""):
            fields.append((number, found))
    fields.sort(key=lambda field: field[0])
    return tlv("m", b"".join(struct.pack(">L", number) + found for number, found in fields))


def book_varint(data: bytes) -> tuple[int, bytes]:
    value = length = 0
    while True:
        value += (data[length] % 128) << (7 * length)
        length += 1
        if data[length - 1] < 128:
            return value, data[length:]


WINDOWS = re.compile(
    "(curDeck|curModel|activeDecks|activeCols|activeNoteCols|sortType|sortBackwards|noteSortType|nextPos"
    "|lastUnburied|localOffset|addToCur|withScheduling|withDeckConfigs|updateNotes|updateNotetypes"
    "|mergeNotetypes|browser[A-Z].*|collapse[A-Z].*|_deck_[0-9]+_lastNotetype|_deck_[0-9]+_customStudy.*"
    "|_nt_[0-9]+_lastDeck)"
)
COUNTERS = "usn mod newToday revToday lrnToday timeToday collapsed browserCollapsed".split()


def is_window(key: str) -> bool:
    return bool(WINDOWS.fullmatch(key)) and key != "collapseTime"


def book_sql(value: Any) -> bytes:
    if value is None:
        return tlv("N", b"")
    if isinstance(value, int):
        return tlv("I", str(value).encode())
    return tlv("T", value.encode()) if isinstance(value, str) else tlv("B", value)


def book_column(table: str, name: str, value: Any, version: int) -> bytes:
    if value in ("", None) or isinstance(value, int):
        return book_sql(value)
    match table, name:
        case "col", "conf":
            return book_json({key: member for key, member in json.loads(value).items() if not is_window(key)})
        case "col", "tags":
            return book_json(dict.fromkeys(json.loads(value)))
        case "col", _:
            mask = COUNTERS if name == "decks" else ["usn"]
            things = {
                key: {name: member for name, member in thing.items() if name not in mask}
                for key, thing in json.loads(value).items()
            }
            return book_json(book_nulls(things))
        case "config", "val" if value:
            return book_json(json.loads(value))
        case "deck_config", "config" if version < 15:
            return book_json(book_nulls({k: v for k, v in json.loads(value).items() if k != "usn"}))
        case "decks", "common":
            return book_message(value, (1, 2, 3, 4, 5, 6, 7))
        case _, "config":
            return book_message(value)
    return book_sql(value)


SMALL = {
    "col": "crt ver conf models decks dconf tags",
    "config": "key val",
    "deck_config": "id name mtime_secs config",
    "notetypes": "id name mtime_secs config",
    "fields": "ntid ord name config",
    "templates": "ntid ord name config",
    "decks": "id name common kind",
    "tags": "tag",
}
ORDER = "col notes cards revlog config deck_config notetypes fields templates decks tags media".split()


def book_digest(rows: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(tlv("R", row) for row in sorted(rows))).hexdigest()


def book_query(db: sqlite3.Connection, query: str) -> str:
    stream = [b"S%d:%s" % (len(query), query.encode())]
    for row in db.execute(query):
        stream.append(b"R")
        for value in row:
            if value is None:
                stream.append(b"N")
            elif isinstance(value, int):
                stream.append(b"I" + struct.pack(">q", value))
            elif isinstance(value, float):
                stream.append(b"F" + struct.pack(">d", value))
            else:
                data = value.encode() if isinstance(value, str) else value
                stream.append(b"%s%d:%s" % (b"T" if isinstance(value, str) else b"B", len(data), data))
    return hashlib.sha3_256(b"".join(stream)).hexdigest()


def by_the_book(path: Path, media: Iterable[tuple[bytes, str]]) -> str:
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    db.create_collation("unicase", lambda one, other: 0)
    version = db.execute("SELECT ver FROM col").fetchone()[0]
    files = book_digest(tlv("B", name) + tlv("T", digest.encode()) for name, digest in media)
    if version > 18:
        found = {"bytes": hashlib.sha256(path.read_bytes()).hexdigest(), "media": files}
    else:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        found = dict.fromkeys(ORDER, "-") | {"media": files}
        found |= {table: book_query(db, query) for table, query in content.QUERIES.items()}
        for table, columns in SMALL.items():
            if table in tables:
                rows = db.execute(f"SELECT {columns.replace(' ', ',')} FROM {table}").fetchall()
                found[table] = book_digest(
                    b"".join(
                        book_column(table, name, value, version)
                        for name, value in zip(columns.split(), row, strict=True)
                    )
                    for row in rows
                    if not (table == "config" and is_window(row[0]))
                )
    db.close()
    lines = "".join(f"{label} {digest}\n" for label, digest in found.items())
    return "v1:" + hashlib.sha256(b"ankibak content v1\n" + lines.encode()).hexdigest()
