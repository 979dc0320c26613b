"""The media folder: look at it, and keep each file once.

Reading is by descriptor from the folder, never through a link, never blocking on
a FIFO, and only believed when the file's state was the same before and after.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anki_backup import durable
from anki_backup.errors import DamageError, SourceError
from anki_backup.forks import spread
from anki_backup.header import CLONE_OFFSET, HEADER_BYTES, RAW, Info
from anki_backup.model import MediaFile, Skipped, file_name_text
from anki_backup.objects import ObjectStore, Share
from anki_backup.payloads import BLOCK, SAMPLE, compresses

SMALL = 4 << 20
# Anki syncs none of more than 100 MiB; one of a terabyte, full of holes, would be read for an hour.
LARGEST = 16 << 30
TRIES = 3
RACY_NS = 2_000_000_000
STATE = struct.Struct("<QqqQ")
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Entry(NamedTuple):
    """One regular file as the folder shows it."""

    name: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


# What came of a file: its object, or why it was left out.
Kept = tuple[Entry, str | Skipped]


class Look(NamedTuple):
    """A folder at one moment. `digest` is None while a file is too young to be told by its times.

    `changed_ns` is when a name came or went last, as it was before that moment.
    """

    entries: list[Entry]
    skipped: list[Skipped]
    digest: str | None
    started_ns: int
    changed_ns: int


def look(folder: Path, now_ns: int) -> Look:
    """List a media folder without reading a file; SourceError when that fails."""
    entries, skipped = [], []
    try:
        changed_ns = os.stat(folder).st_mtime_ns
        with os.scandir(os.fsencode(folder)) as found:
            for item in found:
                try:
                    state = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if reason := _odd(state):
                    skipped.append(Skipped(name=file_name_text(item.name), reason=reason))
                else:
                    entries.append(
                        Entry(item.name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
                    )
    except OSError as error:
        raise SourceError(f"can't list {folder}: {(error.strerror or '').lower()}") from error
    entries.sort()
    skipped.sort(key=lambda item: item.name)
    return Look(entries, skipped, _digest(entries, skipped, now_ns), now_ns, changed_ns)


def is_there(folder: Path) -> bool:
    """Say whether there is a media folder; SourceError where nobody can tell: it may be full."""
    try:
        return stat.S_ISDIR(os.stat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise SourceError(f"can't look at {folder}: {(error.strerror or '').lower()}") from error


def look_again(folder: Path, seen: Look | None, now_ns: int) -> Look | None:
    """Return how a folder is now, by one question where no file came or went since; None if there is none.

    Whoever has captured a collection asks: a picture comes before the note that shows it.
    """
    if not is_there(folder):
        return None
    with suppress(OSError):
        if seen and seen.changed_ns == os.stat(folder).st_mtime_ns < seen.started_ns - RACY_NS:
            return seen
    return look(folder, now_ns)


def _digest(entries: list[Entry], skipped: list[Skipped], now_ns: int) -> str | None:
    digest = hashlib.sha256()
    for entry in entries:
        # A file changed within the clock's step of our look could change again and look the same.
        if max(entry.mtime_ns, entry.ctime_ns) > now_ns - RACY_NS:
            return None
        digest.update(b"%d:%s" % (len(entry.name), entry.name))
        digest.update(STATE.pack(*entry[1:]))
    for item in skipped:
        digest.update(f"{item.name}:{item.reason}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _odd(state: os.stat_result) -> str | None:
    """Return why an entry of the folder is no media file that could be read; None if it is one."""
    if stat.S_ISREG(state.st_mode):
        return f"is larger than {LARGEST >> 30} GiB" if state.st_size > LARGEST else None
    if stat.S_ISLNK(state.st_mode):
        return "is a symbolic link, not a file"
    if stat.S_ISDIR(state.st_mode):
        return "is a folder, not a file"
    return "is a FIFO, socket or device, not a file"


class _UnreadableError(Exception):
    """A media file can't be read to its end."""


class Collector:
    """Keeps what is new in a folder; remembers by its state what it has read before."""

    def __init__(self, store: ObjectStore, folder: Path, index: dict[bytes, tuple[Entry, str]]) -> None:
        self._store = store
        self._folder = folder
        self._index = index
        self._clones = True
        self.index: dict[bytes, tuple[Entry, str]] = {}

    def collect(
        self, seen: Look, processes: int, advance: Callable[[int], object]
    ) -> tuple[list[MediaFile], list[Skipped]]:
        """Return the files, all their objects kept, and what could not be read, by name."""
        files: list[MediaFile] = []
        failed: list[Skipped] = []
        shares: list[Share] = []
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"can't list {self._folder}: {(error.strerror or '').lower()}") from error
        try:
            with closing(spread(seen.entries, processes, partial(self._keep_all, folder))) as slices:
                for kept, share in slices:
                    shares.append(share)
                    for entry, found in kept:
                        advance(entry.size)
                        if isinstance(found, Skipped):
                            failed.append(found)
                        else:
                            files.append(MediaFile(entry.name, entry.size, entry.mtime_ns, found))
                            if max(entry.mtime_ns, entry.ctime_ns) <= seen.started_ns - RACY_NS:
                                self.index[entry.name] = (entry, found)
        finally:
            os.close(folder)
        for share in shares:
            self._store.take_over(share)
        return files, failed

    def _keep_all(self, folder: int, entries: Sequence[Entry]) -> tuple[list[Kept], Share]:
        """Keep some files; return what came of those that are still there."""
        kept = [found for entry in entries if (found := self._keep(folder, entry))]
        return kept, self._store.hand_over()

    def _keep(self, folder: int, entry: Entry) -> Kept | None:
        """Keep one file: its state and object; why it was left out; None if it is gone."""
        known = self._index.get(entry.name)
        if known and known[0] == entry and self._store.has(known[1]):
            return entry, known[1]
        for _ in range(TRIES):
            try:
                fd = os.open(entry.name, READING, dir_fd=folder)
            except FileNotFoundError:
                return None
            except OSError as error:
                return _left_out(entry, error.strerror or "can't be opened")
            try:
                kept = self._read(fd, entry.name)
            except (OSError, _UnreadableError) as error:
                return _left_out(entry, getattr(error, "strerror", None) or str(error))
            finally:
                os.close(fd)
            if kept:
                return kept
        return _left_out(entry, "kept changing while it was read")

    def _read(self, fd: int, name: bytes) -> tuple[Entry, str] | None:
        before = _state(fd, name)
        if before is None:
            raise OSError(0, "is no longer a file")
        if before.size <= SMALL:
            data = _read_all(fd, before.size)
            if len(data) != before.size or _state(fd, name) != before:
                return None
            return before, self._store.put(data)
        try:
            kept = self._read_large(fd, before)
        except DamageError:
            if _state(fd, name) == before:
                raise
            return None  # it was the file that changed, not the disk that lied
        return (before, kept) if kept and _state(fd, name) == before else None

    def _read_large(self, fd: int, entry: Entry) -> str | None:
        """Hash first, then keep what is new, as it is or compressed, without holding it in memory."""
        digest, size = hashlib.sha256(), 0
        for block in _blocks(fd, entry.size):
            digest.update(block)
            size += len(block)
        if size != entry.size:
            return None
        name = digest.hexdigest()
        if self._store.has_sound(name):
            return name
        if compresses(os.pread(fd, SAMPLE, size // 2)):
            self._store.put_blocks(name, size, _blocks(fd, size))
        else:
            self._put_raw(name, size, fd)
        return name

    def _put_raw(self, name: str, size: int, fd: int) -> None:
        """Keep a file as it is; where the file system can, its blocks are shared, not copied."""
        incoming = self._store.incoming()
        with durable.part_file(incoming) as out:
            cloned = self._clones and durable.clone(fd, out, CLONE_OFFSET)
            self._clones = cloned
            offset = CLONE_OFFSET if cloned else HEADER_BYTES
            info = Info(name, RAW, size, offset, size, 0, 0, None)
            os.pwrite(out, info.header(), 0)
            if not cloned:
                os.lseek(out, offset, os.SEEK_SET)
                for block in _blocks(fd, size):
                    durable.write_fully(out, block)
            digest = hashlib.sha256()
            for at in range(offset, offset + size, BLOCK):
                digest.update(os.pread(out, min(BLOCK, offset + size - at), at))
            if digest.hexdigest() != name:
                raise DamageError(f"the disk gave back other bytes than were written for {name}")
        self._store.publish(name, incoming, info.stored_bytes)


def _state(fd: int, name: bytes) -> Entry | None:
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        return None
    return Entry(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def _left_out(entry: Entry, reason: str) -> Kept:
    return entry, Skipped(name=file_name_text(entry.name), reason=reason.lower())


def _read_all(fd: int, size: int) -> bytes:
    """Read a file that should have `size` bytes; of one that has more, there is one byte more."""
    data = os.read(fd, size + 1)
    while len(data) < size and (part := os.read(fd, size + 1 - len(data))):
        data += part
    return data


def _blocks(fd: int, size: int) -> Iterator[bytes]:
    """Yield a file to its end, or to one byte more than it should have if it goes on growing."""
    at = 0
    while at <= size and (block := _pread(fd, min(BLOCK, size + 1 - at), at)):
        yield block
        at += len(block)


def _pread(fd: int, count: int, at: int) -> bytes:
    try:
        return os.pread(fd, count, at)
    except OSError as error:
        # Not an OSError: while an object is written, that would be taken for the repository's disk.
        raise _UnreadableError((error.strerror or "can't be read").lower()) from error
