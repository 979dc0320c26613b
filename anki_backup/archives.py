"""Anki's packages, read safely: `.colpkg` of every age, and the `.apkg` that hold a whole collection.

A package is a zip that anybody may have made. Nothing in it is believed: no name
becomes a path, no stated size is allocated, every entry is read in blocks against
a budget that the size of the file sets, and what its writer said of a media file
(size, SHA-1) is compared. What can't be read is a SourceError that names the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from anki_backup.errors import DamageError, SourceError
from anki_backup.filenames import is_file_name
from anki_backup.model import Skipped, file_name_text, load

BLOCK = 1 << 20
WINDOW_LIMIT = 1 << 27
FRAME_HEADER = 18
DIRECTORY_LIMIT = 32 << 20
MAP_LIMIT = 64 << 20
# A collection packs to a third, media to hardly less: a hundredfold is a bomb, beyond what any disk minds.
FLOOR, RATIO = 256 << 20, 100
NEWEST = 3
# What `meta` says, and where the collection is then; the others beside it are there for older programs.
COLLECTIONS = {1: "collection.anki2", 2: "collection.anki21", 3: "collection.anki21b"}
AGAIN = "Get the file again from where it came from; the others don't depend on it."
REFUSED = (
    *(zipfile.BadZipFile, zlib.error, zstandard.ZstdError, struct.error),
    *(EOFError, OSError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)


class Item(NamedTuple):
    """One media file of a package: its name, the entry that holds it, and what its writer said of it."""

    name: bytes
    entry: str
    size: int | None = None
    sha1: bytes | None = None


class Package:
    """An open package; a context manager. One reader at a time."""

    def __init__(self, path: Path) -> None:
        """Open a package and find its collection; SourceError where there is none that we can read."""
        self.path = path
        self._read: dict[str, int] = {}
        self._total = 0
        with _reading(path):
            file = _open(path)
            try:
                self._budget = max(FLOOR, RATIO * os.fstat(file.fileno()).st_size)
                self._zip = zipfile.ZipFile(file)
                self._entries = {info.filename: info for info in self._zip.infolist()}
            except BaseException:
                file.close()
                raise
            self._file = file
        try:
            if len(self._entries) != len(self._zip.infolist()):
                raise SourceError(f"{path} holds two files of the same name", hint=AGAIN)
            self._version = self._told_version()
            if COLLECTIONS[self._version] not in self._entries:
                raise SourceError(f"{path} holds no collection", hint=AGAIN)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _told_version(self) -> int:
        """Return the version in `meta`; packages from before it have one of two collections."""
        if "meta" not in self._entries:
            return 2 if COLLECTIONS[2] in self._entries else 1
        with _reading(self.path):
            meta = dict(_fields(b"".join(self._blocks("meta", 1024, packed=False))))
        version = meta.get(1, 0)
        if not isinstance(version, int) or version not in COLLECTIONS:
            raise SourceError(
                f"{self.path} is a package of version {version!r}; this program knows up to {NEWEST}",
                hint="Import it in Anki, and export it again there.",
            )
        return version

    def collection(self) -> Iterator[bytes]:
        """Yield the bytes of the collection; whether they are one is for `collection.check`."""
        with _reading(self.path):
            yield from self._blocks(COLLECTIONS[self._version], self._budget, packed=self._version == NEWEST)

    def media(self) -> tuple[list[Item], list[Skipped]]:
        """Return the media files with names that can be files, sorted, and why others are left out.

        Nothing is read of them yet. Automatic backups have none.
        """
        if "media" not in self._entries:
            return [], []
        with _reading(self.path):
            packed = self._version == NEWEST
            data = b"".join(self._blocks("media", MAP_LIMIT, packed=packed))
            listed = _entries_of_map(data) if packed else _legacy_map(data)
        items: dict[bytes, Item] = {}
        skipped = []
        for item in listed:
            reason = self._problem(item, items)
            if reason:
                skipped.append(Skipped(name=file_name_text(item.name), reason=reason))
            else:
                items[item.name] = item
        return [items[name] for name in sorted(items)], skipped

    def _problem(self, item: Item, taken: dict[bytes, Item]) -> str | None:
        if not is_file_name(item.name):
            return "has a name that leads elsewhere"
        if item.name in taken:
            return "is in the package twice"
        return None if item.entry in self._entries else "is not in the package"

    def blocks(self, item: Item) -> Iterator[bytes]:
        """Yield the bytes of a media file; SourceError, at the end at the latest, if they are not right."""
        digest, size = hashlib.sha1(usedforsecurity=False), 0
        with _reading(self.path):
            for block in self._blocks(item.entry, self._budget, packed=self._version == NEWEST):
                digest.update(block)
                size += len(block)
                if item.size is not None and size > item.size:
                    break
                yield block
        if item.size not in (None, size) or item.sha1 not in (None, digest.digest()):
            raise SourceError(f"{self.path} is damaged: its media file has other bytes than it says")

    def _blocks(self, name: str, limit: int, *, packed: bool) -> Iterator[bytes]:
        info = self._entries[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise zipfile.BadZipFile("an entry is packed in a way that Anki doesn't use")
        self._total -= self._read.pop(name, 0)
        made = 0
        entry: Any  # a ZipExtFile, which has `peek`
        with self._zip.open(info) as entry:
            reader, told = entry, 0
            if packed:
                told = zstandard.frame_content_size(entry.peek(FRAME_HEADER)[:FRAME_HEADER])
                unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
                reader = unpacker.stream_reader(entry, read_across_frames=True)
            while block := reader.read(BLOCK):
                made += len(block)
                self._read[name] = made
                self._total += len(block)
                if made > limit or self._total > self._budget:
                    raise zipfile.BadZipFile("it unpacks to far more than such a file can hold")
                yield block
            if made < told:  # else a frame that is cut off ends without a word
                raise zipfile.BadZipFile("an entry is cut off")


def is_package(path: Path) -> bool:
    """Say whether a file begins as a zip does."""
    return _begins(path, b"PK\x03\x04")


def is_database(path: Path) -> bool:
    """Say whether a file begins as SQLite's do."""
    return _begins(path, b"SQLite format 3\0")


class _Bounded(io.FileIO):
    """A file of which nobody reads more at once than a directory of a package can be."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile("its directory is too long")
        return super().read(size) or b""


def _open(path: Path) -> _Bounded:
    # A FIFO would block for ever without O_NONBLOCK.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceError(f"{path} is not a regular file")
    return _Bounded(fd)


def _begins(path: Path, magic: bytes) -> bool:
    with _reading(path), _open(path) as file:
        return file.read(len(magic)) == magic


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn everything that a hostile or broken package makes a library raise into a SourceError."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}") from None
    except OSError as error:
        raise SourceError(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from error
    except DamageError as error:
        raise SourceError(f"{path} is damaged: {error.message}", hint=AGAIN) from error
    except REFUSED as error:
        reason = str(error) or type(error).__name__
        raise SourceError(f"{path} is damaged: {reason[:200]}", hint=AGAIN) from error


def _legacy_map(data: bytes) -> list[Item]:
    """Read the JSON map of older packages: entry -> name."""
    listed = load(data or b"{}", "its list of media")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise ValueError("its list of media is none")
    return [Item(_encoded(name), entry) for entry, name in listed.items()]


def _entries_of_map(data: bytes) -> list[Item]:
    """Read the message MediaEntries: the position of each file is the name of its entry."""
    items: list[Item] = []
    for number, entry in _fields(data):
        if number == 1:
            told = dict(_fields(_bytes(entry)))
            size, sha1, position = told.get(2, 0), _bytes(told.get(3, b"")), str(len(items))
            if isinstance(size, bytes):
                raise ValueError("a message has bytes where a number should be")
            items.append(Item(_bytes(told.get(1, b"")), position, size, sha1 or None))
    return items


def _encoded(name: str) -> bytes:
    """Return the bytes of a name; JSON can hold halves of characters that no encoding has."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a message has a number where bytes should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protobuf message, by number, as numbers or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError("a message has a field of no known kind")
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + size > len(data):
            raise ValueError("a message is cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a message is cut off")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a message has a number beyond 64 bits")
