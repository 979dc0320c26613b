"""Read a log of `strace -f -y -xx`: what was called with which bytes, on which open file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.tracing import parse
from tests.faults.trial import CampaignError

_CALLS = (
    "open openat openat2 creat close write pwrite64 writev pwritev pwritev2 lseek ftruncate truncate "
    "fallocate sendfile copy_file_range ioctl fsync fdatasync sync syncfs rename renameat renameat2 link "
    "linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat utimensat chdir fchdir dup dup2 dup3 fcntl "
    "clone clone3 fork vfork execve"
)
CALLS = _CALLS.split()
LONGEST = 1 << 26
RETURNED = re.compile(r"^(.*)\)\s+= (-?\d+|\?)(.*)$", re.DOTALL)
DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>)?(\(deleted\))?")


@dataclass
class Open:
    """An open file description: the node, or the file outside the tree, and the position."""

    node: int | None
    path: bytes
    append: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Done:
    """A call that succeeded: its arguments as strace prints them, and what it returned."""

    number: int
    tid: str
    name: str
    arguments: list[str]
    result: int
    result_path: bytes

    @property
    def words(self) -> str:
        """All arguments as one text."""
        return ", ".join(self.arguments)


def arguments(log: str) -> list[str]:
    """Return how to call strace so that `log` can be replayed: every byte written is in it."""
    trace = "trace=" + ",".join(f"?{name}" for name in CALLS)
    words = ["strace", "-f", "-y", "-xx", "-s", str(LONGEST), "--seccomp-bpf", "-e", "signal=none"]
    return [*words, "-e", trace, "-o", log, "--"]


def text(quoted: str) -> bytes:
    """Return the bytes that strace printed as hexadecimal escapes."""
    bare = quoted.strip('"')
    return bytes.fromhex(bare.replace("\\x", "")) if bare.startswith("\\x") else os.fsencode(bare)


def done(log: str) -> Iterator[Done]:
    """Yield the calls of a log that succeeded."""
    for number, call in enumerate(parse(log)):
        returned = RETURNED.match(call.rest)
        if returned is None or returned[2] == "?" or int(returned[2]) < 0:
            continue
        if '"...' in call.rest:
            raise CampaignError("a write is longer than the log can hold: no verdict")
        at = DESCRIPTOR.match(returned[2] + returned[3])
        path = text(at[2]) if at and at[2] else b""
        yield Done(number, call.tid, call.name, returned[1].split(", "), int(returned[2]), path)


class Descriptors:
    """Which open file each thread means by a number.

    Threads share one table, a forked child starts with a copy of its parent's, and
    duplicates share a position.
    """

    def __init__(self, calls: list[Done]) -> None:
        self._tables: dict[str, dict[int, Open]] = {}
        # A child's first calls may be logged before the clone that made it.
        self._parents = {
            str(call.result): (call.tid, "CLONE_FILES" in call.words)
            for call in calls
            if call.name in ("clone", "clone3", "fork", "vfork")
        }

    def of(self, tid: str) -> dict[int, Open]:
        """Return the table that a thread uses."""
        if tid not in self._tables:
            parent, shared = self._parents.get(tid, (None, False))
            table = self.of(parent) if parent and parent != tid else {}
            self._tables[tid] = table if shared else dict(table)
        return self._tables[tid]

    def forget(self, tid: str) -> None:
        """Start anew: another program runs, and what it inherited tells its own paths."""
        self._tables[tid] = {}
