"""A file that deltas are applied to where it lies: the pages that each of them changes are written once.

A write-back cache. Hours of study change the same pages again and again, so a chain of
deltas is mostly a conversation with memory; what that holds is bounded, whatever the file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from anki_backup.deltas import Run
from anki_backup.durable import PART, publish, pwrite_fully, storing, write_fully
from anki_backup.pages import PAGE

HELD_LIMIT = (64 << 20) // PAGE
# Beside something else that is large.
SOME = (12 << 20) // PAGE
# For a process that stays, in which several may do this at once, and where each change is large.
LITTLE = (4 << 20) // PAGE
TOGETHER = 256
FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class PagedFile:
    """The file at `path`, made empty; what others see of it is complete after `flush`.

    At most `limit` pages wait in memory between two changes. `path` with `.part` behind it is
    used where a content is put together aside. It is not synced. StorageError where the disk refuses.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path = path
        self.size = 0
        self._limit = HELD_LIMIT if limit is None else limit
        self._held: dict[int, bytes] = {}
        with storing(path):
            self._fd = os.open(path, FLAGS, 0o600)

    def append(self, data: bytes) -> None:
        """Write at the end of what was appended so far."""
        with storing(self.path):
            write_fully(self._fd, data)
        self.size += len(data)

    def read_at(self, at: int, count: int) -> bytes:
        """Return the bytes at a place, fewer at the end."""
        self.flush()
        with storing(self.path):
            return os.pread(self._fd, count, at)

    def gather(self, runs: Sequence[Run]) -> bytes:
        """Return the bytes of these runs (place, count), one after the other."""
        if not _in_pages(runs):
            return b"".join([self.read_at(at, count) for at, count in runs])
        held, fd = self._held, self._fd
        with storing(self.path):
            return b"".join(
                [
                    held[place] if place in held else os.pread(fd, PAGE, place)
                    for at, count in runs
                    for place in range(at, at + count, PAGE)
                ]
            )

    def scatter(self, runs: Sequence[Run], data: bytes) -> None:
        """Put bytes at the places of these runs, one after the other."""
        done = 0
        if len(data) <= self._limit * PAGE and _in_pages(runs):
            for at, count in runs:
                for place in range(at, at + count, PAGE):
                    self._held[place] = data[done : done + PAGE]
                    done += PAGE
            if len(self._held) > self._limit:
                self.flush()
            return
        self.flush()
        with storing(self.path):
            for at, count in runs:
                pwrite_fully(self._fd, data[done : done + count], at)
                done += count

    def resize(self, size: int) -> None:
        """Set where the content ends."""
        if size < self.size:
            self.flush()
        with storing(self.path):
            os.ftruncate(self._fd, size)
        self.size = size

    @contextmanager
    def replaced(self, size: int) -> Iterator[Callable[[bytes], object]]:
        """Give what appends to a new content, put together aside; it takes the place of the old one."""
        self.flush()
        aside = PagedFile(self.path.with_name(self.path.name + PART))
        with closing(aside):
            yield aside.append
            publish(aside.path, self.path)
            self._fd, aside._fd = aside._fd, self._fd
        self.size = size

    def copied(self, path: Path, limit: int | None = None) -> PagedFile:
        """Return a copy of it as it is now; by default as many pages wait there as here."""
        self.flush()
        copy = PagedFile(path, self._limit if limit is None else limit)
        try:
            with storing(path):
                shutil.copyfile(self.path, path)
        except BaseException:
            copy.close()
            raise
        copy.size = self.size
        return copy

    def flush(self) -> None:
        """Write what is held in memory, neighbours together."""
        held, run = self._held, []
        with storing(self.path):
            for place in sorted(held):
                run.append(held[place])
                if place + PAGE not in held or len(run) == TOGETHER:
                    pwrite_fully(self._fd, b"".join(run), place + PAGE - len(run) * PAGE)
                    run.clear()
        held.clear()

    def close(self) -> None:
        """Let go of the file; what was not flushed is lost."""
        self._held.clear()
        os.close(self._fd)


def _in_pages(runs: Sequence[Run]) -> bool:
    return not any((at | count) % PAGE for at, count in runs)
