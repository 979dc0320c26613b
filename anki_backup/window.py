"""SQLite's view of a scratch: a collection is queried where it lies, without a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from anki_backup import collection
from anki_backup.scratch import BLOCK, Scratch

NAME = "ankibak-scratch"


class _File:
    """A file that SQLite only reads."""

    def __init__(self, content: Scratch, read: set[int] | None) -> None:
        self._content = content
        self._read = read

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._read is not None:
            self._read.update(range(offset // BLOCK, (offset + amount - 1) // BLOCK + 1))
        return bytes(self._content.read_at(offset, amount))

    def xFileSize(self) -> int:
        return self._content.size

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_IMMUTABLE)

    def xSectorSize(self) -> int:
        return 4096

    def xCheckReservedLock(self) -> bool:
        return False

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xClose(self) -> None:
        pass


class _Window(apsw.VFS):
    """Has one file, whatever name it is opened by."""

    def __init__(self, content: Scratch, read: set[int] | None) -> None:
        self._content, self._read = content, read
        self._name = f"{NAME}-{id(content)}"
        super().__init__(self._name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        flags[1] = flags[0]
        return _File(self._content, self._read)

    def xAccess(self, path: str, flags: int) -> bool:
        return False

    def xFullPathname(self, name: str) -> str:
        return name


@contextmanager
def looking(content: Scratch, read: set[int] | None = None) -> Iterator[apsw.Connection]:
    """Open what a scratch holds for reading; it must not be written to meanwhile.

    `read` gets the number of each block that is read: while none of them changes,
    the same questions have the same answers.
    """
    window = _Window(content, read)
    try:
        with collection.connect(Path("/collection.anki2"), vfs=f"{NAME}-{id(content)}") as db:
            yield db
    finally:
        window.unregister()
