"""Readers take no lock: what looks like damage while a writer was at work is looked at again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from anki_backup.errors import DamageError

T = TypeVar("T")
TRIES = 5


def steadily(
    work: Callable[[], T],
    shape: Callable[[], object],
    errors: tuple[type[Exception], ...] = (DamageError,),
    doubtful: Callable[[T], bool] = lambda found: False,
) -> T:
    """Return what `work` gives; an error, or what is doubtful, counts when `shape` is what it was before."""
    for _ in range(TRIES):
        before = shape()
        try:
            found = work()
        except errors:
            if shape() == before:
                raise
        else:
            if not doubtful(found) or shape() == before:
                return found
    return work()


def layout(root: Path) -> list[tuple[str, int]]:
    """Return what is another as soon as a backup or an object has come, gone or been replaced.

    The folders that hold them with their mtime_ns: whoever changes their entries changes that.
    """
    folders = [root / "backups", root / "objects"]
    try:
        # The others are files on their way, which come and go.
        folders += (Path(entry) for entry in os.scandir(root / "objects") if len(entry.name) == 2)
        return sorted((folder.name, folder.stat().st_mtime_ns) for folder in folders)
    except OSError:
        return []
