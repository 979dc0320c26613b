"""The past of one source while it is added to: which states are known, and how one more is kept.

A state from elsewhere gets the place that its date gives it. It is a delta over
the one that was added before it, else over an adopted one or the nearest in time,
for those are most like it.
"""

from __future__ import annotations

import bisect
import os
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from anki_backup import (
    __version__,
    chains,
    collection,
    content,
    deposit,
    enclosed,
    medialist,
    pictures,
)
from anki_backup.baseline import Baseline, Change
from anki_backup.candidates import Brought
from anki_backup.enclosed import Enclosed
from anki_backup.errors import DamageError, SourceError
from anki_backup.model import FORMAT, Backup, BackupManifest, Durations
from anki_backup.repository import Repository
from anki_backup.sources import open_file

NS = 10**9
DAMAGED = (
    "a backup beside it is damaged, so a whole copy is kept; see what else is: ankibak verify --read-data"
)


class State(NamedTuple):
    """One state of the collection; in a dry run it may be that of a file, which has no object."""

    at: float
    sequence: int
    name: str
    content_hash: str
    collection_sha256: str | None
    has_media: bool
    adopted: bool


class Past:
    """The states of a source in the order of their dates. To add one, the caller holds the lock."""

    def __init__(self, repository: Repository | None, source: str, work: Path, threads: int = 0) -> None:
        self._repository = repository
        self._source = source
        self._threads = threads or os.cpu_count() or 1
        self._baseline = Baseline(work)
        self._cached: str | None = None
        self._last: State | None = None
        self._sections: dict[str, str] = {}
        self.work = work
        self.warnings: list[str] = []
        self._states = sorted(_state(backup) for backup in (repository.backups(source) if repository else []))
        self._known = {state.content_hash: state for state in self._states}

    def same(self, at: float, sections: dict[str, str], found: Enclosed) -> str | None:
        """Return the name of the state that has this content.

        Automatic backups have no media: one is known also if its collection is that
        of the nearest state with media on either side.
        """
        state = self._known.get(content.combined(sections))
        if state is None and found.files is None:
            for beside in self._beside(at):
                section = self._section(beside.name)
                if section and content.combined(sections | {"media": section}) == beside.content_hash:
                    state = beside
        if state:
            self._last = state
        return state.name if state else None

    def _beside(self, at: float) -> list[State]:
        """Return the nearest states with media, before and after."""
        place = bisect.bisect(self._states, at, key=lambda state: state.at)
        before = next((state for state in reversed(self._states[:place]) if state.has_media), None)
        after = next((state for state in self._states[place:] if state.has_media), None)
        return [state for state in (before, after) if state]

    def _section(self, name: str) -> str | None:
        if name not in self._sections and self._repository:
            try:
                listed = self._repository.media(name)
            except DamageError:
                return None
            self._sections[name] = content.media_section(medialist.named(listed))
        return self._sections.get(name)

    def note(self, at: float, name: str, content_hash: str, found: Enclosed) -> None:
        """Remember what would have been added."""
        self._sections[name] = found.section
        self._insert(State(at, 0, name, content_hash, None, bool(found.files), True))

    def _insert(self, state: State) -> None:
        bisect.insort(self._states, state)
        self._known[state.content_hash] = self._last = state

    def add(
        self,
        path: Path,
        brought: Brought,
        at: datetime,
        schema: int,
        sections: dict[str, str],
        told: Enclosed,
    ) -> Backup:
        """Make a backup of a collection that was checked and hashed, and of the media that were told.

        SourceError if the media are no longer what they were.
        """
        clock, repository = time.monotonic(), self._repository
        assert repository is not None
        store, second = repository.store, at.timestamp()
        store.settle()
        found = told if told.files is None else enclosed.gather(path, store)
        if found.section != told.section:
            raise SourceError(f"{path} changed while it was read", hint="Import it again.")
        statistics = collection.statistics(brought.path)
        drawn = pictures.count(brought.path, statistics.decks, at)
        change = self._put(brought.path, second)
        files = found.files or []
        media_list = None if found.files is None else self._put_list(found, second)
        backup_id, sequence = repository.next_place(at, adopted=True)
        manifest = BackupManifest(
            format=FORMAT,
            repository=repository.id,
            id=backup_id,
            source=self._source,
            sequence=sequence,
            origin="import",
            created_at=at,
            content_hash=content.combined(sections),
            collection_sha256=change.sha256,
            collection_bytes=change.size,
            collection_schema=schema,
            media_list=media_list,
            media_bytes=sum(file.size for file in files),
            media_files=len(files),
            stored_bytes=0,
            stats=statistics.stats,
            stats_sha256="",
            pictures=pictures.keep(store, drawn),
            duration_ms=Durations(total=round((time.monotonic() - clock) * 1000)),
            program_version=__version__,
            host=os.uname().nodename,
            capture=brought.facts,
            skipped=list(found.skipped),
        )
        if all(state.sequence <= sequence for state in self._states):
            # It may become the newest of its source: then that is what the next run compares with.
            Baseline(repository.root / "cache" / self._source).forget()
        backup = repository.commit(manifest, statistics.decks)
        repository.record("adopted", source=self._source, backup=backup.id)
        self._sections[backup.id] = found.section
        self._insert(_state(backup))
        return backup

    def _put(self, path: Path, at: float) -> Change:
        """Keep a collection: a delta where there is something like it, else whole."""
        assert self._repository is not None
        store, base = self._repository.store, self._base(at)
        fd = open_file(path)
        try:
            change = self._baseline.take(fd)
        finally:
            os.close(fd)
        self._cached = change.sha256
        if change.old_sha256 != base:
            base = None
        try:
            deposit.put_collection(store, self._baseline, change, base, self._threads)
        finally:
            self._baseline.clear()
        return change

    def _base(self, at: float) -> str | None:
        """Have the cache hold what the next one is compared with; return the object that it is."""
        assert self._repository is not None
        adopted = [state for state in self._states if state.adopted]
        nearest = min(adopted or self._states, key=lambda state: abs(state.at - at), default=None)
        like = self._last or nearest
        if like is None:
            return None
        store, base = self._repository.store, like.collection_sha256
        assert base is not None, "only a dry run has states without objects"
        if chains.is_sound(store, base) and (base == self._cached or self._baseline.fill(store, base)):
            self._cached = base
            return base
        self.warnings.append(DAMAGED)
        return None

    def _put_list(self, found: Enclosed, at: float) -> str:
        """Keep a list of media as a delta over the nearest one; a file that is in it keeps its time."""
        assert self._repository is not None
        files, before, newest = found.files or [], [], None
        if beside := self._beside(at):
            try:
                before = self._repository.media(beside[0].name)
                newest = self._repository.manifest(beside[0].name).media_list
            except DamageError:
                self.warnings.append(DAMAGED)
        if not found.timed:
            times = {(file.name, file.sha256): file.mtime_ns for file in before}
            files = [
                structs.replace(file, mtime_ns=times.get((file.name, file.sha256), int(at) * NS))
                for file in files
            ]
        return deposit.put_list(self._repository.store, files, newest)


def _state(backup: Backup) -> State:
    return State(
        at=backup.created_at.timestamp(),
        sequence=backup.sequence,
        name=backup.id,
        content_hash=backup.content_hash,
        collection_sha256=backup.collection_sha256,
        has_media=backup.media_files > 0,
        adopted=backup.origin == "import",
    )
