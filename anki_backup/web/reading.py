"""The reading room: a copy of one backup, opened by Anki's library, for a few minutes.

The library runs in one thread of its own; what it is asked for is handed over as a
call. The copy lies in a temporary folder, and goes with it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from anki_backup import heap, library
from anki_backup.model import Backup, MediaFile, file_name_text
from anki_backup.repository import Repository

IDLE_S = 300
T = TypeVar("T")


class Open(NamedTuple):
    """An opened copy of a backup."""

    backup: str
    collection: Any
    media: dict[str, MediaFile]


class Reading:
    """The opened copy of one backup, in one thread."""

    def __init__(self, repository: Repository, zone: str | None) -> None:
        self.repository, self.zone = repository, zone
        self.thread = ThreadPoolExecutor(1, "reading")
        self.stack: ExitStack | None = None
        self.open: Open | None = None
        self.used = 0.0

    async def ask(self, backup: Backup, look: Callable[[Open], T]) -> T:
        """Return what a call gives that is handed the opened copy."""
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self.thread, self._ask, backup, look)
        loop.call_later(IDLE_S + 1, lambda: loop.run_in_executor(self.thread, self._close_idle))
        return result

    def _ask(self, backup: Backup, look: Callable[[Open], T]) -> T:
        if self.open is None or self.open.backup != backup.id:
            self.close()
            self._begin(backup)
        self.used = time.monotonic()
        assert self.open is not None
        with library.ours("Anki's library can't do that"):
            return look(self.open)

    def _begin(self, backup: Backup) -> None:
        self.stack = ExitStack()
        try:
            folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="ankibak-")))
            path = folder / "collection.anki2"
            self.repository.restore_collection(backup.id, path)
            collection = self.stack.enter_context(library.opened(path, self.zone))
            media = {file_name_text(file.name): file for file in self.repository.media(backup.id)}
            self.open = Open(backup.id, collection, media)
        except BaseException:
            self.close()
            raise

    def _close_idle(self) -> None:
        if self.open and time.monotonic() - self.used >= IDLE_S:
            self.close()

    def close(self) -> None:
        """Close what is open, and remove it."""
        stack, self.stack, self.open = self.stack, None, None
        if stack:
            stack.close()
            heap.give_back()
