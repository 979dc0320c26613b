"""Chains of deltas: which base a new object stands on, and the way back to any of them.

Position 0 of a chain is a whole object. The object at position n is a delta over
the one at n - 1, or at n - 64 where 64 divides n, or at n - 256 where 256 does: a skip
list. So getting any of a thousand backups back takes 69 steps at most, and 6 of them are
large. A way that is too long carries no further delta, nor does one whose deltas together
are many times the whole object. The header of each delta names its base; nothing else has
to be kept.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from anki_backup import deltas, heap
from anki_backup.errors import DamageError
from anki_backup.header import DELTA, HEADER_BYTES, Info
from anki_backup.objects import ObjectStore
from anki_backup.paged import PagedFile
from anki_backup.payloads import BLOCK, ahead
from anki_backup.steady import steadily

# The largest first; of what divides a position it skips back over as many.
SKIPS = (256, 64)
STEPS_LIMIT = 1000
DEEPEST = 400
COSTLIEST = 8
WORTH = 2
SMALL_LIMIT = 256 << 20


def base_position(position: int) -> int:
    """Return the position of the base of the object at `position` (from 1)."""
    return position - next((skip for skip in SKIPS if position % skip == 0), 1)


class Way(NamedTuple):
    """The way back from an object: its deltas, their bytes, and those of the whole object at its end."""

    steps: int
    stored_bytes: int
    root: int

    def longer(self, stored_bytes: int) -> Way:
        """Return the way with one more delta at its end."""
        return Way(self.steps + 1, self.stored_bytes + stored_bytes, self.root)

    def carries_more(self) -> bool:
        """Say whether another delta may stand on this: reading has to stay bounded."""
        return self.steps < DEEPEST and self.stored_bytes <= COSTLIEST * self.root


def way(store: ObjectStore, name: str) -> Way:
    """Return the way back from an object."""
    *above, root = ancestry(store, name)
    return Way(len(above), sum(info.stored_bytes for info in above), root.stored_bytes)


def ancestry(store: ObjectStore, name: str) -> list[Info]:
    """Return the object and its bases, down to the whole one; refuses cycles and endless chains."""
    chain = [store.info(name)]
    while (base := chain[-1].base) is not None:
        if len(chain) > STEPS_LIMIT or any(base == info.name for info in chain):
            raise DamageError(f"the chain of object {name} has no end")
        chain.append(store.info(base))
    return chain


def base_for_next(store: ObjectStore, newest: str) -> tuple[Info, int]:
    """Return the base of the object that follows `newest`, and its position.

    Walks towards the target; where a position is gone, the nearest before it serves.
    """
    chain = ancestry(store, newest)
    position = chain[0].position + 1
    target = base_position(position)
    return next((info for info in chain if info.position <= target), chain[-1]), position


def is_sound(store: ObjectStore, name: str) -> bool:
    """Say whether a chain can carry another delta: every byte that it stores is read again."""
    try:
        return all(store.payload_is_sound(info.name) for info in ancestry(store, name))
    except DamageError:
        return False


def put_delta(
    store: ObjectStore,
    name: str,
    size: int,
    base: str,
    position: int,
    table: bytes,
    frames: list[bytes],
    prove: Callable[[Delta], object] = lambda delta: None,
) -> None:
    """Keep an object as a delta over `base`, once what the disk gives back of it has been proved.

    Without `prove` the caller has seen that it applies. What that raises leaves no object.
    """
    payload = [len(table).to_bytes(4, "little"), table, *frames]
    crc = 0
    for part in payload:
        crc = zlib.crc32(part, crc)
    length = sum(map(len, payload))
    info = Info(name, DELTA, size, HEADER_BYTES, length, crc, position, base)
    store.put_payload(info, payload, lambda fd: prove(Delta(fd, info)))


class Content(Protocol):
    """What deltas are applied to where it lies: bytes from 0 to `size`, and places in them."""

    size: int

    def read_at(self, at: int, count: int, /) -> bytes:
        """Return the bytes at a place."""

    def gather(self, runs: list[deltas.Run], /) -> bytes:
        """Return the bytes of these runs (place, count), one after the other."""

    def scatter(self, runs: list[deltas.Run], data: bytes, /) -> None:
        """Put bytes at the places of these runs, one after the other."""

    def resize(self, size: int, /) -> None:
        """Set where it ends."""

    def replaced(self, size: int, /) -> AbstractContextManager[Callable[[bytes], object]]:
        """Give what appends to a new content, which takes the place of the old one at the end."""


class Delta:
    """A delta object in an open file: its table, and its frames one after the other."""

    def __init__(self, fd: int, info: Info) -> None:
        self._fd, self.info = fd, info
        length = int.from_bytes(self._read(4, 0), "little")
        if length > deltas.TABLE_LIMIT:
            raise DamageError(f"object {info.name} is damaged: its table is too long")
        self.table = deltas.unpack(self._read(length, 4))
        self._first = 4 + length

    def _read(self, count: int, at: int) -> bytes:
        if at + count > self.info.payload:
            raise DamageError(f"object {self.info.name} is damaged: it ends too early")
        try:
            return os.pread(self._fd, count, self.info.offset + at)
        except OSError as error:
            raise DamageError(f"object {self.info.name} can't be read: {error.strerror}") from error

    def frames(self) -> Iterator[bytes]:
        at = self._first
        for frame in self.table.frames:
            yield self._read(frame.length, at)
            at += frame.length


@contextmanager
def opened(store: ObjectStore, name: str) -> Iterator[Delta]:
    """Open a delta object, and close it again."""
    fd, info = store.open(name)
    try:
        yield Delta(fd, info)
    finally:
        os.close(fd)


def _shape(store: ObjectStore, name: str) -> list[tuple[str, int]]:
    """Return the chain as far as it can be read: `prune` expresses it anew in other names or bytes."""
    shape: list[tuple[str, int]] = []
    found: str | None = name
    while found is not None and len(shape) <= STEPS_LIMIT:
        try:
            info = store.info(found)
        except DamageError:
            break
        shape.append((found, info.stored_bytes))
        found = info.base
    return shape


def read(store: ObjectStore, name: str) -> bytes:
    """Return the content of a small object, through its chain; DamageError if its SHA-256 is another."""
    return steadily(partial(_read, store, name), partial(_shape, store, name))


def _read(store: ObjectStore, name: str) -> bytes:
    chain = ancestry(store, name)
    if max(info.size for info in chain) > SMALL_LIMIT:
        raise DamageError(f"object {name} is larger than such an object can be")
    data = store.read(chain.pop().name)
    for info in reversed(chain):
        data = applied(store, info.name, data)
    if hashlib.sha256(data).hexdigest() != name:
        raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")
    return data


def applied(store: ObjectStore, name: str, base: bytes) -> bytes:
    """Return what a small delta object makes of its base; nothing is hashed."""
    with opened(store, name) as delta:
        return made_of(delta, base)


def made_of(delta: Delta, base: bytes) -> bytes:
    """Return what a small delta makes of its base; nothing is hashed."""
    parts: list[bytes] = []
    view = memoryview(base)  # what is copied from it is copied once, when all is joined

    def read_at(at: int, count: int) -> bytes:
        return cast(bytes, view[at : at + count])

    deltas.apply(delta.table, delta.frames(), len(base), delta.info.size, read_at, parts.append)
    return b"".join(parts)


def materialise(store: ObjectStore, name: str, path: Path) -> None:
    """Make `path` hold the content of an object; its SHA-256 is compared before this returns.

    The file is made if it is missing and is not synced; `path` with `.part`
    behind it is used on the way where a delta moves deltas.
    """
    steadily(partial(_materialise, store, name, path), partial(_shape, store, name))


def _materialise(store: ObjectStore, name: str, path: Path) -> None:
    chain = ancestry(store, name)
    heap.keep()
    with closing(PagedFile(path)) as content:
        for block in ahead(store.unproven(chain.pop().name)):
            content.append(block)
        for info in reversed(chain):
            step(store, info.name, content)
        content.flush()
    if digest_of(path) != name:
        raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")


def step(store: ObjectStore, name: str, content: Content, base: str | None = None) -> list[deltas.Run] | None:
    """Turn the base of a delta into what the delta stands for; return where something was written.

    None where all may have moved: that is put together aside. DamageError if it stands
    on another one than `base` by now: `prune` expresses objects anew beside readers.
    """
    with opened(store, name) as delta:
        if base not in (None, delta.info.base):
            raise DamageError(f"object {name} stands on another one than before")
        return turn(content, delta.table, delta.frames(), delta.info.size)


def turn(
    content: Content, table: deltas.Table, frames: Iterable[bytes], size: int
) -> list[deltas.Run] | None:
    """Turn a content into what a delta of `size` bytes makes of it, as `step` does."""
    if not deltas.in_place(table, content.size):
        with content.replaced(size) as append:
            deltas.apply(table, frames, content.size, size, content.read_at, append)
        return None
    written: list[deltas.Run] = []

    def scatter(runs: list[deltas.Run], data: bytes) -> None:
        content.scatter(runs, data)
        written.extend(runs)

    deltas.patch(table, frames, content.size, size, content.gather, scatter)
    content.resize(size)
    return written


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_blocks(fd: int, size: int) -> Iterator[bytes]:
    """Yield a file in blocks."""
    for at in range(0, size, BLOCK):
        yield os.pread(fd, min(BLOCK, size - at), at)


def paired_blocks(old: int, new: int, size: int) -> Iterable[tuple[bytes, bytes]]:
    """Yield blocks of two open files from the same places, to the end of the new one."""
    for at in range(0, size, BLOCK):
        count = min(BLOCK, size - at)
        yield os.pread(old, count, at), os.pread(new, count, at)


def file_reader(fd: int) -> deltas.ReadAt:
    """Return what reads an open file at any place."""
    return lambda at, count: os.pread(fd, count, at)
