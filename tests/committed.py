"""Backups that are committed without a capture: tests of a repository need no more than their manifests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anki_backup.model import Backup, BackupManifest, BackupStats, CaptureFacts, DeckStats, Durations
from anki_backup.repository import Repository

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = "2026-01-01T12-00-00Z"
DECKS = [DeckStats(id=1, name="Default", cards=2)]


def add(repository: Repository, at: datetime = AT, source: str = "home", **fields: Any) -> Backup:
    """Commit a backup of that second, in the next place; `fields` are those of its manifest."""
    backup_id, sequence = repository.next_place(at)
    given = {
        "format": 1,
        "repository": repository.id,
        "id": backup_id,
        "source": source,
        "sequence": sequence,
        "origin": "run",
        "created_at": at,
        "content_hash": "v1:" + "0" * 64,
        "collection_sha256": "0" * 64,
        "collection_bytes": 4096,
        "collection_schema": 18,
        "media_list": None,
        "media_bytes": 0,
        "media_files": 0,
        "stored_bytes": 0,
        "stats": BackupStats(),
        "stats_sha256": "",
        "duration_ms": Durations(),
        "program_version": "0",
        "host": "h",
        "capture": CaptureFacts(path="/x"),
    }
    return repository.commit(BackupManifest(**given | fields), DECKS)


def written(root: Path) -> Repository:
    """Return a new repository that was written to once, and holds nothing."""
    made = Repository.create(root)
    with made.writing("test"):
        pass
    return made
