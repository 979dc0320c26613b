"""What a rollback would come to: whether the backup is fit for it, and what would change."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from anki_backup import collection, content, losses, medialist
from anki_backup.collection import Statistics
from anki_backup.errors import DamageError, SourceError
from anki_backup.losses import Losses
from anki_backup.model import Backup, MediaFile


class Present(NamedTuple):
    """What is there now: a closed collection, and by what each of its media is told.

    That is its SHA-256, or where nobody has read it, its size and time. None: media stay as they are.
    """

    path: Path
    media: Mapping[bytes, str | tuple[int, int]] | None


def read(target: Backup, path: Path, files: list[MediaFile], checked: Future[int]) -> Statistics:
    """See that a collection has in it what its manifest says, while SQLite checks it; DamageError if not."""
    try:
        statistics = collection.statistics(path)
        found = content.content_hash(path, content.media_section(medialist.named(files)))
    except SourceError as error:
        whole(target, checked)  # what that finds is told first
        raise _unfit(target, error.message) from error
    same = found == target.content_hash or not target.content_hash.startswith(f"{content.VERSION}:")
    if not same or statistics.stats != target.stats:
        whole(target, checked)
        raise _unfit(target, "it holds something else than its manifest says")
    return statistics


def whole(target: Backup, checked: Future[int]) -> None:
    """Wait for what SQLite found; DamageError if that is anything."""
    try:
        checked.result()
    except SourceError as error:
        raise _unfit(target, error.message) from error


def _unfit(target: Backup, why: str) -> DamageError:
    return DamageError(
        f"backup {target.id} is not fit to go back to: {why}",
        hint="Choose another one, and see what else is damaged: ankibak verify --read-data",
    )


def compare(present: Present, path: Path, then: Statistics, files: list[MediaFile], *, exact: bool) -> Losses:
    """Compare what is there with the collection at `path` and its media; SourceError if it can't be read."""
    now = collection.statistics(present.path)
    known: dict[bytes, object] = dict(present.media or {})
    by_hash = any(isinstance(told, str) for told in known.values())
    wanted: dict[bytes, object] = {
        file.name: file.sha256 if by_hash else (file.size, file.mtime_ns) for file in files
    }
    changes = losses.files(known, wanted if present.media is not None else {}, exact=exact)
    return losses.compare(present.path, path, now, then, changes)
