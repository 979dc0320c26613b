"""`state/rollback.json`: what is about to take the place of what.

It is there only while a rollback is under way, and says all that is needed to
finish or to reverse it. Paths and names are text, as file names are in JSON.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from anki_backup import durable
from anki_backup.errors import DamageError
from anki_backup.model import seal, unseal

ASIDE = ".ankibak-rollback"


class Put(Struct, frozen=True):
    """A media file that comes in, and by what it can be told afterwards that it is ours."""

    name: str
    size: int
    mtime_ns: int


class Intent(Struct, frozen=True, kw_only=True):
    """What is to become what: a whole backup, or (`putback`) what is there with notes of one in it."""

    kind: Literal["rollback", "putback"] = "rollback"
    source: str
    before: str | None = field(name="from", default=None)
    to: str
    safety: str | None = None
    newest: str | None = None
    live: bool = True
    pushed: bool = False
    undo: bool = False
    who: str
    started_at: datetime
    collection: str
    media: str | None = None
    ready: bool = False
    sha256: str | None = None
    incoming: list[Put] = []
    surplus: list[str] = []
    kept: str | None = None

    @property
    def place(self) -> Path:
        """The collection that is replaced."""
        return Path(self.collection)

    @property
    def aside(self) -> Path:
        """Where the new collection is made ready: beside the one that it replaces."""
        return self.place.parent / ASIDE

    @property
    def new(self) -> Path:
        return self.aside / "collection.anki2"

    @property
    def media_aside(self) -> Path | None:
        """Where new media are made ready; inside their folder only where that is a mount of its own."""
        if self.media is None:
            return None
        folder = Path(self.media)
        with suppress(OSError):
            if folder.stat().st_dev != folder.parent.stat().st_dev:
                return folder / f"{ASIDE}-media"
        return folder.parent / f"{ASIDE}-media"

    @property
    def media_old(self) -> Path:
        """Where media go that are replaced: with what could not be backed up, they stay."""
        assert self.media_aside is not None, "there are media"
        return Path(self.kept) / "media" if self.kept else self.media_aside / "old"


def document(root: Path) -> Path:
    """Return where it is."""
    return root / "state" / "rollback.json"


def read(root: Path) -> Intent | None:
    """Return the intent that was not settled, None if there is none; DamageError if it can't be read."""
    try:
        return unseal(document(root).read_bytes(), Intent, "rollback.json")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamageError(f"rollback.json can't be read: {error.strerror}") from error


def set_aside(root: Path) -> str | None:
    """Give one that can't be read another name, so that it is in nobody's way; return that in words."""
    try:
        read(root)
    except DamageError as error:
        path = document(root)
        durable.publish(path, path.with_name(f"{path.name}.damaged"))
        return f"{error.message}; it is now {path.name}.damaged, and what it was about stays as it lies there"
    return None


def write(root: Path, intent: Intent) -> None:
    """Make an intent durable; until one that is `ready` is, nothing may be touched but what is aside."""
    durable.write(document(root), seal(intent))
