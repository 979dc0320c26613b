"""The one door to Anki's library: opened late, in the owner's time zone, its errors in our words.

Importing it takes a tenth of a second, so nothing here does before it is called.
The library writes into whatever it opens, so `opened` is for copies of our own.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anki_backup.errors import SourceError, StorageError
from anki_backup.temporary import TemporaryFolder

if TYPE_CHECKING:
    from anki._backend import RustBackend
    from anki.collection import Collection

# The library marks the parts of its messages for right-to-left text.
MARKS = re.compile("[\u2066-\u2069]")
LENGTH = 300
MEMORY = "/dev/shm"
# What it says when a disk takes no more: the system's numbers (full, quota, too large, I/O), and SQLite's.
REFUSED = ("os error 28", "os error 122", "os error 27", "os error 5)", "DiskFull", "SystemIoFailure")


def version() -> str:
    """Return the library's version."""
    from anki.buildinfo import version

    return version


def backend() -> RustBackend:
    """Return the library without a collection in it."""
    from anki._backend import RustBackend

    return RustBackend()


@contextmanager
def zoned(name: str | None) -> Iterator[None]:
    """Have local time be that of a zone, for the whole process; None leaves it as it is.

    The library reads it once a second and thread, so what matters belongs into a
    thread that was started within.
    """
    if name is None:
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@contextmanager
def opened(path: Path, zone: str | None = None) -> Iterator[Collection]:
    """Open our own copy of a collection, and close it again whatever happens within.

    Gives Anki's `Collection`: it may be older than the library, then it is upgraded.
    The media folder `<stem>.media` is made beside it if it is missing. Once this has
    returned, no file of it is open and no WAL is left. What the library refuses, on
    opening or within, is a SourceError.
    """
    with zoned(zone), ours(f"Anki's library can't open {path.name}"):
        from anki.collection import Collection

        if not path.is_file():  # it would make a new one
            raise SourceError(f"there is no collection at {path}")
        collection = Collection(str(path))
        with ours(f"Anki's library can't go on with {path.name}"):
            try:
                yield collection
            finally:
                collection.close()


def media_names(names: list[str]) -> list[str | None]:
    """Return, for names of media files, those that Anki would give them; None where it can give none."""
    from anki.collection import Collection

    # It syncs each file that it writes: 1 ms in memory, 25 ms on a disk.
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with ours("Anki's library can't name media"), TemporaryFolder(prefix="ankibak-", dir=folder) as place:
        collection = Collection(str(Path(place) / "collection.anki2"))
        try:
            answers = [_media_name(collection, name) for name in names]
        finally:
            collection.close()
    return answers


def _media_name(collection: Collection, name: str) -> str | None:
    """Ask for one name; of a file that is there already, with these bytes, the library keeps the case."""
    from anki.errors import AnkiException

    data, folder = b"ankibak", Path(collection.media.dir())
    try:
        (folder / name).write_bytes(data)
        answer = collection.media.write_data(name, data)
        if answer == name:
            return name
        cased = _recased(unicodedata.normalize("NFC", name), answer)
        (folder / cased).write_bytes(data)
        return collection.media.write_data(name, data)
    except (AnkiException, OSError):
        return None


def _recased(name: str, answer: str) -> str:
    """Return `answer`, which is all in lower case, with the letters of `name` where they are the same."""
    letters, made = iter(name), []
    for wanted in answer:
        rest = "".join(letters)
        at = next((at for at, letter in enumerate(rest) if letter.lower() == wanted), None)
        made.append(wanted if at is None else rest[at])
        letters = iter(rest if at is None else rest[at + 1 :])
    return "".join(made)


@contextmanager
def ours(what: str) -> Iterator[None]:
    """Turn what the library raises into a SourceError that begins with `what`."""
    from anki.errors import AnkiException

    try:
        yield
    except AnkiException as error:
        if any(text in str(error) for text in REFUSED):
            raise StorageError(
                f"{what}: the disk for temporary files takes no more",
                hint="Free some space there, or name another place for them as TMPDIR.",
            ) from error
        raise SourceError(f"{what}: {said(error)}") from error


def said(error: BaseException) -> str:
    """Return what the library says of an error, on one line and of bounded length."""
    text = " ".join(MARKS.sub("", str(error)).split())
    return (text[:LENGTH] + "…" if len(text) > LENGTH else text) or type(error).__name__
