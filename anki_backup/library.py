"""The one door to Anki's library: opened late, in the owner's time zone, its errors in our words.

Importing it takes a tenth of a second, so nothing here does before it is called.
The library writes into whatever it opens, so `opened` is for copies of our own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anki_backup.errors import SourceError

if TYPE_CHECKING:
    from anki._backend import RustBackend
    from anki.collection import Collection

# The library marks the parts of its messages for right-to-left text.
MARKS = re.compile("[\u2066-\u2069]")
LENGTH = 300


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


@contextmanager
def ours(what: str) -> Iterator[None]:
    """Turn what the library raises into a SourceError that begins with `what`."""
    from anki.errors import AnkiException

    try:
        yield
    except AnkiException as error:
        raise SourceError(f"{what}: {said(error)}") from error


def said(error: BaseException) -> str:
    """Return what the library says of an error, on one line and of bounded length."""
    text = " ".join(MARKS.sub("", str(error)).split())
    return (text[:LENGTH] + "…" if len(text) > LENGTH else text) or type(error).__name__
