"""What lies behind an object's header, in blocks: bytes as they are, or one zstd frame."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import zstandard

from anki_backup.errors import DamageError
from anki_backup.header import RAW, ZSTD, Info

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK = 1 << 20
LEVEL = 3
# What is searched for repeats, 1 MiB: half of what the level takes. It saves a third of the
# processor's time where threads share its cache, and costs half a percent of a collection.
WINDOW_LOG = 20
SAMPLE = 1 << 12
PAYS = 0.95
WINDOW_LIMIT = 1 << 27
BEHIND = 8
# What is unpacked at once of a frame that was just written.
PIECE = 1 << 17


class _Local(threading.local):
    """One quick compressor a thread: making one costs more than a picture's sample."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1)


_LOCAL = _Local()


def compresses(data: bytes) -> bool:
    """Guess from a sample of the middle whether compression pays; pictures and sound say no."""
    start = max(0, len(data) - SAMPLE) // 2
    sample = data[start : start + SAMPLE]
    return len(_LOCAL.compressor.compress(sample)) < len(sample) * PAYS


def checksum(kind: int, payload: bytes) -> int:
    """Return the CRC-32 that the header keeps; raw bytes have their SHA-256 for a name."""
    return 0 if kind == RAW else zlib.crc32(payload)


def pread(fd: int, count: int, at: int, name: str) -> bytes:
    """Read from the file of an object; a disk that can't is damage to that object."""
    try:
        return os.pread(fd, count, at)
    except OSError as error:
        raise DamageError(f"object {name} can't be read: {error.strerror}") from error


def raw(fd: int, info: Info) -> Iterator[bytes]:
    """Yield the stored bytes of an object in blocks: its content where it is kept as it is."""
    for at in range(info.offset, info.stored_bytes, BLOCK):
        yield pread(fd, min(BLOCK, info.stored_bytes - at), at, info.name)


def packed(blocks: Iterable[bytes], size: int, threads: int) -> Iterator[bytes]:
    """Compress block by block; DamageError when there is more or less than was said."""
    usual = zstandard.ZstdCompressionParameters.from_level(LEVEL, source_size=size)
    how = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, source_size=size, threads=threads, window_log=min(usual.window_log, WINDOW_LOG)
    )
    packer = zstandard.ZstdCompressor(compression_params=how).compressobj(size=size)
    try:
        for block in blocks:
            if ready := packer.compress(block):
                yield ready
        yield packer.flush()
    except zstandard.ZstdError as error:
        raise DamageError(f"the content is not the {size} bytes that were to be stored: {error}") from error


def unpacked(fd: int, info: Info) -> Iterator[bytes]:
    """Decompress in blocks of bounded size, whatever the frame claims."""
    if info.kind != ZSTD:
        raise DamageError(f"object {info.name} is a delta and stands for no bytes of its own")
    os.lseek(fd, info.offset, os.SEEK_SET)
    try:
        with open(fd, "rb", closefd=False, buffering=0) as file:
            reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).stream_reader(file)
            while block := reader.read(BLOCK):
                yield block
    except (zstandard.ZstdError, OSError) as error:
        raise DamageError(f"object {info.name} is damaged: {error}") from error


class ReadBack:
    """Reads a frame while it is being written: unpacks what the file gives back, and sums up both.

    `digest` is the SHA-256 of the content so far, `crc` the CRC-32 of the stretches.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self._name = fd, name
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()
        self.digest = hashlib.sha256()
        self.crc = 0

    def stretch(self, start: int, count: int) -> None:
        """Take in the next stretch; DamageError where it goes on with no frame."""
        for at in range(start, start + count, PIECE):
            piece = pread(self._fd, min(PIECE, start + count - at), at, self._name)
            self.crc = zlib.crc32(piece, self.crc)
            try:
                self.digest.update(self._unpacker.decompress(piece))
            except zstandard.ZstdError as error:
                message = f"object {self._name} did not unpack to what was packed: {error}"
                raise DamageError(message) from error


def ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same blocks, of which the next is made by a thread while one is used."""
    from concurrent.futures import ThreadPoolExecutor  # 4 ms, for who unpacks megabytes

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, blocks, None)
            yield block


class Behind:
    """Calls a function with one thing after another in a thread of its own, never far behind.

    At the end of a `with` block all calls are made, and what one of them raised is
    raised, as by a later call. Where an error leaves the block, calls not begun are dropped.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._waiting: deque[Future[object]] = deque()

    def __enter__(self) -> Behind:
        from concurrent.futures import ThreadPoolExecutor  # 4 ms, for who packs megabytes

        self._pool = ThreadPoolExecutor(1)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def call(self, *things: object) -> None:
        """Have the function called with these, soon."""
        self._waiting.append(self._pool.submit(self._function, *things))
        if len(self._waiting) > BEHIND:
            self._waiting.popleft().result()
