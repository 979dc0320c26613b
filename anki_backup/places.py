"""Where the active state of a source is: what a rollback replaces."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, cast

from anki_backup.model import ID_PATTERN
from anki_backup.sources import Source
from anki_backup.sources.profile import COLLECTION, Profile

SERVER_DATABASE = "media.db"


class LiveSource(Source, Protocol):
    """A source whose own collection lies in a file of this machine."""

    collection: Path


class Place(NamedTuple):
    """A collection and its media folder, None where that is not ours to fill.

    `live`: it is the source itself, not only a copy of it under `active/`.
    """

    collection: Path
    media: Path | None
    live: bool
    server: bool = False

    @classmethod
    def of(cls, root: Path, source: Source) -> Place:
        """Return the place of a source: its own files, or `active/<source>/` in the repository."""
        if source.is_live:
            collection = cast(LiveSource, source).collection
            server = source.media == collection.parent / "media"
            return cls(collection, None if server else source.media, True, server)
        folder = active(root, source.name)
        return cls(folder / COLLECTION, folder / "collection.media", False)

    @property
    def databases(self) -> list[Path]:
        """The files that whoever uses this place has open: a sync server keeps the one of its media open."""
        return [self.collection, *([self.collection.with_name(SERVER_DATABASE)] if self.server else [])]

    def kept(self, backup_id: str) -> Path:
        """Return a folder beside the collection, not there yet, for files that could not be backed up."""
        assert ID_PATTERN.fullmatch(backup_id), "an id is a file name"
        name, count = f"before-rollback-to-{backup_id}", 1
        while (path := self.collection.with_name(f"{name}-{count}" if count > 1 else name)).exists():
            count += 1
        return path


def active(root: Path, source: str) -> Path:
    """Return the folder of a source whose active state is a copy in the repository."""
    return root / "active" / source


def reader(root: Path, source: Source) -> Source:
    """Return what captures the active state of a source: itself, or its copy in the repository."""
    return source if source.is_live else Profile(source.name, active(root, source.name))
