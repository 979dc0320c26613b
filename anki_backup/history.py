"""What the repository knows of its backups and runs: manifests, events and catalog joined.

The folders under `backups/` are the truth about which backups exist, the event
log about runs, pins, labels, alarms and proofs. The catalog saves reading them
all; where it lags behind, the rest is read from the files, and where it can't be
used, everything is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from msgspec import structs

from anki_backup import durable, events, locks
from anki_backup.catalog import Catalog, CatalogError, Entry, State, state_of, with_state
from anki_backup.errors import DamageError, StorageError
from anki_backup.model import ID_PATTERN, Backup, BackupManifest, Run, unseal
from anki_backup.replay import Replay


class History:
    """The backups and runs of one repository, for readers; the lock is the writer's affair."""

    def __init__(self, root: Path, repository: str) -> None:
        self.root = root
        self.repository = repository
        self.log = root / "state" / "events.jsonl"
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
        return [name for name in names if ID_PATTERN.fullmatch(name)]

    def document(self, backup_id: str, name: str) -> bytes:
        """Return a manifest file of a backup."""
        path = self.folder(backup_id) / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DamageError(f"{name} of backup {backup_id} can't be read: {error.strerror}") from error

    def manifest(self, backup_id: str) -> BackupManifest:
        """Return a manifest, bound to its folder's name and to this repository."""
        what = f"metadata.json of backup {backup_id}"
        manifest = unseal(self.document(backup_id, "metadata.json"), BackupManifest, what)
        if manifest.id != backup_id or manifest.repository != self.repository:
            raise DamageError(f"{what} belongs to another backup")
        return manifest

    def manifests(self, ids: Iterable[str]) -> Iterator[BackupManifest]:
        """Yield the readable ones; the others are remembered in `damaged`."""
        for backup_id in ids:
            try:
                yield self.manifest(backup_id)
            except DamageError as error:
                self.damaged[backup_id] = error.message

    # Reading

    def view(self) -> View:
        """Look at everything once, from the catalog as far as it goes."""
        return View(self)

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

    # Writing; the caller holds the lock

    def open_catalog(self) -> Catalog:
        """Return the catalog, caught up with the files; a damaged one is rebuilt."""
        try:
            catalog = Catalog(self.catalog_path, write=True)
            try:
                with catalog.transaction():
                    self._catch_up(catalog)
                return catalog
            except BaseException:
                catalog.close()
                raise
        except CatalogError:
            self.rebuild()
            return Catalog(self.catalog_path, write=True)

    def _catch_up(self, catalog: Catalog) -> None:
        known, ids = {entry.id for entry in catalog.entries()}, set(self.ids())
        for gone in sorted(known - ids):
            catalog.drop_backup(gone)
        added = [backup_of(manifest) for manifest in self.manifests(sorted(ids - known))]
        for backup in added:
            catalog.put_backup(backup)
        lines = self.news(catalog.mark("offset"), catalog.mark("n"))
        if not _missed_nothing(added, lines):
            lines = list(events.read(self.log))
        if lines:
            self._store(catalog, lines, _states(catalog, lines))

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
        if replay.number:
            catalog.put_mark("offset", replay.offset)
            catalog.put_mark("n", replay.number)

    def rebuild(self) -> int:
        """Make the catalog anew from manifests and events; return how many backups it has."""
        fresh = self.catalog_path.with_name(self.catalog_path.name + durable.PART)
        with durable.storing(fresh):
            fresh.unlink(missing_ok=True)
        try:
            with closing(Catalog(fresh, write=True)) as catalog, catalog.transaction():
                for manifest in self.manifests(sorted(self.ids())):
                    catalog.put_backup(backup_of(manifest))
                self._store(catalog, events.read(self.log), {})
                count = len(catalog.entries())
        except CatalogError as error:
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


class View:
    """One look at backups and runs; it stays as it is while writers go on."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ids = set(history.ids())
        try:
            with closing(Catalog(history.catalog_path, write=False)) as catalog:
                self._load(catalog)
        except CatalogError:
            self._load(None)

    def _load(self, catalog: Catalog | None) -> None:
        """Take all that the catalog knows, and the rest from the files; all from them without it."""
        self._from_files: dict[str, Backup] = {}
        self._catalog = catalog is not None
        known = [entry for entry in catalog.entries() if entry.id in self._ids] if catalog else []
        for manifest in self._history.manifests(sorted(self._ids.difference(entry.id for entry in known))):
            self._from_files[manifest.id] = backup_of(manifest)
        self.entries = sorted(known + [entry_of(backup) for backup in self._from_files.values()])
        lines = self._history.news(catalog.mark("offset"), catalog.mark("n")) if catalog else []
        if not catalog or not _missed_nothing(self._from_files.values(), lines):
            lines = list(events.read(self._history.log))
        self.findings = catalog.mark("findings") if catalog else 0
        self._replay = Replay(_states(catalog, lines) if catalog else {})
        for line in lines:
            self._replay.apply(line)
        if self._replay.findings is not None:
            self.findings = self._replay.findings

    def backups(self, wanted: list[Entry]) -> list[Backup]:
        """Return these backups in their order, each with the one before it of its source."""
        ids = [entry.id for entry in wanted]
        found = self._from_catalog(ids) | self._from_files
        unread = [name for name in ids if name not in found]
        found |= {manifest.id: backup_of(manifest) for manifest in self._history.manifests(unread)}
        previous = self._previous()
        backups = []
        for name in ids:
            if name in found:
                backup = structs.replace(found[name], previous=previous.get(name))
                state = self._replay.states.get(name)
                backups.append(with_state(backup, state) if state else backup)
        return backups

    def _from_catalog(self, ids: list[str]) -> dict[str, Backup]:
        if self._catalog:
            try:
                with closing(Catalog(self._history.catalog_path, write=False)) as catalog:
                    return catalog.backups(ids)
            except CatalogError:
                self._load(None)
        return {}

    def _previous(self) -> dict[str, str]:
        newest: dict[str, str] = {}
        previous = {}
        for entry in self.entries:
            if entry.source in newest:
                previous[entry.id] = newest[entry.source]
            newest[entry.source] = entry.id
        return previous

    def _runs_of_catalog(
        self, source: str | None, since: datetime | None, limit: int | None
    ) -> dict[int, tuple[str, str, Run | None]]:
        if self._catalog:
            try:
                with closing(Catalog(self._history.catalog_path, write=False)) as catalog:
                    ended = catalog.runs(source, since, limit)
                    found: dict[int, tuple[str, str, Run | None]] = {
                        number: (run.source, run.started_at.isoformat(), run) for number, run in ended if run
                    }
                    return found | {n: (name, at, None) for n, (name, at) in catalog.open_runs().items()}
            except CatalogError:
                self._load(None)
        return {}

    def runs(
        self, source: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return runs, newest first; one that was seen to begin only is `interrupted` unless it is alive."""
        found = self._runs_of_catalog(source, since, limit)
        found |= self._replay.runs
        alive = locks.holder(self._history.root / "state" / "lock") is not None
        newest = max(found, default=0)
        runs = []
        for number in sorted(found, reverse=True):
            name, started_at, run = found[number]
            if run is None and (number != newest or not alive):
                run = Run(source=name, started_at=datetime.fromisoformat(started_at), outcome="interrupted")
            if run and (source is None or name == source) and (since is None or run.started_at >= since):
                runs.append(run)
        return runs[:limit]


def _follows(line: events.Line, number: int) -> bool:
    return line.number == number + 1


def _missed_nothing(added: Iterable[Backup], lines: list[events.Line]) -> bool:
    """Say whether these events tell of the making of each backup: then no earlier one speaks of it."""
    made = {line.event.get("backup") for line in lines if line.event and line.event["event"] == "run"}
    return all(backup.id in made for backup in added)


def _states(catalog: Catalog, lines: list[events.Line]) -> dict[str, State]:
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
