"""The newest capture of a source, kept uncompressed to compare with: `cache/<source>/`.

Everything here is expendable. The mark says which backup the source was last seen
to be equal to, and by what it can be told again; it is believed only if its seal
is whole, and the collection beside it only if its SHA-256 is right, computed in
the same pass that compares it. A pass leaves the new content in the cache, so an
hour of study writes a few hundred pages; `revert` puts the old ones back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import DecodeError, Struct, msgpack, structs

from anki_backup import chains, durable, media, pages
from anki_backup.errors import DamageError, SourceError, StorageError
from anki_backup.model import seal, unseal
from anki_backup.objects import ObjectStore
from anki_backup.payloads import BLOCK, Behind

CHANGES_LIMIT = 2048


class Mark(Struct, frozen=True, kw_only=True):
    """What the newest good backup was made from, or last confirmed by."""

    backup: str
    collection_sha256: str
    content_hash: str
    media_section: str
    sighting: list[list[int] | None] | None = None
    has_media: bool = False
    media_digest: str | None = None
    index_sha256: str | None = None

    def fits(self, sighting: list[list[int] | None], seen: media.Look | None) -> bool:
        """Say whether no file changed since the mark was made, by size, times and inode."""
        if self.sighting is None or self.sighting != sighting or self.has_media != (seen is not None):
            return False
        return seen is None or self.fits_media(seen)

    def fits_media(self, seen: media.Look) -> bool:
        """Say the same of the media alone."""
        return seen.digest is not None and self.media_digest == seen.digest


class Change(Struct, frozen=True, kw_only=True):
    """What a pass found: the new content's hash and size, and the pages that differ if they are few."""

    sha256: str
    size: int
    unit: int
    old_sha256: str | None = None
    old_size: int = 0
    count: int = 0
    pages: list[tuple[int, bytes, bytes]] | None = None


class Baseline:
    """The cache of one source. All methods are for the holder of the lock, but `mark`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collection = folder / "collection.anki2"
        self.before = folder / "before.part"
        self._undo: Change | None = None

    def mark(self) -> Mark | None:
        """Return the mark, None when there is none that can be believed."""
        try:
            return unseal((self.folder / "mark.json").read_bytes(), Mark, "the mark")
        except (OSError, DamageError):
            return None

    def keep(self, mark: Mark) -> None:
        """Replace the mark. It need not survive a power cut, only never be half there."""
        self._replace("mark.json", seal(mark))
        self._undo = None

    def forget(self) -> None:
        """Drop the mark: the next run compares with whatever is the newest backup by then."""
        path = self.folder / "mark.json"
        with durable.storing(path):
            path.unlink(missing_ok=True)

    def index(self, mark: Mark | None) -> dict[bytes, tuple[media.Entry, str]]:
        """Return which media files were read before, as far as that can be believed."""
        with suppress(OSError):
            data = (self.folder / "media.index").read_bytes()
            if mark and hashlib.sha256(data).hexdigest() == mark.index_sha256:
                return _unpack(data)
        return {}

    def keep_index(self, index: dict[bytes, tuple[media.Entry, str]]) -> str:
        """Remember which media files were read; return what the mark needs to believe it."""
        data = _pack(index)
        self._replace("media.index", data)
        return hashlib.sha256(data).hexdigest()

    def _replace(self, name: str, data: bytes) -> None:
        with durable.part_file(self.folder / name) as fd:
            durable.write_fully(fd, data)
        durable.publish(self.folder / (name + durable.PART), self.folder / name)

    def fill(self, store: ObjectStore, name: str) -> bool:
        """Make the cached collection hold an object again; False when the repository can't give it."""
        part = self.collection.with_name("collection.anki2.part")
        try:
            chains.materialise(store, name, part)
        except DamageError:
            return False
        durable.publish(part, self.collection)
        return True

    def take(self, source: int) -> Change:
        """Bring the content of an open file into the cache; say how it differs from what was there.

        The size must be a multiple of 512. Few changed pages are patched in, with
        the old ones kept to revert; else the old file moves to `before` and a copy
        takes its place.
        """
        self._undo = None
        change = self._compare(source)
        if change is None or change.pages is None:
            change = self._copy(source, change)
        elif change.count:
            with durable.storing(self.collection), open(self.collection, "r+b", buffering=0) as file:
                for number, _, new in change.pages:
                    durable.pwrite_fully(file.fileno(), new, number * change.unit)
        self._undo = change
        return change

    def _compare(self, source: int) -> Change | None:
        """Hash both files and find the pages that differ, in one pass; None when nothing is cached."""
        try:
            cached = os.open(self.collection, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        size, old_size = os.fstat(source).st_size, os.fstat(cached).st_size
        unit = pages.unit_for(size, old_size)
        found: list[pages.Change] | None = [] if size >= old_size else None
        count = 0
        old_digest, new_digest = hashlib.sha256(), hashlib.sha256()
        try:
            with Behind(old_digest.update) as old, Behind(new_digest.update) as new:
                # Read to the end even when there are too many changes: the hashes are wanted.
                for change in pages.changed(_both(source, cached, max(size, old_size), old, new), unit):
                    count += 1
                    if found is not None:
                        found.append(change)
                        found = found if count <= CHANGES_LIMIT else None
        finally:
            os.close(cached)
        return Change(
            sha256=new_digest.hexdigest(),
            size=size,
            unit=unit,
            old_sha256=old_digest.hexdigest(),
            old_size=old_size,
            count=count,
            pages=found,
        )

    def _copy(self, source: int, change: Change | None) -> Change:
        """Keep the old file aside and put a whole copy in its place."""
        size = os.fstat(source).st_size
        digest = hashlib.sha256()
        with durable.part_file(self.collection) as out, Behind(digest.update) as behind:
            for block in _blocks(source, size):
                behind.call(block)
                durable.write_fully(out, block)
        sha256 = digest.hexdigest()
        if change:
            durable.publish(self.collection, self.before)
        durable.publish(self.collection.with_name("collection.anki2.part"), self.collection)
        if change is None:
            return Change(sha256=sha256, size=size, unit=pages.unit_for(size))
        # If the file changed since it was compared, the caller sees that by its state and comes again.
        return structs.replace(change, sha256=sha256, size=size)

    def revert(self) -> None:
        """Put back what `take` replaced, as far as it can be; the hash tells later if it could not."""
        change, self._undo = self._undo, None
        if change is None:
            return
        with suppress(OSError, StorageError):
            if change.pages is None:
                durable.publish(self.before, self.collection)
                return
            with open(self.collection, "r+b", buffering=0) as file:
                for number, old, _ in change.pages:
                    durable.pwrite_fully(file.fileno(), old, number * change.unit)
                file.truncate(change.old_size)

    def clear(self) -> None:
        """Drop what a run leaves behind."""
        # Expendable, and never worth failing for.
        for path in self.folder.glob("*.part*"):
            with suppress(OSError):
                path.unlink()


def _both(source: int, cached: int, size: int, old: Behind, new: Behind) -> Iterator[tuple[bytes, bytes]]:
    for at in range(0, size, BLOCK):
        before, after = os.pread(cached, BLOCK, at), _pread(source, BLOCK, at)
        if before:
            old.call(before)
        if after:
            new.call(after)
            yield before, after


def _blocks(source: int, size: int) -> Iterator[bytes]:
    for at in range(0, size, BLOCK):
        yield _pread(source, min(BLOCK, size - at), at)


def _pread(source: int, count: int, at: int) -> bytes:
    try:
        return os.pread(source, count, at)
    except OSError as error:
        raise SourceError(f"the collection can't be read: {(error.strerror or '').lower()}") from error


def _pack(index: dict[bytes, tuple[media.Entry, str]]) -> bytes:
    """Write the memory of what was read: expendable, checked by its hash in the mark."""
    return msgpack.encode([(*entry, name) for entry, name in index.values()])


def _unpack(data: bytes) -> dict[bytes, tuple[media.Entry, str]]:
    """Read it again; empty when it can't be."""
    try:
        rows = msgpack.decode(data, type=list[tuple[bytes, int, int, int, int, str]])
    except DecodeError:
        return {}
    return {row[0]: (media.Entry(*row[:5]), row[5]) for row in rows}
