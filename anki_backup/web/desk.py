"""The desk: what pages and API look up in a repository, remembered while nothing changed.

The catalog's rows belong to the thread that reads them, so all of this is called in
one thread (`ask`); what was read stays true until the repository's files change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from anki_backup import cooldown, events, pictures
from anki_backup.config import Config
from anki_backup.entries import Entry
from anki_backup.errors import DamageError, NotFoundError
from anki_backup.medialist import Listed
from anki_backup.model import ID_PATTERN, Backup, BackupManifest, DeckStats, Run
from anki_backup.pictures import Pictures
from anki_backup.repository import Repository
from anki_backup.steady import steadily
from anki_backup.view import View

KEPT = 512
T = TypeVar("T")
State = tuple[tuple[int, int, int], ...]


class Desk:
    """One repository, looked at from one thread."""

    def __init__(self, root: Path, config: Config, zone: tzinfo | None) -> None:
        self.root, self.config, self.zone = root, config, zone
        self.repository = Repository.open(root)
        self._thread = ThreadPoolExecutor(1, "desk")
        self._state: State | None = None
        self._known: dict[Any, Any] = {}
        self.manifest = lru_cache(KEPT)(self._manifest)
        self.decks = lru_cache(32)(self._decks)
        self._drawn = lru_cache(KEPT)(self._pictures)
        # A list of 60,000 files takes some 20 MB.
        self.media = lru_cache(2)(self._media)

    async def ask(self, look: Callable[..., T], *args: Any) -> T:
        """Return what a call gives that runs in the desk's own thread; anew if it fell over what changed."""
        work = partial(steadily, partial(look, *args), self.state, (LookupError, ValueError, DamageError))
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def state(self) -> State:
        """Return what changes whenever the repository does."""
        places = ("backups", "state/events.jsonl", "state/metadata.db", "state/current-pointer.json")
        return tuple(_look(self.root / place) for place in places)

    def remembered(self, key: Any, make: Callable[[], T]) -> T:
        """Return what `make` gave since the repository last changed, or gives now; the newest are kept."""
        state = self.state()
        if state != self._state:
            self._known.clear()
            self._state = state
        if key in self._known:
            known: T = self._known[key]
            return known
        value = make()
        if self._state == state:  # else it was made of what is no longer so
            self._known[key] = value
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return value

    def view(self) -> View:
        return self.remembered("view", lambda: View(self.repository.history))

    # Backups

    def sources(self) -> list[str]:
        """Return every source that has a backup or is configured."""

        def make() -> list[str]:
            return sorted({entry.source for entry in self.view().entries} | set(self.config.sources))

        return self.remembered("sources", make)

    def know(self, source: str | None) -> None:
        """Raise NotFoundError for a source that has no backup and is not configured."""
        if source is not None and source not in self.sources():
            known = ", ".join(self.sources()) or "none"
            raise NotFoundError(f"there is no source {source}", hint=f"These are known: {known}.")

    def entries(self, source: str | None = None) -> list[Entry]:
        """Return every backup of a source, or of all, oldest first."""
        if source is None:
            return self.view().entries
        return self.remembered(
            ("entries", source), lambda: [entry for entry in self.view().entries if entry.source == source]
        )

    def backups(self, entries: list[Entry]) -> list[Backup]:
        """Return these backups."""
        key = ("backups", tuple(entry.id for entry in entries))
        return self.remembered(key, lambda: self.view().backups(entries))

    def page(
        self,
        source: str | None,
        since: datetime | None,
        before: str | None,
        limit: int,
        entries: list[Entry] | None = None,
    ) -> tuple[list[Backup], str | None]:
        """Return backups, newest first, from behind `before` on; and the id to ask for the next ones by.

        They are those of a source, unless others are given.
        """
        entries = self.entries(source) if entries is None else entries
        end = len(entries)
        if before is not None:
            end = next((at for at, entry in enumerate(entries) if entry.id == before), -1)
            if end < 0:
                raise NotFoundError(f"there is no backup {before}", hint="Begin without `before`.")
        start = max(0, end - limit)
        chosen = entries[start:end][::-1]
        if since is not None:
            chosen = [entry for entry in chosen if entry.created >= since.timestamp()]
            start = start if len(chosen) == end - start else 0
        more = chosen[-1].id if start > 0 and chosen else None
        return self.backups(chosen), more

    def backup(self, backup_id: str) -> Backup:
        """Return a backup by its whole id, or `latest`; NotFoundError for everything else."""
        everything = f"See them all at {self.config.server.base}/backups."
        if backup_id != "latest" and not ID_PATTERN.fullmatch(backup_id):
            raise NotFoundError("there is no such backup", hint=everything)
        if backup_id == "latest":
            found = self.view().entries[-1:]
        else:
            found = [self.places()[backup_id]] if backup_id in self.places() else []
        backups = self.backups(found) if found else []
        if not backups:
            if backup_id in self.repository.history.damaged:
                raise self.repository.history.missing(backup_id)
            raise NotFoundError(f"there is no backup {backup_id}", hint=everything)
        return backups[0]

    def places(self) -> dict[str, Entry]:
        """Return every backup by its id."""
        return self.remembered("places", lambda: {entry.id: entry for entry in self.view().entries})

    def after(self, backup: Backup) -> str | None:
        """Return the backup that came next of the same source."""
        entries = self.entries(backup.source)
        ids = [entry.id for entry in entries]
        at = ids.index(backup.id) + 1
        return ids[at] if at < len(ids) else None

    def standing_of(self, source: str) -> Backup:
        """Return the backup that a source was last known to be."""
        return self.remembered(("standing", source), lambda: self.repository.standing_of(source))

    def sampled(self, source: str, most: int) -> list[Entry]:
        """Return at most so many backups of a source, spread evenly over its time, the newest among them."""
        entries = self.entries(source)
        if len(entries) <= most:
            return entries
        first, last = entries[0].created, entries[-1].created
        step = max(1, (last - first) / (most - 1))
        slots = {round((entry.created - first) / step): entry for entry in entries}
        return sorted(slots.values(), key=lambda entry: entry.sequence)

    def _manifest(self, backup_id: str) -> BackupManifest:
        return self.repository.manifest(backup_id)

    def _decks(self, backup_id: str) -> list[DeckStats]:
        return self.repository.decks(backup_id)

    def pictures(self, backup_id: str) -> Pictures | None:
        """Return what pictures of a backup are drawn from; None where that is missing or damaged."""
        try:
            return self._drawn(backup_id)
        except DamageError:  # `verify` tells of it; a page without a picture is still a page
            return None

    def _pictures(self, backup_id: str) -> Pictures | None:
        name = self.manifest(backup_id).pictures
        return pictures.read(self.repository.store, name) if name else None

    def deck_cards(self, backup_id: str) -> dict[int, tuple[str, int]]:
        """Return the name and the cards of each deck of a backup; none where they can't be read."""

        def read() -> dict[int, tuple[str, int]]:
            try:
                return {deck.id: (deck.name, deck.cards) for deck in self.repository.decks(backup_id)}
            except DamageError:
                return {}

        return self.remembered(("deck cards", backup_id), read)

    def _media(self, backup_id: str) -> Listed:
        """Return the list of media of a backup."""
        return Listed(self.repository.media_list(backup_id))

    def picture(self, backup_id: str, name: str, limit: int = 1 << 20) -> bytes | None:
        """Return a small media file of a backup; None where there is none, or it is large."""
        file = self.media(backup_id).get(name)
        return b"".join(self.repository.store.blocks(file.sha256)) if file and file.size <= limit else None

    # Runs and events

    def runs(self, source: str | None = None, since: datetime | None = None, limit: int = 50) -> list[Run]:
        """Return runs, newest first."""
        return self.remembered(("runs", source, since, limit), lambda: self.view().runs(source, since, limit))

    def runs_page(
        self, source: str | None, since: datetime | None, before: int | None, limit: int
    ) -> tuple[list[Run], str | None]:
        """Return runs, newest first, from behind `before` on; and what to ask for the next ones by."""

        def make() -> list[tuple[int, Run]]:
            return self.view().numbered_runs(source, since, limit + 1, before)

        found = self.remembered(("runs page", source, since, before, limit), make)
        more = str(found[limit - 1][0]) if len(found) > limit else None
        return [run for _, run in found[:limit]], more

    def pointers(self) -> dict[str, str]:
        """Return which backup is the active state of each source."""
        try:
            return self.repository.pointers()
        except (DamageError, OSError):
            return {}

    def cooling(self, source: str, now: datetime) -> int:
        """Return how many seconds have to go by until the next rollback of a source; undo is exempt."""
        newest = [
            datetime.fromisoformat(event["at"])
            for event in events.newest(self.repository.history.log)
            if event["event"] == "rollback" and event.get("source") == source and not event.get("undo")
        ]
        if not newest:
            return 0
        left = cooldown.left_after(newest[-1], self.config.security.rollback_cooldown, now)
        return ceil(left / timedelta(seconds=1))


def _look(path: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


def now() -> datetime:
    """Return the time, for pages that say how long ago something was."""
    return datetime.now(UTC)
