"""Looks through all backups, for text or for the history of one note: in a thread of their own.

A look reads every version of the collections, which takes seconds with years of
them; so the newest answers are kept until the repository changes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from anki_backup import heap, lives, timeline
from anki_backup.errors import NotFoundError
from anki_backup.repository import Repository
from anki_backup.spotted import Hit, Life
from anki_backup.timeline import Look
from anki_backup.web.replies import Refused

WAITING = 3
KEPT = 16
T = TypeVar("T")


class Found(NamedTuple, Generic[T]):
    """What was found, and why some backups could not be read, by their ids."""

    all: list[T]
    damaged: dict[str, str]


class Seeking:
    """Looks through the backups of one source, one look at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.thread = ThreadPoolExecutor(1, "seek")
        self.waiting = 0
        self._repository: Repository | None = None
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    async def find(self, state: object, source: str, text: str) -> Found[Hit]:
        """Return what has a text in any backup that can be read; what is gone comes first."""
        return await self._ask((state, source, text), source, lambda look: timeline.find(look, text))

    async def life(self, state: object, source: str, note: int) -> Found[Life]:
        """Return how one note changed from backup to backup that can be read."""

        def seek(look: Look) -> list[Life]:
            try:
                return lives.lives(look, f"nid:{note}")
            except NotFoundError:
                if not look.damaged:
                    raise
                return []

        return await self._ask((state, source, note), source, seek)

    async def _ask(self, key: object, source: str, seek: Callable[[Look], list[T]]) -> Found[T]:
        if self.waiting >= WAITING:
            raise Refused(429, "others look through all backups now", hint="Try again soon.", wait_s=10)
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, self._seek, key, source, seek)
        finally:
            self.waiting -= 1

    def _seek(self, key: object, source: str, seek: Callable[[Look], list[T]]) -> Found[T]:
        if key not in self._kept:
            # The catalog's rows belong to the thread that reads them.
            self._repository = self._repository or Repository.open(self.root)
            look, found = timeline.looked(self._repository, seek, source)
            self._kept[key] = Found(found, look.damaged)
            heap.give_back()
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        known: Found[T] = self._kept[key]
        return known
