"""What a format may ask of one backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anki_backup.model import Backup, MediaFile
from anki_backup.repository import Repository


class Contents:
    """One backup's contents, for the formats: each piece is compared by hash before it is given."""

    def __init__(self, repository: Repository, backup: Backup) -> None:
        self.backup = backup
        self._repository = repository

    def collection(self, path: Path) -> None:
        self._repository.restore_collection(self.backup.id, path)

    def manifest(self) -> bytes:
        return self._repository.history.document(self.backup.id, "metadata.json")

    def media(self) -> list[MediaFile]:
        return self._repository.media(self.backup.id)

    def blocks(self, sha256: str) -> Iterator[bytes]:
        return self._repository.store.blocks(sha256)
