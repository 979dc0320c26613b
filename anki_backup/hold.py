"""Keeping other programs away from a collection while it is replaced."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from anki_backup.collection import uri
from anki_backup.errors import SourceError

# The bytes that SQLite locks; whoever has a lock on any of them has the file open.
LOCKED_FROM, LOCKED_BYTES = 0x40000000, 512
SETTLE = ("locking_mode = exclusive", "wal_checkpoint(truncate)", "journal_mode = delete")


@contextmanager
def held(*paths: Path) -> Iterator[None]:
    """Keep every other program from opening these databases; SourceError if one has them open now.

    It is the lock that SQLite itself takes for writing, held by the open file, so
    that Anki, when it is started meanwhile, says that the collection is in use.
    Never waits. What is not there is not held.
    """
    with ExitStack() as stack:
        for path in paths:
            try:
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SourceError(
                    f"can't write {path}: {(error.strerror or '').lower()}",
                    hint="Run as the user whose collection it is.",
                ) from error
            stack.callback(os.close, fd)
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_FROM, LOCKED_BYTES, 0)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
            except OSError as error:
                raise SourceError(
                    f"{path} is open in another program",
                    hint="Close Anki (or stop the sync server that it belongs to), and run again.",
                ) from error
        yield


def merge(path: Path) -> None:
    """Bring the WAL or journal of a held collection into it, as its next opening would; SourceError if not.

    After this the collection is one file, which one rename can replace.
    """
    # We hold the lock; SQLite must not look for it.
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
    try:
        db = apsw.Connection(uri(path, "vfs=unix-none"), flags=flags)
        try:
            for pragma in SETTLE:
                db.execute(f"PRAGMA {pragma}").fetchall()
        finally:
            db.close()
    except apsw.Error as error:
        raise SourceError(f"{path} can't be read with what lies beside it: {error}") from error
