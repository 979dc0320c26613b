"""Comparisons for pages and API: made once, in a thread of their own, and the newest ones kept."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

from msgspec.structs import astuple

from anki_backup import heap, sides
from anki_backup.differences import Comparison
from anki_backup.model import Backup
from anki_backup.repository import Repository

# More than this is told in numbers only: nobody reads it, and it would take much memory.
MOST = 20_000
KEPT = 4
WAITING = 3
# What is small is known in less time than anybody notices.
LOOKS, PAUSE_S = 3, 0.01
KINDS = ("notes", "cards", "reviews", "decks", "notetypes", "options", "tags", "settings", "media")


class Comparing:
    """Compares backups, one pair at a time; the newest results are kept, for they never change."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.thread = ThreadPoolExecutor(1, "compare")
        self._kept = lru_cache(KEPT)(self._compare)
        self._known: dict[str, Backup] = {}
        self._going: dict[tuple[str, str], Future[Comparison]] = {}

    async def between(self, old: Backup, new: Backup) -> Comparison:
        """Return what changed, with items unless there are too many."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._between, old, new)

    async def soon(self, old: Backup, new: Backup) -> Comparison | None:
        """Return what changed if that is known; None, and look into it for who asks again, if not.

        DamageError or SourceError where it can't be said.
        """
        pair = old.id, new.id
        if pair not in self._going:
            done = [each for each, future in self._going.items() if future.done()]
            if len(self._going) - len(done) >= WAITING:
                return None
            for each in done[: 1 - KEPT]:
                del self._going[each]
            self._going[pair] = self.thread.submit(self._between, old, new)
        future = self._going[pair]
        for _ in range(LOOKS):
            if not future.done():
                await asyncio.sleep(PAUSE_S)
        if not future.done():
            return None
        if future.exception():
            del self._going[pair]
        return future.result()

    def _between(self, old: Backup, new: Backup) -> Comparison:
        # In the one thread, where no other pair can come between.
        self._known = {old.id: old, new.id: new}
        return self._kept(old.id, new.id)

    def _compare(self, old: str, new: str) -> Comparison:
        before, after = self._known[old], self._known[new]
        counted = sides.between(self.repository, before, after)
        numbers = sum(sum(astuple(getattr(counted, kind))[:3]) for kind in KINDS if kind != "reviews")
        found = sides.between(self.repository, before, after, items=True) if numbers <= MOST else counted
        heap.give_back()
        return found
