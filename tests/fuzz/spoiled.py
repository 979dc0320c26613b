"""Answers of a sync server, spoiled as a script says: what the fuzz target `sync` puts on the wire.

A script has a line for each thing that is done: to which path, to which of its answers
in this round (`*`: to all), and what. Where it says `in`, the answer is unpacked before
and packed again after, so that no length and no frame of zstd stops it at the door.
Places are thousandths of a length, and numbers wrap around, so that a line fits any answer.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from tests.sync_proxy import SIZE, Answer

PATHS = [
    f"/sync/{word}"
    for word in "hostKey meta start applyChanges chunk applyChunk sanityCheck2 finish download".split()
]
PATHS += [f"/msync/{word}" for word in "begin mediaChanges downloadFiles mediaSanity".split()]
# What the mirror holds comes from these: who lies there says what the account is.
CONTENT = {f"/sync/{word}" for word in "start applyChanges chunk download".split()}
CONTENT |= {"/msync/mediaChanges", "/msync/downloadFiles"}
LIMIT = 64 << 20


class Step(NamedTuple):
    """One line of a script; `which` is 0 for every answer."""

    path: str
    which: int
    word: str
    args: list[str]


def steps(script: str) -> Iterator[Step]:
    """Yield what a script says; lines that say nothing are left out."""
    for line in script.split("\n"):
        path, _, rest = line.partition(" ")
        which, _, rest = rest.partition(" ")
        word, _, rest = rest.partition(" ")
        if path in PATHS and word in WORDS:
            yield Step(path, int(which) if which.isdecimal() and len(which) < 4 else 0, word, rest.split(" "))


def is_message(path: str, message: bytes) -> bool:
    """Say whether bytes are what an answer of a path can be at all."""
    try:
        if path == "/sync/download":
            return message.startswith(b"SQLite format 3\0")
        if path == "/msync/downloadFiles":
            with zipfile.ZipFile(BytesIO(message)) as found:
                return found.testzip() is None
        json.loads(message)
    except (
        ValueError,
        RecursionError,
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        OSError,
        RuntimeError,
    ):
        return False
    return True


# What can be done to bytes


def _at(data: bytes, place: str) -> int:
    return len(data) * (int(place) % 1000) // 1000


def _flip(data: bytes, place: str, bit: str = "0") -> bytes:
    at = _at(data, place)
    return data[:at] + bytes([data[at] ^ 1 << int(bit) % 8]) + data[at + 1 :] if data else data


def _short(data: bytes, place: str) -> bytes:
    return data[: _at(data, place)]


def _twice(data: bytes, place: str, length: str, times: str = "2") -> bytes:
    at = _at(data, place)
    piece = data[at : at + int(length) % (1 << 16)]
    return data[:at] + piece * (int(times) % 100) + data[at + len(piece) :]


def _put(data: bytes, place: str, what: str) -> bytes:
    at = _at(data, place)
    return data[:at] + bytes.fromhex(what) + data[at:]


def _over(data: bytes, place: str, what: str) -> bytes:
    at, new = _at(data, place), bytes.fromhex(what)
    return data[:at] + new + data[at + len(new) :]


def _is(_: bytes, *text: str) -> bytes:
    return " ".join(text).encode("utf-8", "surrogatepass")


# What can be done to a message of JSON


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _nodes(each, (*path, key))


def _edited(data: bytes, number: str, edit: Callable[[Any, Any], object], whole: Any = None) -> bytes:
    """Change one node of a message, where it stands in its parent."""
    value = json.loads(data)
    nodes = list(_nodes(value))
    *above, last = nodes[int(number) % len(nodes)] or (None,)
    if last is None:
        return json.dumps(whole).encode() if whole is not None else data
    parent = value
    for key in above:
        parent = parent[key]
    edit(parent, last)
    return json.dumps(value).encode()


def _json(data: bytes, number: str, *text: str) -> bytes:
    new = json.loads(" ".join(text))
    return _edited(data, number, lambda parent, key: parent.__setitem__(key, new), new)


def _drop(data: bytes, number: str) -> bytes:
    return _edited(data, number, lambda parent, key: parent.__delitem__(key))


def _double(data: bytes, number: str) -> bytes:
    return _edited(
        data, number, lambda parent, key: parent.append(parent[key]) if isinstance(parent, list) else None
    )


def _more(data: bytes, number: str, amount: str) -> bytes:
    """Add to one of the numbers of a message."""
    value = json.loads(data)
    nodes = list(_nodes(value))
    wanted = [at for at, path in enumerate(nodes) if type(_get(value, path)) is int]
    if not wanted:
        return data
    at = wanted[int(number) % len(wanted)]
    new = _get(value, nodes[at]) + int(amount)
    return _edited(data, str(at), lambda parent, key: parent.__setitem__(key, new), new)


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


# What can be done to a collection, and to a zip


def collection_after(data: bytes, *text: str) -> bytes:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(data)
        file.flush()
        with closing(sqlite3.connect(file.name, isolation_level=None)) as db:
            db.create_collation(
                "unicase", lambda a, b: (a.casefold() > b.casefold()) - (a.casefold() < b.casefold())
            )
            db.execute("pragma journal_mode = delete")
            db.execute("pragma writable_schema = on")
            db.execute(" ".join(text))
        return Path(file.name).read_bytes()


def _zip(data: bytes, number: str, what: str, *text: str) -> bytes:
    """Rename one of the files of a zip, give it other bytes, or leave it out; or add to them."""
    with zipfile.ZipFile(BytesIO(data)) as found:
        files = {name: found.read(name) for name in found.namelist()}
    names = json.loads(files.get("_meta", b"{}"))
    inner = sorted(set(files) - {"_meta"})
    new = " ".join(text)
    if what == "none":
        files, names = {}, {}
    elif what == "more":
        files["99"], names["99"] = b"one more", new
    elif inner:
        name = inner[int(number) % len(inner)]
        if what == "name":
            names[name] = new
        elif what == "data":
            files[name] = new.encode("utf-8", "surrogatepass")
        elif what == "drop":
            del files[name]
        elif what == "unnamed":
            names.pop(name, None)
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for name, content in {**files, "_meta": json.dumps(names).encode()}.items():
            target.writestr(name, content)
    return made.getvalue()


INSIDE: dict[str, Callable[..., bytes]] = {
    **{"flip": _flip, "short": _short, "twice": _twice, "put": _put, "over": _over, "is": _is},
    **{"json": _json, "drop": _drop, "double": _double, "more": _more, "sql": collection_after, "zip": _zip},
}
OUTSIDE = {"flip", "short", "twice", "put", "over", "is"}
WORDS = OUTSIDE | {"in", "status", "header", "without", "length", "cut", "size", "from", "old", "stall"}


def spoil(step: Step, answer: Answer, known: dict[str, list[Answer]], place: str) -> Answer:
    """Return an answer as a step leaves it; one that the step doesn't fit is left as it is."""
    word, args = step.word, step.args
    with suppress(
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        RecursionError,
        sqlite3.Error,
        zipfile.BadZipFile,
        OverflowError,
    ):
        if word in OUTSIDE:
            return answer._replace(body=INSIDE[word](answer.body, *args))
        match word:
            case "in":
                message = answer.message
                if message is not None:
                    made = INSIDE[args[0]](message, *args[1:])
                    return answer.of(made) if len(made) < LIMIT else answer
            case "status":
                return answer._replace(status=int(args[0]))
            case "header":
                return answer._replace(
                    headers=[*answer.headers, (args[0], " ".join(args[1:]).replace("{proxy}", place))]
                )
            case "without":
                return answer._replace(
                    headers=[pair for pair in answer.headers if pair[0].lower() != args[0]]
                )
            case "length":
                return answer._replace(length=max(0, len(answer.body) + int(args[0])))
            case "cut":
                return answer._replace(cut_after=_at(answer.body, args[0]))
            case "size":
                kept = [pair for pair in answer.headers if pair[0].lower() != SIZE]
                return answer._replace(headers=[*kept, (SIZE, args[0])])
            case "stall":
                time.sleep(min(3.0, int(args[0]) / 1000))
            case "from":
                return known[args[0]][-1]
            case "old":
                return known[step.path][int(args[0]) % len(known[step.path])]
    return answer
