"""The files of a backup as one bundle: what an archive or a folder holds, and their sums.

collection.anki2   a folder of media   metadata.json   stats.json   SHA256SUMS

Equal backups give equal bundles: no clock is read, and the order is fixed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from anki_backup.errors import DamageError, GoneError
from anki_backup.filenames import is_file_name
from anki_backup.model import file_name_text
from anki_backup.pieces import Contents, checked
from anki_backup.temporary import TemporaryFolder

COLLECTION, MANIFEST, STATS, SUMS = b"collection.anki2", b"metadata.json", b"stats.json", b"SHA256SUMS"
BLOCK = 1 << 20


class File(NamedTuple):
    """One file of a bundle; the blocks are `size` bytes together, and `is_media` ones hardly compress."""

    name: bytes
    size: int
    mtime_ns: int
    blocks: Iterable[bytes]
    is_media: bool = False


class Bundle:
    """The files of a backup one after the other; what was left out stands in `warnings` and `damaged`."""

    def __init__(self, contents: Contents, media_folder: bytes, *, media: bool) -> None:
        self._contents = contents
        self._media = contents.media() if media else []
        self._folder = media_folder
        self.warnings: list[str] = []
        self.damaged: list[str] = []

    def files(self) -> Generator[File, None, None]:
        """Yield each file once; a damaged collection raises before the first. To be closed."""
        contents, backup = self._contents, self._contents.backup
        at = int(backup.created_at.timestamp()) * 10**9
        sums = []
        with TemporaryFolder(prefix="ankibak-") as place:
            path = Path(place) / "collection.anki2"
            contents.collection(path)
            for name, data in documents(contents, self.damaged):
                sums.append(sum_line(hashlib.sha256(data).hexdigest(), name))
                yield File(name, len(data), at, [data])
            sums.append(sum_line(backup.collection_sha256, COLLECTION))
            yield File(COLLECTION, os.stat(path).st_size, at, _blocks(path))
        for file in self._media:
            shown = file_name_text(file.name)
            if not is_file_name(file.name):
                self.warnings.append(f"media file {shown!r} has a name that leads elsewhere: left out")
                continue
            try:
                size, blocks = checked(contents, file)
            except DamageError:
                self.damaged.append(shown)
                continue
            name = self._folder + b"/" + file.name
            sums.append(sum_line(file.sha256, name))
            yield File(name, size, file.mtime_ns, blocks, is_media=True)
        listed = b"".join(sums)
        yield File(SUMS, len(listed), at, [listed])


def documents(contents: Contents, damaged: list[str]) -> list[tuple[bytes, bytes]]:
    """Return the files that describe a backup; damaged statistics join the list instead."""
    found = [(MANIFEST, contents.manifest())]
    try:
        found.append((STATS, contents.stats()))
    except GoneError:
        raise
    except DamageError:
        damaged.append(STATS.decode())
    return found


def sum_line(digest: str, name: bytes) -> bytes:
    """Return a line of `sha256sum`, which marks a line with escapes by a backslash in front."""
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block
