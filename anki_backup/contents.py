"""What a format may ask of one backup."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from anki_backup import payloads
from anki_backup.errors import DamageError
from anki_backup.header import RAW, ZSTD, Info
from anki_backup.model import Backup, MediaFile
from anki_backup.repository import Repository


class Contents:
    """One backup's contents, for the formats: each piece is compared by hash before it is given."""

    def __init__(self, repository: Repository, backup: Backup) -> None:
        self.backup = backup
        self._repository = repository
        self._store = repository.store
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=payloads.WINDOW_LIMIT)

    def collection(self, path: Path) -> None:
        self._repository.restore_collection(self.backup.id, path)

    def manifest(self) -> bytes:
        return self._repository.history.document(self.backup.id, "metadata.json")

    def stats(self) -> bytes:
        self._repository.decks(self.backup.id)  # which compares it with the manifest
        return self._repository.history.document(self.backup.id, "stats.json")

    def media(self) -> list[MediaFile]:
        return self._repository.media(self.backup.id)

    def blocks(self, sha256: str) -> Iterator[bytes]:
        return self._store.blocks(sha256)

    def load(self, sha256: str, limit: int) -> tuple[bytes, bytes | None]:
        """Return a small file and the zstd frame that it is stored as, None where it is stored otherwise."""
        fd, info = self._store.open(sha256)
        try:
            if info.size > limit or info.payload > limit:
                raise DamageError(f"object {sha256} is larger than the list of media says")
            stored = b"".join(_payload(fd, info))
        finally:
            os.close(fd)
        data = stored if info.kind == RAW else self._unpacked(info, stored)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DamageError(f"object {sha256} is damaged: its bytes have another SHA-256")
        return data, stored if info.kind == ZSTD else None

    def frame(self, sha256: str) -> Iterator[bytes] | None:
        """Return the payload of an object that is one zstd frame; its CRC-32 is compared at the end."""
        info = self._store.info(sha256)
        return self._frame(sha256) if info.kind == ZSTD else None

    def _frame(self, sha256: str) -> Iterator[bytes]:
        fd, info = self._store.open(sha256)
        try:
            crc = 0
            for block in _payload(fd, info):
                crc = zlib.crc32(block, crc)
                yield block
        finally:
            os.close(fd)
        if crc != info.crc:
            raise DamageError(f"object {sha256} is damaged: its payload has another CRC-32")

    def _unpacked(self, info: Info, stored: bytes) -> bytes:
        try:
            # The frame's own word for its size is what would be allocated.
            if info.kind != ZSTD or zstandard.frame_content_size(stored) != info.size:
                raise DamageError(f"object {info.name} is damaged: it is not one frame of its size")
            return self._decompressor.decompress(stored) if info.size else b""
        except zstandard.ZstdError as error:
            raise DamageError(f"object {info.name} is damaged: {error}") from error


def _payload(fd: int, info: Info) -> Iterator[bytes]:
    for at in range(info.offset, info.stored_bytes, payloads.BLOCK):
        try:
            yield os.pread(fd, min(payloads.BLOCK, info.stored_bytes - at), at)
        except OSError as error:
            raise DamageError(f"object {info.name} can't be read: {error.strerror}") from error
