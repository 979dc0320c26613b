"""The header of an object file: 68 bytes, little-endian, before the payload.

    0  magic `akob`        8  logical size       28  position in its chain
    4  kind               16  payload size       32  SHA-256 of the base, or zeros
    5  zero               24  CRC-32 of payload  64  CRC-32 of bytes 0-63
    6  payload offset         (zero when raw)

The payload begins at 68, or at 4096 (zeros between) where it shares its blocks
with the file that it was cloned from. Bit 7 of the kind is kept for encryption.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from anki_backup.errors import DamageError

MAGIC = b"akob"
RAW, ZSTD, DELTA = 1, 2, 3
KINDS = {RAW: "raw", ZSTD: "zstd", DELTA: "delta"}
HEADER = struct.Struct("<4sBBHQQII32s")
HEADER_BYTES = HEADER.size + 4
CLONE_OFFSET = 4096
NO_BASE = "0" * 64


class Info(NamedTuple):
    """What the header of an object says, and the size of its file."""

    name: str
    kind: int
    size: int
    offset: int
    payload: int
    crc: int
    position: int
    base: str | None

    @property
    def stored_bytes(self) -> int:
        return self.offset + self.payload

    def header(self) -> bytes:
        """Return the bytes before the payload."""
        base = bytes.fromhex(self.base or NO_BASE)
        head = HEADER.pack(
            MAGIC, self.kind, 0, self.offset, self.size, self.payload, self.crc, self.position, base
        )
        return (head + struct.pack("<I", zlib.crc32(head))).ljust(self.offset, b"\0")


def parse(name: str, head: bytes, file_size: int) -> Info:
    """Read a header; DamageError unless every byte before the payload is as it was written."""
    if len(head) < HEADER_BYTES:
        raise DamageError(f"object {name} is cut off")
    magic, kind, zero, offset, size, payload, crc, position, base = HEADER.unpack_from(head)
    (header_crc,) = struct.unpack_from("<I", head, HEADER.size)
    if magic != MAGIC or header_crc != zlib.crc32(head[: HEADER.size]) or zero:
        raise DamageError(f"object {name} is damaged: its header is not what was written")
    if kind not in KINDS or offset not in (HEADER_BYTES, CLONE_OFFSET) or any(head[HEADER_BYTES:offset]):
        raise DamageError(f"object {name} is stored in a form that this program doesn't know")
    info = Info(name, kind, size, offset, payload, crc, position, base.hex() if kind == DELTA else None)
    if info.stored_bytes != file_size or (kind == RAW and payload != size):
        raise DamageError(
            f"object {name} is damaged: its file has {file_size} bytes, not {info.stored_bytes}"
        )
    return info
