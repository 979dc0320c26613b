"""The event log: what happened, line by line, and no manifest holds.

`state/events.jsonl` only grows. Each line is a JSON object that ends in
`,"crc32":"xxxxxxxx"}`, the CRC-32 of the line's bytes before that member. `n`
counts up. Known events:

    run_started  source                       run      run (n of its start), and a Run's fields
    pin          backup, label                unpin    backup
    alarm        backup, alarm                acknowledge  backup
    proof        backup                       rollback source, from, to, safety, pushed, outcome
    pruned       backups: what retention let go, freed_bytes, inherited_bytes
    lost         backups: the log had lost its end, which told of them; what the catalog remembers follows
    accepted     backups: what was lost, which a person took note of
    adopted      source, backup: a backup that an import made
    verified     findings: how much damage `verify` found
    folded       source, day, count: unchanged runs of that day without a warning, kept as one line

Folding, and putting back what was lost (`gaps`), rewrite the file, whole or not at all.
A line that a crash tore is passed over; `verify` reports any other line that is not as it was written.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from anki_backup import durable
from anki_backup.errors import DamageError
from anki_backup.model import dump, load

SEAL = re.compile(rb'(.*),"crc32":"([0-9a-f]{8})"\}\n')
# How `encode` begins every line: enough to tell its number and its time without reading the rest.
HEAD = re.compile(rb'\{"n":([1-9]\d{0,17}),"at":"([^"\\]*)","event":"\w+"[,}]')
ACCEPTED = b'"event":"accepted"'
UNCHANGED = b'"reason":"unchanged"'
TAIL = 1 << 16
BLOCK = 1 << 20
KEPT_SINGLY = timedelta(days=35)
EVERY = timedelta(days=7)


class Line:
    """One line of the log, as its bytes lie there; it is only read as far as somebody asks.

    A log of ten years has a hundred thousand of them.
    """

    def __init__(self, raw: bytes, start: int) -> None:
        self.raw, self.start = raw, start

    @property
    def end(self) -> int:
        """Where the next line begins."""
        return self.start + len(self.raw)

    @cached_property
    def event(self) -> dict[str, Any] | None:
        """The event; None when the line's bytes are not what was written."""
        return decode(self.raw)

    @property
    def number(self) -> int | None:
        """The event's number, None when there is no event."""
        if (head := HEAD.match(self.raw)) and _sealed(self.raw):
            return int(head[1])
        return self.event["n"] if self.event else None


def encode(event: dict[str, Any]) -> bytes:
    """Return a sealed line."""
    body = dump(event)[:-1]
    return b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line, None if it is torn or damaged."""
    body = _sealed(line)
    if body is None:
        return None
    try:
        event = load(body + b"}", "an event")
    except DamageError:
        return None
    return event if isinstance(event, dict) and _is_ours(event) else None


def _sealed(line: bytes) -> bytes | None:
    """Return what a line says if its checksum is right."""
    match = SEAL.fullmatch(line)
    return match[1] if match and zlib.crc32(match[1]) == int(match[2], 16) else None


def _is_ours(event: dict[str, Any]) -> bool:
    """Say whether it has what every event has: a number that SQLite can hold, a time, a word."""
    number = event.get("n")
    counted = isinstance(number, int) and not isinstance(number, bool) and 0 < number < 1 << 63
    return counted and all(isinstance(event.get(key), str) for key in ("at", "event"))


def append(path: Path, event: str, at: datetime, **fields: Any) -> int:
    """Write one event and return its number; durable, but for the start of a run, which promises nothing."""
    number = (last(path) or {"n": 0})["n"] + 1
    line = encode({"n": number, "at": at, "event": event, **fields})
    durable.append(path, line, sync=event != "run_started")
    return int(number)


def read(path: Path, offset: int = 0) -> Iterator[Line]:
    """Yield the lines from a byte offset on; nothing when there is no log yet.

    Not what has no end: a crash tore it, or it is being written.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                yield Line(line, offset)
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DamageError(f"{path} can't be read: {error.strerror}") from error


def mentioning(path: Path, word: bytes) -> Iterator[Line]:
    """Yield the lines that hold a word, without a line feed in it; of the others nothing is made.

    That is quick where few do: a log of ten years has 12 MB.
    """
    start, rest = 0, b""
    for block in _blocks(path):
        data = rest + block
        end = data.rfind(b"\n") + 1
        at = data.find(word, 0, end)
        while at >= 0:
            first, after = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at, end) + 1 or end
            yield Line(data[first:after], start + first)
            at = data.find(word, after, end)
        start, rest = start + end, data[end:]


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a log piece by piece, and nothing at its end."""
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                yield block
        yield b""
    except FileNotFoundError:
        return
    except OSError as error:
        raise DamageError(f"{path} can't be read: {error.strerror}") from error


def last(path: Path) -> dict[str, Any] | None:
    """Return the newest sound event, reading no more of the log than that takes."""
    lines = (line for start in _tails(path) for line in reversed(list(read(path, start))))
    return next((line.event for line in lines if line.event), None)


def newest(path: Path) -> list[dict[str, Any]]:
    """Return the newest sound events, oldest first: those in the last 64 KiB, and always at least one."""
    for start in _tails(path):
        if found := [line.event for line in read(path, start) if line.event]:
            return found
    return []


def _tails(path: Path) -> Iterator[int]:
    """Yield where to begin to look for what is newest: near the end, then at the start."""
    try:
        yield _line_start(path, max(0, path.stat().st_size - TAIL))
    except OSError:
        return
    yield 0


def _line_start(path: Path, offset: int) -> int:
    """Move an offset to the start of the next line."""
    if not offset:
        return 0
    with open(path, "rb") as file:
        file.seek(offset - 1)
        file.readline()
        return file.tell()


def damaged(path: Path) -> list[Line]:
    """Return the lines that are not as they were written, and that nobody has accepted since.

    A line that a crash tore is none of them: nothing was promised for it. The event
    after it bears the number that it would have had.
    """
    before, doubtful, found = 0, [], []
    for line in read(path):
        number = line.number
        if number is None:
            doubtful.append(line)
            continue
        if number != before + 1:
            found += doubtful
        if ACCEPTED in line.raw:
            found = []
        before, doubtful = number, []
    return found + doubtful


def fold(path: Path, now: datetime) -> bool:
    """Fold unchanged runs older than 35 days to one line a source and day; say whether it was done.

    Waits until a week of them has come together, so that it is done rarely.
    """
    unchanged = {line.start: line.event for line in _unchanged(path, now - KEPT_SINGLY) if line.event}
    first = next(iter(unchanged.values()), None)
    if first is None or _at(first) > now - KEPT_SINGLY - EVERY:
        return False
    old = {event["run"] for event in unchanged.values()}
    days, left = Counter[tuple[str, str]](), Counter(map(_day, unchanged.values()))
    for event in unchanged.values():
        count = event.get("count")
        days[_day(event)] += count if isinstance(count, int) else 1
    if damaged(path):  # the catalog, which a fold makes anew, may be all that remembers what they told
        return False
    kept: list[bytes] = []
    for line in read(path):
        if line.start in unchanged:
            event = unchanged[line.start]
            day = _day(event)
            left[day] -= 1
            if not left[day]:  # the last of its day, so that numbers go on rising
                kept.append(encode(_folded(event, days[day])))
        elif line.number is not None and line.number not in old:  # what a crash tore goes
            kept.append(line.raw)
    durable.write(path, b"".join(kept))
    return True


def _unchanged(path: Path, moment: datetime) -> Iterator[Line]:
    """Yield the ends of unchanged runs before a moment; lines that are younger are not read."""
    limit = moment.isoformat()[:19].encode()
    for line in mentioning(path, UNCHANGED):
        head = HEAD.match(line.raw)
        if head and head[2][:19] <= limit and line.event and _unchanged_before(line.event, moment):
            yield line


def _unchanged_before(event: dict[str, Any], moment: datetime) -> bool:
    """Say whether an event is the end of an unchanged run before that moment, as we write it."""
    ours = isinstance(event.get("run"), int) and isinstance(event.get("source"), str)
    try:
        quiet = event.get("reason") == "unchanged" and not event.get("warning")
        return ours and quiet and _at(event) < moment
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def _day(event: dict[str, Any]) -> tuple[str, str]:
    return event["source"], event["at"][:10]


def _folded(event: dict[str, Any], count: int) -> dict[str, Any]:
    kept = {key: event[key] for key in ("n", "at", "source")}
    return kept | {"event": "folded", "day": event["at"][:10], "count": count}


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def size(path: Path) -> int:
    """Return the bytes of the log, 0 when there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
