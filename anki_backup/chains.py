"""Chains of deltas: which base a new object stands on, and the way back to any of them.

Position 0 of a chain is a whole object. The object at position n is a delta over
the one at n - 64^k, the largest power of 64 that divides n, so getting any of
them back takes at most 63 steps for each level, 78 for a thousand backups. The
header of each delta names its base; nothing else has to be kept.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from anki_backup import deltas
from anki_backup.durable import publish, pwrite_fully, write_fully
from anki_backup.errors import DamageError, StorageError
from anki_backup.header import DELTA, HEADER_BYTES, Info
from anki_backup.objects import BLOCK, ObjectStore

SKIP = 64
STEPS_LIMIT = 1000
SMALL_LIMIT = 256 << 20


def base_position(position: int) -> int:
    """Return the position of the base of the object at `position` (from 1)."""
    span = 1
    while position % (span * SKIP) == 0:
        span *= SKIP
    return position - span


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
    store: ObjectStore, name: str, size: int, base: str, position: int, table: bytes, frames: list[bytes]
) -> None:
    """Keep an object as a delta over `base`; the caller has seen that it applies."""
    payload = [len(table).to_bytes(4, "little"), table, *frames]
    crc = 0
    for part in payload:
        crc = zlib.crc32(part, crc)
    length = sum(map(len, payload))
    store.put_payload(Info(name, DELTA, size, HEADER_BYTES, length, crc, position, base), payload)


class Delta:
    """An open delta object: its table, and its frames one after the other."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._fd, self.info = store.open(name)
        try:
            length = int.from_bytes(self._read(4, 0), "little")
            if length > deltas.TABLE_LIMIT:
                raise DamageError(f"object {name} is damaged: its table is too long")
            self.table = deltas.unpack(self._read(length, 4))
        except BaseException:
            os.close(self._fd)
            raise
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

    def close(self) -> None:
        os.close(self._fd)


def read(store: ObjectStore, name: str) -> bytes:
    """Return the content of a small object, through its chain; DamageError if its SHA-256 is another."""
    chain = ancestry(store, name)
    if max(info.size for info in chain) > SMALL_LIMIT:
        raise DamageError(f"object {name} is larger than such an object can be")
    data = store.read(chain.pop().name)
    for info in reversed(chain):
        data = _applied(store, info, data)
    if hashlib.sha256(data).hexdigest() != name:
        raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")
    return data


def _applied(store: ObjectStore, info: Info, base: bytes) -> bytes:
    made = bytearray()
    with closing(Delta(store, info.name)) as delta:
        frames = delta.frames()
        deltas.apply(
            delta.table, frames, len(base), info.size, lambda at, count: base[at : at + count], made.extend
        )
    return bytes(made)


def materialise(store: ObjectStore, name: str, path: Path) -> None:
    """Make `path` hold the content of an object; its SHA-256 is compared before this returns.

    The file is made if it is missing and is not synced; `path` with `.part`
    behind it is used on the way where a delta moves deltas.
    """
    chain = ancestry(store, name)
    with _writing(path) as fd:
        for block in store.blocks(chain.pop().name):
            write_fully(fd, block)
    for info in reversed(chain):
        step(store, info.name, path)
    if digest_of(path) != name:
        raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")


def step(store: ObjectStore, name: str, path: Path) -> None:
    """Turn the base of a delta, at `path`, into what the delta stands for."""
    with closing(Delta(store, name)) as delta, _Writing(path, os.O_RDWR) as fd:
        size = os.fstat(fd).st_size
        table, frames = delta.table, delta.frames()
        if deltas.in_place(table):
            deltas.patch(
                table, frames, size, delta.info.size, _reader(fd), lambda at, data: pwrite_fully(fd, data, at)
            )
            os.ftruncate(fd, delta.info.size)
            return
        moved = path.with_name(path.name + ".part")
        with _writing(moved) as out:
            deltas.apply(
                table, frames, size, delta.info.size, _reader(fd), lambda data: write_fully(out, data)
            )
    publish(moved, path)


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


class _Writing:
    """An open file whose refusals become StorageError."""

    def __init__(self, path: Path, flags: int) -> None:
        self._path, self._flags = path, flags

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, self._flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"can't write {self._path}: {error.strerror}") from error
        return self._fd

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        os.close(self._fd)
        if isinstance(error, OSError):
            raise StorageError(f"can't write {self._path}: {error.strerror}") from error


def _writing(path: Path) -> _Writing:
    return _Writing(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)


def _reader(fd: int) -> deltas.ReadAt:
    return lambda at, count: os.pread(fd, count, at)
