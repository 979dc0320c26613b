"""Packages of Anki's, made by hand: as they should be, and as nobody's should be."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

DUMMY = b"please update Anki"


def varint(number: int) -> bytes:
    """Encode a number as protobuf does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, data: bytes) -> bytes:
    """Encode a field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def listed(name: bytes, data: bytes) -> bytes:
    """Return the entry of a media file in MediaEntries."""
    sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
    return field(1, field(1, name) + varint(2 << 3) + varint(len(data)) + field(3, sha1))


def current(
    path: Path,
    collection: bytes,
    media: Mapping[bytes, bytes] | None = None,
    entries: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a package as today's Anki does; `entries` stand over what it has by itself."""
    media = media or {}
    pack = zstandard.ZstdCompressor().compress
    whole = {
        "meta": b"\x08\x03",
        "collection.anki21b": pack(collection),
        "collection.anki2": DUMMY,
        **{str(number): pack(data) for number, data in enumerate(media.values())},
        "media": pack(b"".join(listed(name, data) for name, data in media.items())),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name, data in (whole | dict(entries or {})).items():
            package.writestr(name, data)
    return path


def legacy(
    path: Path, collection: bytes, media: Mapping[str, bytes] | None = None, *, newer: bool = True
) -> Path:
    """Write a package as Anki 2.1 did, or as Anki 2.0 did if not `newer`."""
    media = media or {}
    names = json.dumps({str(number): name for number, name in enumerate(media)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        if newer:
            package.writestr("collection.anki21", collection)
        package.writestr("collection.anki2", DUMMY if newer else collection)
        for number, data in enumerate(media.values()):
            package.writestr(str(number), data)
        package.writestr("media", names)
    return path
