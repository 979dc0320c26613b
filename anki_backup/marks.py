"""Which backup a source was last known to be equal to: the mark in its cache, or one made anew."""

from __future__ import annotations

from anki_backup import content, medialist, standing
from anki_backup.baseline import Baseline, Mark
from anki_backup.errors import DamageError
from anki_backup.model import Backup
from anki_backup.repository import Repository


def known(repository: Repository, source: str, baseline: Baseline) -> Mark | None:
    """Return the mark, made anew from what the source was left with if it is lost or speaks of another.

    That is the newest sound backup, or, after a rollback, the one that was gone back to.
    """
    mark = baseline.mark()
    if mark and repository.is_newest_of(source, mark.backup) and _is_readable(repository, mark.backup):
        return mark
    for backup in _candidates(repository, source):
        try:
            return of(repository, backup.id)
        except DamageError:
            continue
    return None


def _is_readable(repository: Repository, backup_id: str) -> bool:
    try:
        return bool(repository.manifest(backup_id))
    except DamageError:
        return False


def of(repository: Repository, backup_id: str) -> Mark:
    """Return the mark of a source that is equal to a backup, without anything to tell it by."""
    manifest = repository.manifest(backup_id)
    section = content.media_section(medialist.named(repository.media(backup_id)))
    return Mark(
        backup=manifest.id,
        collection_sha256=manifest.collection_sha256,
        content_hash=manifest.content_hash,
        media_section=section,
    )


def _candidates(repository: Repository, source: str) -> list[Backup]:
    """Return the backups of a source, newest first; before them the one that it was rolled back to since."""
    backups = repository.backups(source)
    if backups:
        left = standing.left(repository.history, {source: backups[0].id})[source]
        backups.sort(key=lambda backup: backup.id != left)
    return backups
