"""A zip written to whatever takes bytes: nothing is ever sought, and memory holds only the directory.

After PKWARE's APPNOTE 6.3.10, with zip64 where sizes or counts need it. Names are
bytes: those that are UTF-8 are marked as such (bit 11), others stand as they are.
Equal calls give equal bytes: no clock is read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

LOCAL = struct.Struct("<IHHHHHIIIHH")
CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
DESCRIPTOR = struct.Struct("<IIQQ")
END = struct.Struct("<IHHHHIIH")
END64 = struct.Struct("<IQHHIIQQQQ")
LOCATOR = struct.Struct("<IIQI")
STREAMED, UTF8 = 1 << 3, 1 << 11
STORED, DEFLATED = 0, 8
PLAIN, BIG = 20, 45
UNIX = 3 << 8
REGULAR = 0o100600 << 16
FULL, MANY = 0xFFFFFFFF, 0xFFFF
# What DOS can write: the seconds of 1980-01-01 and of the end of 2107.
FIRST, LAST = 315532800, 4354819198


class Sink(Protocol):
    """What bytes are written to: a file, a pipe, a socket; each call takes all it is given, or raises."""

    def write(self, data: bytes, /) -> object:
        """Take the bytes."""


class Writer:
    """Writes one zip, entry after entry; `close` writes the directory, and nothing else ends it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._at = 0
        self._count = 0
        self._directory = bytearray()

    def put(self, name: bytes, data: bytes, mtime_ns: int | None = None) -> None:
        """Write a small entry as it is; its size and CRC-32 stand before it."""
        crc, size = zlib.crc32(data), len(data)
        start = self._at
        flags, (time, date), extra = _flags(name), _dos(mtime_ns), _stamp(mtime_ns)
        self._write(
            LOCAL.pack(0x04034B50, PLAIN, flags, STORED, time, date, crc, size, size, len(name), len(extra))
            + name
            + extra
            + data
        )
        self._enter(name, flags, STORED, mtime_ns, crc, size, size, start)

    def stream(
        self, name: bytes, blocks: Iterable[bytes], *, deflate: bool = False, mtime_ns: int | None = None
    ) -> None:
        """Write an entry of any size, stored or deflated; its size and CRC-32 stand behind it."""
        start, method = self._at, DEFLATED if deflate else STORED
        flags, (time, date) = _flags(name) | STREAMED, _dos(mtime_ns)
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) + _stamp(mtime_ns)
        self._write(
            LOCAL.pack(0x04034B50, BIG, flags, method, time, date, 0, FULL, FULL, len(name), len(extra))
            + name
            + extra
        )
        packer = zlib.compressobj(6, zlib.DEFLATED, -15) if deflate else None
        crc = size = 0
        first = self._at
        for block in blocks:
            crc, size = zlib.crc32(block, crc), size + len(block)
            self._write(packer.compress(block) if packer else block)
        if packer:
            self._write(packer.flush())
        packed = self._at - first
        self._write(DESCRIPTOR.pack(0x08074B50, crc, packed, size))
        self._enter(name, flags, method, mtime_ns, crc, packed, size, start)

    def close(self) -> None:
        """Write the directory, which is what makes it a zip."""
        start, size = self._at, len(self._directory)
        self._write(bytes(self._directory))
        if self._count >= MANY or start >= FULL or size >= FULL:
            counts = self._count, self._count, size, start
            self._write(END64.pack(0x06064B50, END64.size - 12, UNIX | BIG, BIG, 0, 0, *counts))
            self._write(LOCATOR.pack(0x07064B50, 0, start + size, 1))
        count = min(self._count, MANY)
        self._write(END.pack(0x06054B50, 0, 0, count, count, min(size, FULL), min(start, FULL), 0))

    def _write(self, data: bytes) -> None:
        if data:
            self._sink.write(data)
            self._at += len(data)

    def _enter(
        self,
        name: bytes,
        flags: int,
        method: int,
        mtime_ns: int | None,
        crc: int,
        packed: int,
        size: int,
        start: int,
    ) -> None:
        large = [value for value in (size, packed, start) if value >= FULL]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        extra += _stamp(mtime_ns)
        needed = BIG if large or flags & STREAMED else PLAIN
        time, date = _dos(mtime_ns)
        limited = (min(packed, FULL), min(size, FULL), len(name), len(extra))
        self._directory += CENTRAL.pack(
            *(0x02014B50, UNIX | BIG, needed, flags, method, time, date, crc),
            *limited,
            *(0, 0, 0, REGULAR, min(start, FULL)),
        )
        self._directory += name + extra
        self._count += 1


def _flags(name: bytes) -> int:
    try:
        return 0 if name.decode().isascii() else UTF8
    except UnicodeDecodeError:
        return 0


def _dos(mtime_ns: int | None) -> tuple[int, int]:
    """Return time and date as DOS wrote them, in UTC; what lies outside of 1980-2107 becomes its end."""
    at = datetime.fromtimestamp(min(max((mtime_ns or 0) // 10**9, FIRST), LAST), UTC)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day


def _stamp(mtime_ns: int | None) -> bytes:
    """Return the extra field with the exact second, in no one's zone; nothing where it can't hold it."""
    seconds = None if mtime_ns is None else mtime_ns // 10**9
    if seconds is None or not -(1 << 31) <= seconds < 1 << 31:
        return b""
    return struct.pack("<HHBi", 0x5455, 5, 1, seconds)
