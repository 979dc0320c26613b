"""What may be asked of a backup on its way out: everything that is given was compared by hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from anki_backup.model import Backup, MediaFile

SMALL = 16 << 20


class Media(Protocol):
    """What can be asked for a media file by its SHA-256."""

    def load(self, sha256: str, limit: int) -> tuple[bytes, bytes | None]:
        """Return a file and the zstd frame that it is stored as, None where it is stored otherwise.

        DamageError if it is not what was backed up, or larger than `limit`.
        """

    def blocks(self, sha256: str) -> Iterator[bytes]:
        """Yield a file; DamageError at its end if it is not what was backed up."""

    def frame(self, sha256: str) -> Iterator[bytes] | None:
        """Return the zstd frame that a file is stored as, compared only with its own CRC-32; or None."""


class Contents(Media, Protocol):
    """What can be asked of a backup."""

    backup: Backup

    def collection(self, path: Path) -> None:
        """Make `path` the collection; DamageError if it is not what was backed up."""

    def manifest(self) -> bytes:
        """Return `metadata.json` as it was written."""

    def stats(self) -> bytes:
        """Return `stats.json` as it was written."""

    def media(self) -> list[MediaFile]:
        """Return the list of media, sorted by name."""


class Piece(NamedTuple):
    """A media file that was compared: its size, and its bytes."""

    size: int
    blocks: Iterable[bytes]


def checked(media: Media, file: MediaFile) -> Piece:
    """Return a file that is as it was backed up; DamageError if it is not.

    A large one is read twice: once to compare it, once to hand it on.
    """
    if file.size <= SMALL:
        data, _ = media.load(file.sha256, SMALL)
        return Piece(len(data), [data])
    return Piece(sum(map(len, media.blocks(file.sha256))), media.blocks(file.sha256))
