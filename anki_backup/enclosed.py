"""The media that come with a file that is adopted: in its package, or in the folder beside it.

First they are told, by name and SHA-256; only when the backup is wanted are they kept.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from anki_backup import archives, content, durable, media, medialist
from anki_backup.candidates import profile
from anki_backup.errors import SourceError
from anki_backup.model import MediaFile, Skipped, file_name_text
from anki_backup.objects import ObjectStore


class Enclosed(NamedTuple):
    """What a file holds of media; `files` is None where it holds none and nothing can be said of them.

    Packages don't tell the times of files: then all `mtime_ns` are 0 and `timed` is False.
    """

    files: list[MediaFile] | None
    skipped: tuple[Skipped, ...] = ()
    unread: tuple[str, ...] = ()
    timed: bool = False

    @property
    def section(self) -> str:
        """Return the section of the content hash."""
        return content.media_section(medialist.named(self.files or []))


class Weighing(ObjectStore):
    """A store that tells the names of what it is given and keeps nothing."""

    def put(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def put_blocks(self, name: str, size: int, blocks: Iterable[bytes], threads: int = 0) -> None:
        return

    def has_sound(self, name: str) -> bool:
        return True


def weighing(work: Path) -> Weighing:
    """Return a store that keeps nothing."""
    return Weighing(work, durable.Batch(work))


def gather(path: Path, store: ObjectStore) -> Enclosed:
    """Give a store the media of a package or a bare collection; what of them can't be read is told."""
    if archives.is_package(path):
        with archives.Package(path) as package:
            return _of_package(package, store)
    folder = profile(path).media
    if not folder.is_dir():
        return Enclosed(None)
    seen = media.look(folder, time.time_ns())
    files, failed = media.Collector(store, folder, {}).collect(seen, 1, lambda count: None)
    unread = tuple(f"media file {item.name} could not be read: {item.reason}" for item in failed)
    return Enclosed(files, (*seen.skipped, *failed), unread, timed=True)


def _of_package(package: archives.Package, store: ObjectStore) -> Enclosed:
    items, skipped = package.media()
    files: list[MediaFile] = []
    unread = [f"media file {item.name} {item.reason}: left out" for item in skipped]
    for item in items:
        try:
            name, size = _keep(package, item, store)
        except SourceError as error:
            shown = file_name_text(item.name)
            unread.append(f"media file {shown} could not be read: {error.message}")
            skipped.append(Skipped(name=shown, reason="could not be read"))
            continue
        files.append(MediaFile(item.name, size, 0, name))
    return Enclosed(files if items or skipped else None, tuple(skipped), tuple(unread))


def _keep(package: archives.Package, item: archives.Item, store: ObjectStore) -> tuple[str, int]:
    """Return SHA-256 and size of a media file; one that is larger than memory likes is read twice."""
    digest, size, parts = hashlib.sha256(), 0, []
    for block in package.blocks(item):
        digest.update(block)
        size += len(block)
        if size <= media.SMALL:
            parts.append(block)
    name = digest.hexdigest()
    if size <= media.SMALL:
        store.put(b"".join(parts))
    else:
        store.put_blocks(name, size, package.blocks(item))
    return name, size
