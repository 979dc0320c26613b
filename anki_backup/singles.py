"""Single media files of a backup, as they were, under their own names or another."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path

from anki_backup import durable
from anki_backup.contents import Contents
from anki_backup.errors import NotFoundError, UsageError
from anki_backup.filenames import is_file_name
from anki_backup.formats import beside, refuse_device, refuse_nowhere
from anki_backup.model import MediaFile, file_name_text

NEAREST = 3


def find(contents: Contents, names: list[bytes]) -> list[MediaFile]:
    """Return the media files of those names; NotFoundError with the nearest ones where one is missing."""
    known = {file.name: file for file in contents.media()}
    for name in names:
        if name not in known:
            shown = file_name_text(name)
            near = get_close_matches(shown, map(file_name_text, known), NEAREST)
            raise NotFoundError(
                f"there is no media file {shown!r} in {contents.backup.id}",
                hint=f"Did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"See them: ankibak show {contents.backup.id} --media",
            )
    return [known[name] for name in dict.fromkeys(names)]


def places(files: list[MediaFile], target: str | None) -> list[Path]:
    """Return where each file is to go: into the folder that was named, or here; one file also to a path."""
    if target is not None and len(files) == 1 and not target.endswith("/") and not os.path.isdir(target):
        return [Path(target)]
    for file in files:
        if not is_file_name(file.name):
            raise UsageError(
                f"{file_name_text(file.name)!r} can't be the name of a file",
                hint="Name the file to write with -o.",
            )
    return [Path(target or ".", os.fsdecode(file.name)) for file in files]


def write(contents: Contents, files: list[MediaFile], paths: list[Path], *, overwrite: bool) -> None:
    """Write each file whole or not at all; nothing is written where one would replace what exists."""
    for path in paths:
        if os.path.lexists(path) and (path.is_dir() or not overwrite):
            raise UsageError(f"{path} exists", hint="Name another place with -o, or add --overwrite.")
        refuse_device(path)
        refuse_nowhere(path.absolute().parent.parent)
    for file, path in zip(files, paths, strict=True):
        durable.make_directory(path.absolute().parent)
        _write(contents, file, path)


def _write(contents: Contents, file: MediaFile, path: Path) -> None:
    part = beside(path)
    try:
        with durable.storing(path):
            fd = os.open(part, durable.CREATE, 0o600)
            try:
                for block in contents.blocks(file.sha256):
                    durable.write_fully(fd, block)
                os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
            finally:
                os.close(fd)
        durable.publish_synced(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def stream(contents: Contents, file: MediaFile) -> None:
    """Write one file to standard output, once all of it was compared."""
    for _ in contents.blocks(file.sha256):
        pass
    for block in contents.blocks(file.sha256):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
