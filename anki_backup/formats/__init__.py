"""What a backup can be written as. A format is a file here and a word in `WORDS`.

A driver promises: what it wrote is what was backed up, compared by hash; the
target appears whole or not at all; names from inside a backup never lead out of
the target; nothing that exists is replaced unless `overwrite`. What could not be
written as it was comes back as warnings. A file that is damaged in the repository
is left out, and a DamageError that names it ends the work after all the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol

from anki_backup.errors import UsageError
from anki_backup.model import Backup, MediaFile

WORDS = {"anki2": "anki_backup.formats.anki2", "dir": "anki_backup.formats.dir"}
SIDE = ("-wal", "-shm", "-journal")


class Contents(Protocol):
    """What a driver may ask of a backup; everything that it gives was compared by hash."""

    backup: Backup

    def collection(self, path: Path) -> None:
        """Make `path` the collection; DamageError if it is not what was backed up."""

    def manifest(self) -> bytes:
        """Return `metadata.json` as it was written."""

    def media(self) -> list[MediaFile]:
        """Return the list of media, sorted by name."""

    def blocks(self, sha256: str) -> Iterator[bytes]:
        """Yield a media file; DamageError at its end if it is not what was backed up."""


def write(
    word: str,
    contents: Contents,
    target: Path | None,
    *,
    overwrite: bool = False,
    media: bool = True,
) -> list[str]:
    """Write a backup in the format `word` to `target`, standard output when None; return warnings."""
    if target is not None and os.path.lexists(target) and not overwrite and not _is_empty_folder(target):
        raise UsageError(f"{target} exists", hint="Name another place with -o, or add --overwrite.")
    driver = import_module(WORDS[word])
    warnings: list[str] = driver.write(contents, target, media=media)
    return warnings


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def beside(target: Path) -> Path:
    """Return a name beside the target that nothing has, for what is not whole yet."""
    for number in range(10_000):
        path = target.with_name(f".ankibak-{os.getpid()}-{number}.part")
        if not os.path.lexists(path):
            return path
    raise UsageError(
        f"{target.parent} is full of unfinished exports", hint="Remove its .ankibak-*.part files."
    )


def refuse_leftovers(target: Path) -> None:
    """A database must not be put beside another one's `-wal`: SQLite would mix the two."""
    for side in SIDE:
        if os.path.lexists(target.with_name(target.name + side)):
            raise UsageError(
                f"{target.name}{side} of another database lies beside {target}",
                hint="Export to an empty folder, or move the old files away together.",
            )
