"""`dir`: a folder with the collection and its media, as Anki keeps them.

collection.anki2   collection.media/   metadata.json (the manifest)   stats.json   SHA256SUMS
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from anki_backup import durable
from anki_backup.bundle import documents, sum_line
from anki_backup.errors import DamageError, UsageError
from anki_backup.filenames import is_file_name
from anki_backup.formats import Options, Outcome, beside
from anki_backup.model import MediaFile, file_name_text
from anki_backup.pieces import Contents

COLLECTION, MEDIA = "collection.anki2", "collection.media"
MANIFEST, STATS, SUMS = "metadata.json", "stats.json", "SHA256SUMS"
OURS = {COLLECTION, MEDIA, MANIFEST, STATS, SUMS}


def write(contents: Contents, target: Path, options: Options) -> Outcome:
    """Make the folder `target`; an older export of ours there is replaced, nothing else ever."""
    if target.is_dir() and (names := set(os.listdir(target))) and (names - OURS or SUMS not in names):
        raise UsageError(f"{target} is no export of ours", hint="Name a new or empty folder with -o.")
    part = beside(target)
    try:
        outcome = _fill(part, contents, options.media)
        _replace(part, target)
    except BaseException:
        _remove(part)
        raise
    return outcome


def _fill(part: Path, contents: Contents, media: bool) -> Outcome:
    durable.make_directory(part)
    contents.collection(part / COLLECTION)
    sums = [(contents.backup.collection_sha256, COLLECTION.encode())]
    warnings: list[str] = []
    damaged: list[str] = []
    for document, data in documents(contents, damaged):
        durable.write(part / document.decode(), data)
        sums.append((hashlib.sha256(data).hexdigest(), document))
    if media:
        durable.make_directory(part / MEDIA)
        fd = os.open(part / MEDIA, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for file in contents.media():
                try:
                    problem = put_file(fd, file, contents.blocks(file.sha256))
                except DamageError:
                    damaged.append(file_name_text(file.name))
                    continue
                if problem:
                    warnings.append(problem)
                else:
                    sums.append((file.sha256, MEDIA.encode() + b"/" + file.name))
        finally:
            os.close(fd)
    durable.write(part / SUMS, b"".join(sum_line(digest, name) for digest, name in sums))
    batch = durable.Batch(part)
    for path, folders, files in os.walk(part):
        batch.add_directory(Path(path))
        for name in files:
            batch.add(Path(path, name))
        folders.sort()
    batch.flush()
    return Outcome(warnings, damaged)


def put_file(folder: int, file: MediaFile, blocks: Iterator[bytes]) -> str | None:
    """Write one media file into an open folder; say why if its name can't be one there.

    The one way by which names from inside a backup become files: created here,
    never followed, never outside. DamageError leaves nothing behind.
    """
    shown = file_name_text(file.name)
    if not is_file_name(file.name):
        return f"media file {shown!r} has a name that leads elsewhere: left out"
    try:
        fd = os.open(file.name, durable.CREATE, 0o600, dir_fd=folder)
    except FileExistsError:
        return (
            f"media file {shown!r} would replace one whose name this file system takes for the same: left out"
        )
    except OSError as error:
        with durable.storing(Path(shown)):
            raise error
    try:
        with durable.storing(Path(shown)):
            for block in blocks:
                durable.write_fully(fd, block)
            os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
    except BaseException:
        os.unlink(file.name, dir_fd=folder)
        raise
    finally:
        os.close(fd)
    return None


def _replace(part: Path, target: Path) -> None:
    """Give the finished folder its name; an older export steps aside first and is removed last."""
    old = beside(target)
    if os.path.lexists(target):
        durable.publish(target, old)
    durable.publish(part, target)
    with durable.storing(target):
        durable.sync_directory(target.absolute().parent)
    _remove(old)


def _remove(folder: Path) -> None:
    with durable.storing(folder):
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
