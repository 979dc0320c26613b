"""The list of media of a backup, and the delta from one list to the next.

It is an object: one line a file, sorted by the bytes of its name, each a JSON
array `["name",size,mtime_ns,"sha256"]` and a line feed. Names are bytes; what is
not UTF-8 stands as `\\udc80`-`\\udcff` escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from anki_backup import deltas
from anki_backup.errors import DamageError
from anki_backup.model import MediaFile, file_name_text


def pack_list(files: Iterable[MediaFile]) -> bytes:
    """Write a list of media."""
    return b"".join(map(_line, sorted(files, key=lambda file: file.name)))


def _line(file: MediaFile) -> bytes:
    row = [file_name_text(file.name), file.size, file.mtime_ns, file.sha256]
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def unpack_list(data: bytes) -> list[MediaFile]:
    """Read a list of media; DamageError when it is not one."""
    return _read(data.splitlines())


def _read(lines: list[bytes]) -> list[MediaFile]:
    try:
        if b"" in lines:
            raise ValueError("a line is empty")
        # All lines as one array: a call for each takes three times as long.
        return [
            MediaFile(name.encode("utf-8", "surrogateescape"), int(size), int(mtime_ns), str(sha256))
            for name, size, mtime_ns, sha256 in json.loads(b"[" + b",".join(lines) + b"]")
        ]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamageError(f"a list of media is damaged: {error}") from error


class Listed:
    """A list of media of which only what is asked for is read: sixty thousand lines take a while."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.splitlines()

    def get(self, name: str) -> MediaFile | None:
        """Return the file of a name, as text."""
        begin = f"[{json.dumps(name)},".encode("ascii")
        found = _read([line for line in self._lines if line.startswith(begin)])
        return found[0] if found else None

    def find(self, part: str, start: int, count: int) -> tuple[list[MediaFile], int]:
        """Return some of the files with a part in their names, whatever its case, and how many there are."""
        if not part:
            return _read(self._lines[start : start + count]), len(self._lines)
        wanted = part.casefold()
        found = [file for file in _read(self._lines) if wanted in file_name_text(file.name).casefold()]
        return found[start : start + count], len(found)


def named(files: Iterable[MediaFile]) -> list[tuple[bytes, str]]:
    """Return what counts as the content of media: names and hashes, not times."""
    return [(file.name, file.sha256) for file in files]


def list_delta(old: bytes, new: bytes) -> tuple[bytes, list[bytes]]:
    """Return the delta of two lists: the lines that came and went, as few bytes as that takes."""
    olds, news = old.splitlines(keepends=True), new.splitlines(keepends=True)
    ops: list[deltas.Op] = []
    inserted: list[bytes] = []
    dropped: list[bytes] = []
    copy = 0
    for before, after in _merge(olds, news):
        if before == after:
            copy += len(after)
            continue
        ops.append(deltas.Op(copy, len(before), len(after)))
        inserted.append(after)
        dropped.append(before)
        copy = 0
    frame = deltas.compress(b"".join(inserted), deltas.prefix(b"".join(dropped)), level=3)
    table = deltas.Table(1, tuple(ops), (deltas.Frame(len(ops), len(frame), ()),))
    return deltas.pack(table), [frame]


def _merge(olds: list[bytes], news: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Walk two sorted lists together; yield (line or nothing, line or nothing)."""
    at = 0
    for new in news:
        if at < len(olds) and olds[at] == new:  # nearly always, and no name needs to be read
            yield new, new
            at += 1
            continue
        key = _key(new)
        while at < len(olds) and _key(olds[at]) < key:
            yield olds[at], b""
            at += 1
        if at < len(olds) and _key(olds[at]) == key:
            yield olds[at], new
            at += 1
        else:
            yield b"", new
    for old in olds[at:]:
        yield old, b""


def _key(line: bytes) -> bytes:
    return str(json.loads(line)[0]).encode("utf-8", "surrogateescape")
