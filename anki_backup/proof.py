"""Proof that a backup can be restored: given back, opened by Anki's library, compared with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from anki_backup import collection, content, library, medialist
from anki_backup.errors import BusyError, DamageError, SourceError, StorageError
from anki_backup.model import Backup
from anki_backup.repository import Repository
from anki_backup.safety import WAIT_S
from anki_backup.steady import layout, steadily
from anki_backup.temporary import TemporaryFolder
from anki_backup.verify import Finding


def order(backups: Iterable[Backup]) -> list[str]:
    """Return ids in the order in which proofs are worth most.

    The newest of each source first, for that is what will be wanted; then what was
    never proven, the oldest first; then what was proven longest ago.
    """
    ordered = sorted(backups, key=lambda backup: backup.sequence)
    newest = {backup.source: backup.id for backup in ordered}

    def rank(backup: Backup) -> tuple[bool, bool, float]:
        at = backup.verified_at.timestamp() if backup.verified_at else 0.0
        return backup.id != newest[backup.source], backup.verified_at is not None, at

    return [backup.id for backup in sorted(ordered, key=rank)]


class Prover:
    """Proves backups one by one; each media object is read once, however many backups have it."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.warnings: list[str] = []
        self.proven = 0
        self.unrecorded = False
        self._read: set[str] = set()

    def prove(self, ids: Iterable[str], advance: Callable[[int], object]) -> list[Finding]:
        """Restore each into a folder of its own, which is gone afterwards; return what failed.

        What is proven is counted, and recorded in the event log; `unrecorded` says that it could not be.
        One that is pruned before its turn has not failed.
        """
        findings = []
        for backup_id in ids:
            try:
                proven = steadily(partial(self._restore, backup_id), partial(layout, self.repository.root))
            except (DamageError, SourceError) as error:
                if backup_id in self.repository.history.ids():
                    message = f"it can't be restored: {error.message}"
                    findings.append(Finding(backup=backup_id, object=None, kind="restore", message=message))
            else:
                if proven:
                    self.proven += 1
                    self._record(backup_id)
            advance(1)
        return findings

    def _restore(self, backup_id: str) -> bool:
        with TemporaryFolder(prefix="ankibak-") as folder:
            return self._compared(backup_id, Path(folder) / "collection.anki2")

    def _compared(self, backup_id: str, path: Path) -> bool:
        manifest = self.repository.manifest(backup_id)
        self.repository.restore_collection(backup_id, path)
        if manifest.collection_schema is None or manifest.collection_schema > collection.NEWEST:
            self.warnings.append(
                f"{backup_id} has schema {manifest.collection_schema}, which Anki's library "
                f"{library.version()} can't open: its bytes are right, more can't be proven here"
            )
            return False
        collection.check(path, thorough=True)
        files = self.repository.media(backup_id)
        if manifest.content_hash.startswith(f"{content.VERSION}:"):
            section = content.media_section(medialist.named(files))
            if content.content_hash(path, section) != manifest.content_hash:
                raise DamageError("its rows are not those that its manifest speaks of")
        for file in files:
            if file.sha256 not in self._read:
                for _ in self.repository.store.blocks(file.sha256):
                    pass
                self._read.add(file.sha256)
        with library.opened(path) as anki:
            assert anki.db
            reviews = anki.db.scalar("select count() from revlog")
            counts = anki.card_count(), anki.note_count(), reviews
        stats = manifest.stats
        if counts != (stats.cards, stats.notes, stats.revlog):
            raise DamageError(
                "Anki's library finds {} cards, {} notes and {} reviews".format(*counts)
                + f" in it, not {stats.cards}, {stats.notes} and {stats.revlog}"
            )
        return True

    def _record(self, backup_id: str) -> None:
        try:
            with self.repository.writing("verify", WAIT_S):
                self.repository.record("proof", backup=backup_id)
                self.repository.index()
        except (StorageError, BusyError, DamageError) as error:
            self.unrecorded = True
            told = f"the proof could not be recorded: {error.message}"
            if told not in self.warnings:
                self.warnings.append(told)
