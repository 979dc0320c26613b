"""Bytes from outside, mangled: each reader gives a right answer or an error of ours, soon and in bounds.

`python -m tests.fuzz TARGET` mangles the corpus of a target; what reaches a line in a
new way is kept in memory and mangled further. The tests beside it replay the corpus in
`corpus/TARGET/` and a few thousand mangled inputs, always the same.

How such a test lies, and the guard against each way:

- Nothing is reached: lines reached and inputs kept are printed; a target that gets no
  further than its seeds is an error.
- A checksum stops everything at the door: targets compute the right one over mangled bytes.
- A wrong answer is taken for a right one: what was read must come back when it is written.

Two readers are reached only through a socket, `http` and `sync`. Their lines can't be
seen, so their targets say themselves in what way an input was answered, and what is
answered in a new way is kept.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from anki_backup.errors import AnkibakError
from tests.conftest import ROOT

CORPUS = Path(__file__).parent / "corpus"
SLOW_S = 5.0
LENGTH_LIMIT = 64 << 10
# Every how many runs the lines that are reached are looked at: that makes Python several times slower.
LOOK = 8
NUMBERS = [b"-1", b"0", b"1e999", b"9" * 20, b"9" * 5000, b"null", b"true", b"[]", b"{}", b'""', b"NaN"]
BYTES = [b"\0", b"\xff" * 4, b"\x80" * 9 + b"\x01", b"\xff" * 8, b"\n", b"\\ud800", b"\\udc80", b"\x1b[31m"]
BYTES += [b"[" * 2000, b"/", b"../", b"\\", b'"', b"'", b"\xc3\x28", "\u202e".encode(), b"=", b"."]


@dataclass(frozen=True)
class Target:
    """A reader: what it is given to begin with, and the rooms whose lines count as reached.

    Without rooms, `read` returns the ways in which it was answered, and what happens
    outside of this process is bounded by `read` and `end`: it is called after the last
    run, fails as `read` does, and returns what it measured.
    """

    name: str
    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    rooms: tuple[str, ...] = ()
    mangle: Callable[[random.Random, bytes, list[bytes]], bytes] | None = None
    end: Callable[[], str] | None = None
    runs: int = 1_000_000
    # What the process of the campaign may have for addresses.
    memory: int = 4 << 30


@dataclass(frozen=True)
class Finding:
    """An input that a reader can't stand."""

    data: bytes
    why: str


@dataclass
class Campaign:
    """Mangles a target's corpus; `kept` grows by what reaches a line, or is answered, in a new way."""

    target: Target
    seed: int = 0
    kept: list[bytes] = field(default_factory=list)
    reached: set[Hashable] = field(default_factory=set)
    runs: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._rooms = {str(ROOT / "anki_backup" / f"{room}.py") for room in self.target.rooms}

    def begin(self, inputs: Iterable[bytes]) -> list[Finding]:
        """Run inputs as they are and keep them all."""
        found = []
        for data in inputs:
            finding, _ = self.look(data)
            self.kept.append(data)
            found += [finding] if finding else []
        return found

    def go(self, runs: int) -> Finding | None:
        """Run so many mangled inputs, or until one is a finding."""
        mangle = self.target.mangle or mangled
        for _ in range(runs):
            data = mangle(self.random, self.random.choice(self.kept), self.kept)
            if self.target.rooms and self.runs % LOOK:
                finding, new = self.try_out(data)[0], False
            else:
                finding, new = self.look(data)
            if finding:
                return finding
            if new and len(data) <= LENGTH_LIMIT:
                self.kept.append(data)
        return None

    def end(self) -> tuple[Finding | None, str]:
        """Ask what holds for all runs together; return what was measured, too."""
        try:
            return None, self.target.end() if self.target.end else ""
        except Exception as error:
            return Finding(b"", f"{type(error).__name__}: {str(error)[:400]}"), ""

    def try_out(self, data: bytes) -> tuple[Finding | None, Any]:
        """Run one input and return what the reader gave.

        A finding if anything but an error of ours came out, or it took too long: a
        conversation tells that itself.
        """
        self.runs += 1
        gave = None
        began = time.process_time()
        try:
            gave = self.target.read(data)
        except AnkibakError:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a library's panic is no Exception
            return Finding(data, f"{type(error).__name__}: {str(error)[:400]}"), None
        if self.target.rooms and time.process_time() - began > SLOW_S:
            return Finding(data, f"took {time.process_time() - began:.1f} s"), None
        return None, gave

    def look(self, data: bytes) -> tuple[Finding | None, bool]:
        """Run one input and say whether it went a way that none went before."""
        if self.target.rooms:
            finding, ways = self._traced(data)
        else:
            finding, ways = self.try_out(data)
        new = bool(ways) and not ways <= self.reached
        self.reached |= ways or set()
        return finding, new

    def _traced(self, data: bytes) -> tuple[Finding | None, set[Hashable]]:
        """Run one input and return from which line it came to which."""
        arcs: set[Hashable] = set()

        def local(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                arcs.add((frame.f_code.co_filename, before, frame.f_lineno))
                before = frame.f_lineno
            return local

        def entered(frame: FrameType, event: str, _: Any) -> Any:
            return local if frame.f_code.co_filename in self._rooms else None

        before = 0
        outer = sys.gettrace()
        sys.settrace(entered)
        try:
            return self.try_out(data)[0], arcs
        finally:
            sys.settrace(outer)


def mangled(rnd: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return bytes with a few things done to them that a damaged or hostile file may show."""
    for _ in range(rnd.choice((1, 1, 1, 2, 3, 5))):
        at = rnd.randrange(len(data) + 1)
        to = min(len(data), at + rnd.choice((1, 1, 2, 4, 8, rnd.randrange(len(data) + 1))))
        match rnd.randrange(8):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:at] + data[at:to] * rnd.choice((2, 2, 3, 50)) + data[to:]
            case 2:
                data = data[:at] + rnd.choice(NUMBERS + BYTES) + data[at:]
            case 3:
                data = data[:at] + rnd.choice(NUMBERS + BYTES) + data[to:]
            case 4:
                data = data[:at] + rnd.randbytes(to - at) + data[to:]
            case 5:
                other = rnd.choice(others)
                start = rnd.randrange(len(other) + 1)
                data = data[:at] + other[start : start + rnd.choice((4, 16, 64, len(other)))] + data[to:]
            case _ if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << rnd.randrange(8)]) + data[at + 1 :]
    return data[: LENGTH_LIMIT * 2]


def corpus(target: Target) -> list[bytes]:
    """Return the inputs that are kept for a target, its seeds first."""
    return [*target.seeds, *(path.read_bytes() for path in sorted((CORPUS / target.name).glob("*")))]
