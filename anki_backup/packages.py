"""The media of Anki's packages (.colpkg, .apkg): numbered entries, and the list that names them.

Today's Anki keeps each file as a zstd frame, and a list in protobuf with size and
SHA-1, itself a frame; old ones keep files as they are, and a list in JSON. Anki
compares nothing when it reads a package, so all of it is compared here.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from anki_backup import durable, frames, parts
from anki_backup.errors import DamageError
from anki_backup.model import MediaFile, file_name_text
from anki_backup.pieces import SMALL, Media, checked
from anki_backup.zips import Sink, Writer

BLOCK = 1 << 20


def put_media(
    package: Writer, files: Iterable[tuple[str, MediaFile]], media: Media, *, old: bool
) -> list[str]:
    """Write media under the names given and the list of them; return which are damaged and left out."""
    entries, names = bytearray(), dict[str, str]()
    damaged = []
    for name, file in files:
        number = str(len(names))
        try:
            size, sha1 = _put(package, number.encode(), file, media, old)
        except DamageError:
            damaged.append(file_name_text(file.name))
            continue
        names[number] = name
        if not old:
            entries += _field(1, _field(1, name.encode()) + _number(2, size) + _field(3, sha1))
    package.put(b"media", json.dumps(names).encode() if old else frames.stored(bytes(entries)))
    return damaged


def put_stand_ins(folder: Path, files: Iterable[tuple[str, MediaFile]]) -> None:
    """Make a media folder with an empty file for each name, so that Anki's exporter lists what it needs."""
    with durable.storing(folder):
        folder.mkdir(0o700)
        for name, _ in files:
            (folder / name).touch(0o600)


def fill(
    package: Path, files: Iterable[tuple[str, MediaFile]], media: Media, sink: Sink, *, old: bool
) -> tuple[list[str], list[str]]:
    """Write a package of Anki's exporter to a sink, with the media in place of their stand-ins.

    Returns the names of the media that are in it, and which of them are damaged and left out.
    """
    known = dict(files)
    out = Writer(sink)
    with zipfile.ZipFile(package) as made:
        for entry in made.infolist():
            if entry.filename != "media" and not entry.filename.isdecimal():
                deflate = entry.compress_type == zipfile.ZIP_DEFLATED
                with made.open(entry) as file:
                    out.stream(entry.filename.encode(), iter(partial(file.read, BLOCK), b""), deflate=deflate)
        names = parts.listed_media(made, old=old)
    damaged = put_media(out, [(name, known[name]) for name in names], media, old=old)
    out.close()
    return names, damaged


def _put(package: Writer, number: bytes, file: MediaFile, media: Media, old: bool) -> tuple[int, bytes]:
    """Write one file that was compared; return its size and SHA-1."""
    if file.size <= SMALL:
        data, frame = media.load(file.sha256, SMALL)
        package.put(number, data if old else frame or frames.stored(data))
        return len(data), hashlib.sha1(data, usedforsecurity=False).digest()
    size, blocks = checked(media, file)
    sha1 = hashlib.sha1(usedforsecurity=False)

    def hashed() -> Iterable[bytes]:
        for block in blocks:
            sha1.update(block)
            yield block

    frame_blocks = None if old else media.frame(file.sha256)
    if frame_blocks is None:
        package.stream(number, hashed() if old else frames.stored_blocks(hashed(), size))
    else:
        for _ in hashed():
            pass
        package.stream(number, frame_blocks)
    return size, sha1.digest()


def _field(number: int, data: bytes) -> bytes:
    """A field of protobuf that holds bytes."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
