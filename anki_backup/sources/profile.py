"""A local profile of Anki, one `.anki2`, or a user's folder of a sync server.

Anki keeps an exclusive lock and a WAL while it is open, so nothing can be read
through SQLite then, and the main file alone lacks what the WAL holds. The way
that was proven: look, copy both files, look again, and believe the copy only if
nothing moved; then let SQLite merge the copy.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

from anki_backup import durable
from anki_backup.errors import SourceError, StorageError
from anki_backup.model import CaptureFacts
from anki_backup.sources import Capture, FileState, Means, Sighting, open_file

SUFFIX = ".anki2"
COLLECTION = f"collection{SUFFIX}"
TRIES = 5
BLOCK = 1 << 20
PAUSE_S = 0.2
SIDE = ("-wal", "-journal")


class Profile:
    """The collection at `path` and its media folder."""

    is_live = True
    is_ours = False

    def __init__(self, name: str, path: Path, media: Path | None = None, tries: int = TRIES) -> None:
        self.name = name
        self.given = path
        self.collection = _collection(path)
        self.media = media or _media(path, self.collection)
        self._tries = tries

    def look(self) -> Sighting:
        """Return the states of the collection, its WAL and its journal, without opening them."""
        collection = _state(self.collection)
        if collection is None:
            raise SourceError(
                f"there is no collection at {self.given}",
                hint=f"Name the profile's folder or its {COLLECTION} as sources.{self.name}.path.",
            )
        return Sighting(collection, *(_state(_beside(self.collection, side)) for side in SIDE))

    def capture(self, work: Path, wait_s: float) -> Capture:
        """Return the file itself when it is closed, else a merged private copy."""
        sighting = self.look()
        if sighting.hot:
            return self._copy_hot(work, wait_s)
        return Capture(self.collection, False, sighting, self._facts(sighting))

    def doubt(self) -> None:
        """Do nothing: the files are the person's."""

    def foresee(self) -> str | None:
        """Return None: to look changes nothing."""
        return None

    def _facts(self, sighting: Sighting) -> CaptureFacts:
        warnings = []
        if sighting.wal and sighting.wal[0] and sighting.collection[1] > sighting.wal[1]:
            warnings.append("the main file is newer than its WAL; what SQLite makes of both was kept")
        return CaptureFacts(
            path=str(self.collection).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            hot=sighting.hot,
            wal_bytes=sighting.wal[0] if sighting.wal else 0,
            warnings=warnings,
        )

    def _copy_hot(self, work: Path, wait_s: float) -> Capture:
        deadline = time.monotonic() + wait_s
        copy = work / "hot.part"
        tries = 0
        while True:
            tries += 1
            before = self.look()
            _remove(copy)
            for side in ("", *SIDE):
                _copy(_beside(self.collection, side), _beside(copy, side))
            if self.look() == before:
                _merge(copy, self.collection)
                return Capture(copy, True, before, self._facts(before))
            if tries >= self._tries and time.monotonic() >= deadline:
                _remove(copy)
                raise SourceError(
                    f"{self.collection} kept changing while it was copied, {tries} times",
                    hint="Close Anki, or give it time: ankibak run --wait 10m",
                )
            time.sleep(PAUSE_S)


def make(name: str, settings: Any, tries: int, means: Means) -> Profile:
    """Return the source that a `kind = "profile"` table describes."""
    return Profile(name, settings.path, settings.media, tries)


def _collection(path: Path) -> Path:
    """Return the real file behind what was named: a folder's collection; links at the top are followed.

    What is missing is a folder, unless its name is that of a collection.
    """
    real = Path(os.path.realpath(path))
    # By `os.path`, for which a folder that may not be looked into is not there: what is wrong is told later.
    is_file = not os.path.isdir(real) if os.path.exists(real) else real.suffix == SUFFIX
    return real if is_file else Path(os.path.realpath(real / COLLECTION))


def _media(given: Path, collection: Path) -> Path:
    """Return the folder of the media: beside the file as it was named, else beside the real one.

    It is Anki's, or the `media` of a sync server's user.
    """
    real = Path(os.path.realpath(given))
    named = real / COLLECTION if os.path.isdir(real) else Path(os.path.realpath(given.parent), given.name)
    for file in (named, collection):
        for folder in (file.with_suffix(".media"), file.parent / "media"):
            if os.path.isdir(folder):
                return folder
    return collection.with_suffix(".media")


def _beside(path: Path, side: str) -> Path:
    return path.with_name(path.name + side)


def _state(path: Path) -> FileState | None:
    """Return a regular file's state, None if it is missing; anything else is refused unopened."""
    try:
        state = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SourceError(f"can't look at {path}: {error}") from error
    if not stat.S_ISREG(state.st_mode):
        raise SourceError(f"{path} is no regular file", hint="Name the collection.anki2 of a profile.")
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def _copy(source: Path, target: Path) -> None:
    if _state(source) is None:
        return
    fd = open_file(source)
    try:
        with durable.storing(target):
            out = os.open(target, durable.CREATE, 0o600)
        try:
            while block := _read(fd, source):
                with durable.storing(target):
                    durable.write_fully(out, block)
        finally:
            os.close(out)
    finally:
        os.close(fd)


def _read(fd: int, source: Path) -> bytes:
    try:
        return os.read(fd, BLOCK)
    except OSError as error:
        raise SourceError(f"can't read {source}: {(error.strerror or '').lower()}") from error


def _remove(copy: Path) -> None:
    for side in ("", *SIDE, "-shm"):
        _beside(copy, side).unlink(missing_ok=True)


def _merge(copy: Path, collection: Path) -> None:
    """Let SQLite bring WAL or journal into our own copy of a collection."""
    # Only a hot copy needs them here.
    from urllib.parse import quote_from_bytes

    import apsw

    try:
        uri = f"file:{quote_from_bytes(bytes(copy.absolute()))}"
        connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
        try:
            connection.execute("pragma synchronous = off")
            connection.execute("select count(*) from sqlite_master")  # plays back a hot journal
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError) as error:
        raise StorageError(f"can't write {copy}: {error}") from error
    except apsw.Error as error:
        raise SourceError(
            f"{collection} can't be read while it is open: {error}", hint="Close Anki, then run again."
        ) from error
    for side in (*SIDE, "-shm"):
        _beside(copy, side).unlink(missing_ok=True)
