"""Comparisons for pages and API: made once, in a thread of their own, and the newest ones kept."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from msgspec.structs import astuple

from anki_backup import sides
from anki_backup.differences import Comparison
from anki_backup.model import Backup
from anki_backup.repository import Repository

# More than this is told in numbers only: nobody reads it, and it would take much memory.
MOST = 20_000
KEPT = 4
KINDS = ("notes", "cards", "reviews", "decks", "notetypes", "options", "tags", "settings", "media")


class Comparing:
    """Compares backups, one pair at a time; the newest results are kept, for they never change."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.thread = ThreadPoolExecutor(1, "compare")
        self._kept = lru_cache(KEPT)(self._compare)
        self._known: dict[str, Backup] = {}

    async def between(self, old: Backup, new: Backup) -> Comparison:
        """Return what changed, with items unless there are too many."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._between, old, new)

    def _between(self, old: Backup, new: Backup) -> Comparison:
        # In the one thread, where no other pair can come between.
        self._known = {old.id: old, new.id: new}
        return self._kept(old.id, new.id)

    def _compare(self, old: str, new: str) -> Comparison:
        before, after = self._known[old], self._known[new]
        counted = sides.between(self.repository, before, after)
        numbers = sum(sum(astuple(getattr(counted, kind))[:3]) for kind in KINDS if kind != "reviews")
        return sides.between(self.repository, before, after, items=True) if numbers <= MOST else counted
