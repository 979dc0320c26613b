"""A content that deltas are applied to where it lies: in memory, or in a file where it is large.

What was there can be had back: while a journal is kept, every block is remembered
before it is written for the first time. Nothing here outlives the process.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO, cast

from anki_backup import heap
from anki_backup.deltas import Run
from anki_backup.durable import pwrite_fully
from anki_backup.errors import StorageError

BLOCK = 4096
TOGETHER = 1 << 20
MEMORY_LIMIT = 256 << 20


class Scratch:
    """Up to `capacity` bytes. StorageError where the temporary folder takes no more."""

    def __init__(self, capacity: int) -> None:
        self.size = 0
        self._journals: list[dict[int, bytes]] = []
        self._memory: memoryview | None = None
        self._file: IO[bytes] | None = None
        if capacity <= MEMORY_LIMIT:
            heap.keep()
            self._memory = memoryview(mmap.mmap(-1, max(capacity, 1)))
        else:
            with _told():
                self._file = tempfile.TemporaryFile(prefix="ankibak-", buffering=0)  # noqa: SIM115

    def read_at(self, at: int, count: int) -> bytes:
        """Return the bytes at a place, fewer at the end; they hold until something is written there."""
        # From memory it is a view, which does for all that is done with it: joining, comparing, unpacking.
        count = max(0, min(count, self.size - at))
        if self._memory is not None:
            return cast(bytes, self._memory[at : at + count])
        assert self._file is not None, "it is either"
        return os.pread(self._file.fileno(), count, at)

    def write_at(self, at: int, data: bytes) -> None:
        """Put bytes at a place; what is beyond the end counts once `resize` has taken it in."""
        self._remember(at, at + len(data))
        self._put(at, data)

    def _put(self, at: int, data: bytes | memoryview) -> None:
        if self._memory is not None:
            self._memory[at : at + len(data)] = data
        elif self._file is not None:
            with _told():
                pwrite_fully(self._file.fileno(), bytes(data), at)

    def gather(self, runs: Sequence[Run]) -> bytes:
        """Return the bytes of these runs (place, count), one after the other."""
        memory = self._memory
        if memory is None:
            return b"".join([self.read_at(at, count) for at, count in runs])
        return b"".join([memory[at : at + count] for at, count in runs])

    def scatter(self, runs: Sequence[Run], data: bytes) -> None:
        """Put bytes at the places of these runs, one after the other."""
        for at, count in runs:
            self._remember(at, at + count)
        done, memory = 0, self._memory
        view = memoryview(data)
        for at, count in runs:
            if memory is None:
                self._put(at, view[done : done + count])
            else:
                memory[at : at + count] = view[done : done + count]
            done += count

    def resize(self, size: int) -> None:
        """Set where the content ends."""
        self._remember(size, self.size)
        self.size = size

    @contextmanager
    def replaced(self, size: int) -> Iterator[Callable[[bytes], object]]:
        """Give what appends to a new content, put together aside; it takes the place of the old one."""
        made = 0
        with closing(Scratch(size)) as aside:

            def append(data: bytes) -> None:
                nonlocal made
                aside.write_at(made, data)
                made += len(data)

            yield append
            aside.resize(size)
            for at in range(0, size, TOGETHER):
                self.write_at(at, aside.read_at(at, TOGETHER))
        self.resize(size)

    @property
    def remembers(self) -> bool:
        """Say whether somebody wants back what is there now."""
        return bool(self._journals)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is written within is undone at the end."""
        journal: dict[int, bytes] = {}
        size = self.size
        self._journals.append(journal)
        try:
            yield
        finally:
            self._journals.remove(journal)
            # A journal that began earlier has remembered these blocks already.
            for block, data in journal.items():
                self._put(block * BLOCK, data)
            self.size = size

    def _remember(self, start: int, end: int) -> None:
        if not self._journals or start >= self.size:
            return
        blocks = range(start // BLOCK, (min(end, self.size) + BLOCK - 1) // BLOCK)
        for journal in self._journals:
            for block in blocks:
                if block not in journal:
                    journal[block] = bytes(self.read_at(block * BLOCK, BLOCK))

    def close(self) -> None:
        """Let go of it all."""
        if self._memory is not None:
            self._memory.release()
            self._memory = None
        if self._file is not None:
            self._file.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the temporary folder {tempfile.gettempdir()} can't take it: {error.strerror}",
            hint="Name a roomier one: TMPDIR=/var/tmp ankibak ...",
        ) from error
