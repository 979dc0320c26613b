"""What the repository knows of its backups and runs: manifests, events and catalog joined.

The folders under `backups/` are the truth about which backups exist, the event
log about runs, pins, labels, alarms and proofs. The catalog saves reading them
all; where it lags behind, the rest is read from the files, and where it can't be
used, everything is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anki_backup import durable, events
from anki_backup.entries import CatalogError, Entry, State, state_of
from anki_backup.errors import DamageError, GoneError, StorageError
from anki_backup.model import FORMAT, ID_PATTERN, Backup, BackupManifest, unseal
from anki_backup.replay import Replay

if TYPE_CHECKING:
    from anki_backup.catalog import Catalog


class History:
    """The backups and runs of one repository, for readers; the lock is the writer's affair."""

    def __init__(self, root: Path, repository: str) -> None:
        self.root = root
        self.repository = repository
        self.log = root / "state" / "events.jsonl"
        self.lock = root / "state" / "lock"
        self.catalog_path = root / "state" / "metadata.db"
        self.damaged: dict[str, str] = {}

    # Manifests

    def folder(self, backup_id: str) -> Path:
        return self.root / "backups" / backup_id

    def ids(self) -> list[str]:
        """Return the id of every backup that has been committed, in no order."""
        try:
            names = os.listdir(self.root / "backups")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DamageError(f"{self.root / 'backups'} can't be read: {error.strerror}") from error
        return list(filter(ID_PATTERN.fullmatch, names))

    def has(self, backup_id: str) -> bool:
        """Say whether a backup was committed and is still there."""
        return (self.folder(backup_id) / "metadata.json").exists()

    def own_bytes(self, backup_id: str) -> int:
        """Return what the files of a backup's own folder take; nothing once it is gone."""
        with suppress(FileNotFoundError), os.scandir(self.folder(backup_id)) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
        return 0

    def missing(self, backup_id: str) -> DamageError:
        """Return why a backup that was listed can't be had: it is damaged, or gone by now."""
        if why := self.damaged.get(backup_id):
            return DamageError(why, hint="See what else is damaged: ankibak verify")
        return GoneError(f"backup {backup_id} is gone: it was removed meanwhile")

    def document(self, backup_id: str, name: str) -> bytes:
        """Return a manifest file of a backup."""
        path = self.folder(backup_id) / name
        try:
            return path.read_bytes()
        except OSError as error:
            if not os.path.lexists(self.folder(backup_id)):
                self.damaged.pop(backup_id, None)
                raise self.missing(backup_id) from error
            raise DamageError(f"{name} of backup {backup_id} can't be read: {error.strerror}") from error

    def manifest(self, backup_id: str) -> BackupManifest:
        """Return a manifest, bound to its folder's name and to this repository."""
        what = f"metadata.json of backup {backup_id}"
        manifest = unseal(self.document(backup_id, "metadata.json"), BackupManifest, what)
        if manifest.format != FORMAT:
            raise DamageError(f"{what} has format {manifest.format}: a newer ankibak may know it")
        if manifest.id != backup_id or manifest.repository != self.repository:
            raise DamageError(f"{what} belongs to another backup")
        return manifest

    def manifests(self, ids: Iterable[str]) -> Iterator[BackupManifest]:
        """Yield the readable ones; the others, but for those that are gone, are remembered in `damaged`."""
        for backup_id in ids:
            self.damaged.pop(backup_id, None)
            try:
                yield self.manifest(backup_id)
            except GoneError:
                pass
            except DamageError as error:
                self.damaged[backup_id] = error.message

    # Reading

    def news(self, offset: int, number: int) -> list[events.Line]:
        """Return what the log holds after event `number`, which ended at byte `offset`.

        Folding shortens the log and keeps its numbers. A log whose numbers are
        behind was lost and begun again: all of it is news.
        """
        lines = list(events.read(self.log, offset))
        if offset and (events.size(self.log) == offset or (lines and _follows(lines[0], number))):
            return lines
        newest = events.last(self.log)
        begun_again = newest is not None and newest["n"] < number
        return [
            line
            for line in events.read(self.log)
            if begun_again or line.number is None or line.number > number
        ]

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """Give the catalog to be read; CatalogError if it can't be used."""
        with closing(_opened(self.catalog_path, write=False)) as catalog:
            yield catalog

    # Writing; the caller holds the lock

    def open_catalog(self) -> Catalog:
        """Return the catalog, caught up with the files; a damaged one is rebuilt."""
        try:
            catalog = _opened(self.catalog_path, write=True)
            try:
                with catalog.transaction():
                    self._catch_up(catalog)
                return catalog
            except BaseException:
                catalog.close()
                raise
        except CatalogError:
            self.rebuild()
            return _opened(self.catalog_path, write=True)

    def _catch_up(self, catalog: Catalog) -> None:
        known, ids = {entry.id for entry in catalog.entries()}, set(self.ids())
        for gone in sorted(known - ids):
            catalog.drop_backup(gone)
        added = [backup_of(manifest) for manifest in self.manifests(sorted(ids - known))]
        for backup in added:
            catalog.put_backup(backup)
        lines = self.news(catalog.mark("offset"), catalog.mark("n"))
        if not missed_nothing(added, lines):
            for backup_id, state in said_of({backup.id for backup in added}, self.log).items():
                catalog.put_state(backup_id, state)
        if lines:
            self._store(catalog, lines, states_of(catalog, lines))

    def _store(self, catalog: Catalog, lines: Iterable[events.Line], before: dict[str, State]) -> None:
        replay = Replay(before)
        for line in lines:
            replay.apply(line)
        for backup_id, state in replay.states.items():
            catalog.put_state(backup_id, state)
        for number, (source, started_at, run) in replay.runs.items():
            catalog.put_run(number, source, started_at, run)
        if replay.findings is not None:
            catalog.put_mark("findings", replay.findings)
        if replay.inherited is not None:
            catalog.put_mark("inherited", replay.inherited)
        if replay.number:
            catalog.put_mark("offset", replay.offset)
            catalog.put_mark("n", replay.number)

    def rebuild(self) -> int:
        """Make the catalog anew from manifests and events; return how many backups it has."""
        fresh = self.catalog_path.with_name(self.catalog_path.name + durable.PART)
        with durable.storing(fresh):
            fresh.unlink(missing_ok=True)
        try:
            with closing(_opened(fresh, write=True)) as catalog, catalog.transaction():
                for manifest in self.manifests(sorted(self.ids())):
                    catalog.put_backup(backup_of(manifest))
                self._store(catalog, events.read(self.log), {})
                count = len(catalog.entries())
        except CatalogError as error:
            with suppress(OSError):
                for name in (fresh.name, fresh.name + "-journal"):
                    fresh.with_name(name).unlink(missing_ok=True)
            raise StorageError(
                f"can't write the catalog {self.catalog_path}: {error}",
                hint="Nothing is lost: it is made again by the next run, or by ankibak catalog rebuild.",
            ) from error
        with durable.storing(self.catalog_path):
            for name in (fresh.name + "-journal", self.catalog_path.name + "-journal"):
                fresh.with_name(name).unlink(missing_ok=True)
        durable.publish(fresh, self.catalog_path)
        with durable.storing(self.catalog_path):
            durable.sync_directory(self.catalog_path.parent)
        return count


def _opened(path: Path, *, write: bool) -> Catalog:
    from anki_backup.catalog import Catalog  # and peewee: 17 ms, not for a run that finds nothing changed

    return Catalog(path, write=write)


def _follows(line: events.Line, number: int) -> bool:
    return line.number == number + 1


def missed_nothing(added: Iterable[Backup], lines: list[events.Line]) -> bool:
    """Say whether these events tell of the making of each backup: then no earlier one speaks of it."""
    made = {line.event.get("backup") for line in lines if line.event and line.event["event"] == "run"}
    return all(backup.id in made for backup in added)


def said_of(ids: Collection[str], log: Path) -> dict[str, State]:
    """Return what the whole log says of these backups, where it says anything."""
    replay = Replay()
    for line in events.read(log):
        replay.apply(line)
    return {name: state for name, state in replay.states.items() if name in ids}


def states_of(catalog: Catalog, lines: list[events.Line]) -> dict[str, State]:
    """Return what is known of the backups that these events speak of."""
    named = {str(line.event["backup"]) for line in lines if line.event and line.event.get("backup")}
    return {backup.id: state_of(backup) for backup in catalog.backups(named).values()}


def entry_of(backup: Backup) -> Entry:
    """Return what sorts a backup."""
    return Entry(backup.sequence, int(backup.created_at.timestamp()), backup.id, backup.source)


def backup_of(manifest: BackupManifest) -> Backup:
    """Return a manifest as people and programs see it."""
    fields = {
        name: getattr(manifest, name)
        for name in Backup.__struct_fields__
        if name in BackupManifest.__struct_fields__
    }
    return Backup(previous=None, size_bytes=manifest.collection_bytes + manifest.media_bytes, **fields)
