"""Making ready aside what a rollback will put in place: the collection, and the media that it needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import apsw
from msgspec import structs

from anki_backup import chains, durable
from anki_backup.collection import uri
from anki_backup.errors import DamageError, StorageError
from anki_backup.filenames import is_file_name
from anki_backup.formats.dir import put_file
from anki_backup.intent import Intent, Put
from anki_backup.model import MediaFile, file_name_text
from anki_backup.repository import Repository

BLOCK = 1 << 20
# What SQLite says where the disk is to blame, not the collection.
REFUSED = (apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.ReadOnlyError)


def mark_schema(path: Path) -> None:
    """Mark our own copy as Anki's restore does, so that the next sync asks which side is to win.

    Without it a sync would merge the old state forward to the present. The file is
    left as one, whatever its header said of a WAL.
    """
    try:
        db = apsw.Connection(uri(path, "mode=rw"), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
        try:
            db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            db.execute("PRAGMA synchronous = off").fetchall()  # `stage` makes it durable
            db.execute("PRAGMA journal_mode = delete").fetchall()
            at = int(time.time() * 1000)
            db.execute("UPDATE col SET scm = max(?, scm + 1), mod = max(?, mod + 1)", (at, at))
        finally:
            db.close()
    except REFUSED as error:
        raise StorageError(f"can't write {path}: {error}") from error
    except apsw.Error as error:
        raise DamageError(f"the collection that was backed up can't be opened: {error}") from error


def stage(
    repository: Repository,
    intent: Intent,
    path: Path,
    files: list[MediaFile],
    before: Mapping[bytes, MediaFile],
    warnings: list[str],
) -> Intent:
    """Make everything ready and durable; return the intent that says so.

    `path` is the collection, and is moved; `before` are the media that were backed
    up. DamageError if a file that has to come back is not what it was: it is told
    before anything was replaced.
    """
    _fresh(intent.aside)
    with durable.storing(intent.new):
        try:
            os.rename(path, intent.new)
        except OSError:  # another file system
            shutil.copyfile(path, intent.new)
        _as(intent.place, intent.new)
    batch = durable.Batch(intent.aside)
    batch.add(intent.new)
    batch.flush()
    incoming: list[Put] = []
    if intent.media is not None:
        incoming = _stage_media(repository, intent, files, before, warnings)
    sha256 = chains.digest_of(intent.new)
    return structs.replace(intent, ready=True, sha256=sha256, incoming=incoming)


def _stage_media(
    repository: Repository,
    intent: Intent,
    files: list[MediaFile],
    before: Mapping[bytes, MediaFile],
    warnings: list[str],
) -> list[Put]:
    folder, aside = Path(intent.media or ""), intent.media_aside
    assert aside is not None, "there are media"
    durable.make_directory(folder)
    _fresh(aside)
    durable.make_directory(aside / "new")
    batch = durable.Batch(aside)
    incoming = []
    fd = os.open(aside / "new", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file in files:
            name = file_name_text(file.name)
            known = before.get(file.name)
            if known is not None and known.sha256 == file.sha256:
                continue
            if known is None and is_file_name(file.name) and os.path.lexists(folder / name):
                if _same(folder / name, file):
                    continue
                if intent.safety is not None:
                    warnings.append(f"media file {name!r} could not be backed up, so it was left as it is")
                    continue
            if problem := put_file(fd, file, repository.store.blocks(file.sha256)):
                warnings.append(problem)
                continue
            _as(intent.place, aside / "new" / name)
            batch.add(aside / "new" / name)
            incoming.append(Put(name, file.size, file.mtime_ns))
    finally:
        os.close(fd)
    batch.add_directory(aside / "new")
    batch.flush()
    return incoming


def surplus(intent: Intent, files: list[MediaFile], before: Mapping[bytes, MediaFile]) -> list[str]:
    """Return the media that the backup doesn't have, and that were backed up just now."""
    if intent.media is None:
        return []
    wanted = {file.name for file in files}
    return [file_name_text(name) for name in sorted(before) if name not in wanted]


def _fresh(folder: Path) -> None:
    with durable.storing(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)
    durable.make_directory(folder)


def _as(example: Path, path: Path) -> None:
    """Let a new file be readable to those to whom the collection is, and belong to its owner."""
    state = example.stat() if example.exists() else None
    parent = example.parent.stat()
    os.chmod(path, state.st_mode & 0o666 if state else 0o600)
    if os.geteuid() == 0:
        owner = state or parent
        os.chown(path, owner.st_uid, owner.st_gid)


def _same(path: Path, file: MediaFile) -> bool:
    """Say whether a file that nobody has hashed yet has these bytes."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            digest = hashlib.sha256()
            while block := os.read(fd, BLOCK):
                digest.update(block)
            return digest.hexdigest() == file.sha256
        finally:
            os.close(fd)
    return False
