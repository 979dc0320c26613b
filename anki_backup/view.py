"""One look at backups and runs: from the catalog as far as it goes, from the files where it doesn't.

A page or a command asks for a few of many thousand, so nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from anki_backup import events, locks
from anki_backup.entries import CatalogError, Entry, State, with_state
from anki_backup.errors import DamageError
from anki_backup.history import History, backup_of, entry_of, missed_nothing, said_of, states_of
from anki_backup.model import Backup, Run
from anki_backup.replay import Replay

if TYPE_CHECKING:
    from anki_backup.catalog import Catalog

T = TypeVar("T")


class View:
    """One look at backups and runs; writers may go on beside it."""

    def __init__(self, history: History) -> None:
        self._history = history
        try:
            with history.catalog() as catalog:
                self._load(catalog)
        except CatalogError:
            self._load(None)

    def _load(self, catalog: Catalog | None) -> None:
        """Take what happened since the catalog was written; all that ever did without it."""
        # Asked before and after the log is read: a run that ends in between was not interrupted.
        self._alive = locks.holder(self._history.lock) is not None
        self._entries: list[Entry] | None = None
        self._from_files: dict[str, Backup] = {}
        self._catalog = catalog is not None
        self.findings = catalog.mark("findings") if catalog else 0
        self.inherited = catalog.mark("inherited") if catalog else 0
        try:
            log = self._history.log
            at = (catalog.mark("offset"), catalog.mark("n")) if catalog else None
            lines = self._history.news(*at) if at else list(events.read(log))
        except DamageError as error:  # then what the catalog has is all that is known
            self._history.damaged[log.name], lines = error.message, []
        self._apply(catalog, lines)

    def _apply(self, catalog: Catalog | None, lines: list[events.Line]) -> None:
        self._lines = lines
        self._replay = Replay(states_of(catalog, lines) if catalog else {})
        for line in lines:
            self._replay.apply(line)
        if self._replay.findings is not None:
            self.findings = self._replay.findings
        if self._replay.inherited is not None:
            self.inherited = self._replay.inherited

    @property
    def entries(self) -> list[Entry]:
        """Every backup, oldest first."""
        if self._entries is None:
            known = self._asked(self._joined)
            self._entries = self._joined(None) if known is None else known
        return self._entries

    def _asked(self, question: Callable[[Catalog], T]) -> T | None:
        """Return what the catalog answers; None without one, or if it breaks: from then on files tell all."""
        if self._catalog:
            try:
                with self._history.catalog() as catalog:
                    return question(catalog)
            except CatalogError:
                self._load(None)
        return None

    def _joined(self, catalog: Catalog | None) -> list[Entry]:
        """Return what the catalog knows and is there, and what is there without its knowledge."""
        ids = set(self._history.ids())
        for name in self._history.damaged.keys() - {self._history.log.name}:
            del self._history.damaged[name]  # what was mended or removed since is none any more
        known = catalog.entries() if catalog else []
        unknown = ids.difference(map(attrgetter("id"), known))
        if len(known) + len(unknown) != len(ids):
            known = [entry for entry in known if entry.id in ids]
        self._from_files = {
            manifest.id: backup_of(manifest) for manifest in self._history.manifests(sorted(unknown))
        }
        if catalog and not missed_nothing(self._from_files.values(), self._lines):
            with suppress(DamageError):  # that the log can't be read was told before
                self._replay.states |= said_of(self._from_files, self._history.log)
        if not self._from_files:
            return known
        return sorted(known + [entry_of(backup) for backup in self._from_files.values()])

    def backups(self, wanted: list[Entry]) -> list[Backup]:
        """Return these backups in their order, each with the one before it of its source."""
        ids = [entry.id for entry in wanted]
        # First, because a catalog that breaks here has the files read.
        known = self._asked(lambda catalog: catalog.backups(ids)) or {}
        found = known | self._from_files
        unread = [name for name in ids if name not in found]
        found |= {manifest.id: backup_of(manifest) for manifest in self._history.manifests(unread)}
        previous = self._previous(ids)
        backups = []
        for name in ids:
            if name in found:
                backup = structs.replace(found[name], previous=previous.get(name))
                state = self._replay.states.get(name)
                backups.append(with_state(backup, state) if state else backup)
        return backups

    def marked(self) -> dict[str, State]:
        """Return what events say of backups that have a pin, a label, an alarm or a proof."""
        return (self._asked(lambda catalog: catalog.states()) or {}) | self._replay.states

    def _previous(self, ids: Collection[str]) -> dict[str, str]:
        """Return the backup before each of these, of its source: looks back only as far as that takes."""
        left, previous = set(ids), dict[str, str]()
        after: dict[str, str] = {}
        for entry in reversed(self.entries):
            if not left and not after:
                break
            if later := after.pop(entry.source, None):
                previous[later] = entry.id
            if entry.id in left:
                left.discard(entry.id)
                after[entry.source] = entry.id
        return previous

    def runs(
        self, source: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return runs, newest first; one that was seen to begin only is `interrupted` unless it is alive."""
        return [run for _, run in self.numbered_runs(source, since, limit)]

    def numbered_runs(
        self,
        source: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        before: int | None = None,
        odd: Collection[str] | None = None,
    ) -> list[tuple[int, Run]]:
        """Return runs with their numbers, which rise from each to the next; only those `before` one.

        With `odd`, at least those that were not plain, and those of these backups.
        """

        def known(catalog: Catalog) -> dict[int, tuple[str, str, Run | None]]:
            # The newest of all, too: one that began before it is not alive.
            ended = catalog.runs(source, since, limit, before, odd) + catalog.runs(limit=1)
            still: dict[int, tuple[str, str, Run | None]] = {
                number: (name, at, None) for number, (name, at) in catalog.open_runs().items()
            }
            return {number: (run.source, run.started_at.isoformat(), run) for number, run in ended} | still

        found = self._asked(known) or {}
        found |= self._replay.runs
        alive = self._alive or locks.holder(self._history.lock) is not None
        newest = max(found, default=0)
        runs = []
        for number in sorted(found, reverse=True):
            name, started_at, run = found[number]
            if run is None and (number != newest or not alive):
                run = Run(source=name, started_at=datetime.fromisoformat(started_at), outcome="interrupted")
            if before is not None and number >= before:
                continue
            if run and (source is None or name == source) and (since is None or run.started_at >= since):
                runs.append((number, run))
        return runs[:limit]
