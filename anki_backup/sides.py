"""The two sides of a comparison: backups brought back aside, or a source as it is now.

Everything happens in a temporary folder of the system (`TMPDIR`), which is gone
afterwards; the repository is only read. Only the mirror of an account is brought
up to date, under the lock, before it is looked at.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs, to_builtins

from anki_backup import collection, compare, content, media, medialist, walk
from anki_backup.baseline import Baseline
from anki_backup.compare import Side
from anki_backup.differences import Comparison, PartChange, ThingItem
from anki_backup.errors import SourceError
from anki_backup.model import Backup, MediaFile
from anki_backup.repository import Repository
from anki_backup.sources import READ, Capture, Source, open_file
from anki_backup.steady import layout, steadily
from anki_backup.temporary import TemporaryFolder

LIVE = "live"
COLLECTION = "collection.anki2"
TRIES = 5
PAUSE_S = 0.2
BLOCK = 1 << 20


def between(repository: Repository, old: Backup, new: Backup, *, items: bool = False) -> Comparison:
    """Return what changed from one backup to another; nothing is read where their hashes are equal."""
    work = partial(_between, repository, old, new, items=items)
    return steadily(work, partial(layout, repository.root))


def _between(repository: Repository, old: Backup, new: Backup, *, items: bool) -> Comparison:
    named = {"source": new.source, "old": old.id, "new": new.id}
    if old.content_hash == new.content_hash:
        return structs.replace(compare.nothing(), items=[] if items else None, **named)
    with _folder() as folder:
        paths = {folder / name / COLLECTION: each for name, each in (("old", old), ("new", new))}
        for path in paths:
            path.parent.mkdir()
        names = {path: repository.manifest(each.id).collection_sha256 for path, each in paths.items()}
        walk.copy_out(repository.store, names)
        found = [Side(path, repository.media(each.id)) for path, each in paths.items()]
        result = _compared(*found, items=items)
    if result.equal and _version(old) == _version(new):
        _tell_unnamed(result)
    return structs.replace(result, **named)


def with_live(
    repository: Repository, old: Backup, source: Source, wait_s: float = 0, *, items: bool = False
) -> Comparison:
    """Return what changed since a backup in a source as it is now; no backup is made.

    SourceError when the source can't be read, as for a run.
    """
    # The mirror of an account lies in the repository, and syncing writes to it.
    held = nullcontext() if source.is_live else repository.writing(f"diff {source.name}", wait_s)
    with _folder() as folder, held, ThreadPoolExecutor(1) as pool:
        before = pool.submit(_backup, repository, old, folder / old.id)
        path = _captured(source, folder, wait_s)
        collection.check(path, thorough=False)
        now = Side(path, _live_media(repository, source, before.result().media))
        # Only here, and before anything is upgraded: the hash settles it without a comparison.
        hashed = content.content_hash(path, content.media_section(medialist.named(now.media)))
        if hashed == old.content_hash:
            result = structs.replace(compare.nothing(), items=[] if items else None)
        else:
            result = _compared(before.result(), now, items=items)
            if result.equal and hashed.split(":")[0] == _version(old):
                _tell_unnamed(result)
    return structs.replace(result, source=source.name, old=old.id, new=LIVE)


def document(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it; without items it has no member of that name."""
    shown: dict[str, Any] = to_builtins(found)
    if found.items is None:
        del shown["items"]
    return shown


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryFolder(prefix="ankibak-") as folder:
        yield Path(folder)


def _version(backup: Backup) -> str:
    return backup.content_hash.split(":")[0]


def _backup(repository: Repository, backup: Backup, folder: Path) -> Side:
    """Bring a backup's collection back into a folder of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / COLLECTION
    repository.restore_collection(backup.id, path)
    return Side(path, repository.media(backup.id))


def _compared(old: Side, new: Side, *, items: bool) -> Comparison:
    """Compare two sides; where their schemas differ, Anki's library first upgrades our copy of the older."""
    schemas = [_schema(side.path) for side in (old, new)]
    if max(schemas) > collection.NEWEST:
        raise SourceError(
            f"schema {max(schemas)} is newer than this program can compare",
            hint="Export both backups and look at them in Anki, or install a newer ankibak.",
        )
    if schemas[0] == schemas[1]:
        return compare.compare(old, new, items=items)
    for side, schema in zip((old, new), schemas, strict=True):
        if schema < collection.NEWEST:
            _upgrade(side.path)
    result = compare.compare(old, new, items=items)
    result.settings.changed += 1
    result.equal = False
    if result.items is not None:
        part = PartChange(name="schema", before=schemas[0], after=schemas[1])
        result.items.append(
            ThingItem(kind="setting", change="changed", id="schema", name="schema", parts=[part])
        )
    return result


def _upgrade(path: Path) -> None:
    # The library takes a tenth of a second to load, and is seldom needed here.
    from anki_backup import library

    with library.opened(path):
        pass


def _schema(path: Path) -> int:
    with collection.connect(path) as db:
        return collection.schema(db) or 0


def _tell_unnamed(result: Comparison) -> None:
    """The hash saw a difference that has no name of ours: rather say that much than nothing."""
    result.settings.changed += 1
    result.equal = False
    if result.items is not None:
        result.items.append(ThingItem(kind="setting", change="changed", id="", name="something", parts=[]))


def _captured(source: Source, folder: Path, wait_s: float) -> Path:
    """Return a copy of our own of one consistent moment of a source."""
    work = folder / LIVE
    work.mkdir()
    deadline, tries = time.monotonic() + wait_s, 0
    source.look()  # where an account fetches what is new
    while True:
        tries += 1
        capture = source.capture(work, wait_s)
        copy = _copied(capture, work)
        if capture.private or source.look() == capture.sighting:
            return copy
        if tries >= TRIES and time.monotonic() >= deadline:
            raise SourceError(
                f"{capture.path} kept changing while it was read, {tries} times",
                hint="Close Anki, or give it time.",
            )
        time.sleep(PAUSE_S)


def _copied(capture: Capture, work: Path) -> Path:
    if capture.private and capture.path.is_relative_to(work):
        return capture.path
    path = work / COLLECTION
    fd = open_file(capture.path)
    with open(fd, "rb", buffering=0) as file, path.open("wb") as copy:
        shutil.copyfileobj(file, copy, BLOCK)
    return path


def _live_media(repository: Repository, source: Source, before: Sequence[MediaFile]) -> Sequence[MediaFile]:
    """Return the media of a source as they are; what was read before and not touched is not read again.

    Without a media folder they are those of before, as for a run.
    """
    if not media.is_there(source.media):
        return before
    baseline = Baseline(repository.root / "cache" / source.name)
    known = baseline.index(baseline.mark())
    files = []
    for entry in media.look(source.media, time.time_ns()).entries:
        kept = known.get(entry.name)
        sha256 = kept[1] if kept and kept[0] == entry else _digest(source.media, entry.name)
        if sha256:
            files.append(MediaFile(entry.name, entry.size, entry.mtime_ns, sha256))
    return files


def _digest(folder: Path, name: bytes) -> str | None:
    """Hash a media file; None for one that can't be read, which a run leaves out too."""
    try:
        fd = os.open(os.path.join(os.fsencode(folder), name), READ)
        with open(fd, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
