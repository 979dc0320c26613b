"""Content-addressed bytes: raw or compressed, or a delta over another object (`chains`).

An object is named by the SHA-256 of what it stands for; how it is stored is its
own affair, and stands in its header (`header`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import zstandard

from anki_backup import durable, payloads
from anki_backup.errors import DamageError, StorageError
from anki_backup.header import CLONE_OFFSET, DELTA, HEADER_BYTES, RAW, ZSTD, Info, parse
from anki_backup.model import HASH_PATTERN

# What a disk writes at once: the header, written last, may harm what lies beside it.
PAGE = 1 << 12


class Share(NamedTuple):
    """What a store has made, with each file's bytes, what of it stood before, and what is to be synced."""

    made: dict[str, int]
    stood: set[str]
    files: list[str]
    directories: set[str]


class ObjectStore:
    """The folder `objects/`: immutable files, each written once and read back before it counts."""

    def __init__(self, folder: Path, batch: durable.Batch) -> None:
        self.folder = folder
        self._root = str(folder)
        self.batch = batch
        self.added_bytes = 0
        self._mutex = threading.Lock()
        self._serial = 0
        self._prefixes: set[str] = set()
        self._made: dict[str, int] = {}
        self._stood: set[str] = set()

    def path(self, name: str) -> Path:
        """Return where an object lies; refuses what is no name, so no path can be smuggled in."""
        return Path(self._file(name))

    def _file(self, name: str) -> str:
        # As text: with 20,000 pictures, making a Path each time is a tenth of the first run.
        if not HASH_PATTERN.fullmatch(name):
            raise DamageError(f"{name[:80]!r} is not the name of an object")
        return f"{self._root}/{name[:2]}/{name[2:]}"

    def has(self, name: str) -> bool:
        return os.path.isfile(self._file(name))

    def open(self, name: str) -> tuple[int, Info]:
        """Open an object: a descriptor for the caller to close, and its header, checked against the file."""
        path = self._file(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            reason = "is missing" if error.errno == errno.ENOENT else f"can't be read: {error.strerror}"
            raise DamageError(f"object {name} {reason}") from error
        try:
            return fd, parse(name, payloads.pread(fd, CLONE_OFFSET, 0, name), os.fstat(fd).st_size)
        except BaseException:
            os.close(fd)
            raise

    def info(self, name: str) -> Info:
        """Return an object's checked header."""
        fd, info = self.open(name)
        os.close(fd)
        return info

    def payload_is_sound(self, name: str) -> bool:
        """Read the stored bytes and compare their CRC-32; of a raw object the SHA-256, which is its name."""
        fd, info = self.open(name)
        try:
            if info.kind != RAW:
                return (
                    reduce(lambda crc, block: zlib.crc32(block, crc), payloads.raw(fd, info), 0) == info.crc
                )
            digest = hashlib.sha256()
            for block in payloads.raw(fd, info):
                digest.update(block)
            return digest.hexdigest() == name
        finally:
            os.close(fd)

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a raw or compressed object in blocks; DamageError if it is not what it was."""
        digest = hashlib.sha256()
        for block in self.unproven(name):
            digest.update(block)
            yield block
        if digest.hexdigest() != name:
            raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")

    def unproven(self, name: str) -> Iterator[bytes]:
        """Yield the same without hashing it, for who hashes what comes of it; no more than was said."""
        fd, info = self.open(name)
        size = 0
        try:
            for block in payloads.raw(fd, info) if info.kind == RAW else payloads.unpacked(fd, info):
                size += len(block)
                if size > info.size:
                    break
                yield block
        finally:
            os.close(fd)
        if size != info.size:
            raise DamageError(f"object {name} is damaged: its size is another")

    def read(self, name: str, limit: int = 1 << 30) -> bytes:
        """Return the content of a raw or compressed object of at most `limit` bytes."""
        if self.info(name).size > limit:
            raise DamageError(f"object {name} is larger than such an object can be")
        return b"".join(self.blocks(name))

    def put(self, data: bytes) -> str:
        """Keep `data`, compressed where that pays; return its name. Known content costs nothing."""
        name = hashlib.sha256(data).hexdigest()
        if self.has_sound(name):
            return name
        kind, payload = RAW, data
        if payloads.compresses(data):
            packed = zstandard.ZstdCompressor(level=payloads.LEVEL).compress(data)
            if len(packed) < len(data) * payloads.PAYS:
                kind, payload = ZSTD, packed
                if zstandard.ZstdDecompressor().decompress(packed) != data:
                    raise DamageError(f"object {name} did not unpack to what was packed")
        info = Info(
            name, kind, len(data), HEADER_BYTES, len(payload), payloads.checksum(kind, payload), 0, None
        )
        self.put_payload(info, [payload])
        return name

    def put_payload(
        self, info: Info, payload: Iterable[bytes], prove: Callable[[int], object] = lambda fd: None
    ) -> None:
        """Write header and payload, compare what the disk gives back, then give the file its name.

        `prove` may raise before that, having looked at the descriptor: then there is no object.
        """
        path, incoming = self._file(info.name), self.incoming()
        with durable.part_file(incoming) as fd:
            parts = [info.header(), *payload]
            if info.payload <= payloads.BLOCK:
                parts = [b"".join(parts)]
            for part in parts:
                durable.write_fully(fd, part)
            at = 0
            for part in parts:
                if payloads.pread(fd, len(part), at, info.name) != part:
                    raise DamageError(f"the disk gave back other bytes than were written to {path}")
                at += len(part)
            prove(fd)
        self.publish(info.name, incoming, at)

    def put_blocks(self, name: str, size: int, blocks: Iterable[bytes], threads: int = 0) -> None:
        """Keep a large content block by block, compressed; read back and hashed before it counts."""
        if self.has_sound(name):
            return
        incoming = self.incoming()
        with durable.part_file(incoming) as fd:
            durable.write_fully(fd, bytes(HEADER_BYTES))
            back, begin, crc, payload = payloads.ReadBack(fd, name), b"", 0, 0
            with payloads.Behind(back.stretch) as reader:
                for packed in payloads.packed(blocks, size, threads):
                    durable.write_fully(fd, packed)
                    reader.call(HEADER_BYTES + payload, len(packed))
                    begin = begin or packed[:PAGE]
                    crc, payload = zlib.crc32(packed, crc), payload + len(packed)
            info = Info(name, ZSTD, size, HEADER_BYTES, payload, crc, 0, None)
            os.pwrite(fd, info.header(), 0)
            begin = info.header() + begin
            given = payloads.pread(fd, len(begin), 0, name)
            if (back.digest.hexdigest(), back.crc, given) != (name, crc, begin):
                raise DamageError(f"the disk gave back other bytes than were written to {self.path(name)}")
        self.publish(name, incoming, info.stored_bytes)

    def has_sound(self, name: str) -> bool:
        """Say whether an object is there, whole and undamaged; a delta is worth no more than its chain.

        Such a one joins the batch, for its writer may have died before it was synced.
        """
        try:
            if self.info(name).kind == DELTA:
                return False
            for _ in self.blocks(name):
                pass
        except DamageError:
            return False
        self.batch.add(self._file(name))
        return True

    def publish(self, name: str, incoming: str, stored_bytes: int) -> None:
        """Give a finished incoming file its name; it is durable after `batch.flush`."""
        path = self._file(name)
        with self._mutex:
            if name[:2] not in self._prefixes:
                self._prefixes.add(name[:2])
                self._make_folder(self.folder / name[:2])
            if self.has(name):
                # It takes the place of what may be needed, so it must be on disk before that is gone.
                with durable.storing(path):
                    durable.sync_file(incoming + durable.PART)
                if name not in self._made:
                    self._stood.add(name)
            durable.publish(incoming + durable.PART, path)
            self.batch.add(path)
            self._count(name, stored_bytes)

    def _count(self, name: str, stored_bytes: int) -> None:
        self.added_bytes += stored_bytes - self._made.get(name, 0)
        self._made[name] = stored_bytes

    def hand_over(self) -> Share:
        """Return what was made, and what has to be synced, and forget it: for a fork to tell its parent."""
        share = Share(self._made, self._stood, *self.batch.hand_over())
        self.settle()
        return share

    def take_over(self, share: Share) -> None:
        """Take what was handed over for this store's own."""
        self.batch.take_over(share.files, share.directories)
        self._stood.update(name for name in share.stood if name not in self._made)
        for name, stored_bytes in share.made.items():
            self._count(name, stored_bytes)

    def _make_folder(self, folder: Path) -> None:
        with durable.storing(folder):
            with suppress(FileExistsError):
                folder.mkdir(0o700)
            if folder.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        # Also when it was there: a run that was killed may not have come to syncing it.
        self.batch.add_directory(folder)

    def settle(self) -> None:
        """Begin to count anew; what was made before is not taken back any more."""
        self._made, self._stood = {}, set()
        self.added_bytes = 0

    def flush(self) -> None:
        """Make durable all that was made. Where the disk refuses that, it is thrown away.

        The kernel may have dropped its pages and call them clean: the next run would believe them.
        """
        try:
            self.batch.flush()
        except StorageError:
            self._prefixes.clear()
            for name in list(self._made):
                with suppress(StorageError):
                    self.discard(name)
            raise

    def discard(self, name: str) -> None:
        """Take back an object that this process has made where there was none, and that nothing will name."""
        if name in self._made and name not in self._stood:
            self.added_bytes -= self._made.pop(name)
            self.batch.drop(self._file(name))
            with durable.storing(self.path(name)):
                self.path(name).unlink(missing_ok=True)

    def remove(self, name: str) -> int:
        """Delete an object that nothing needs, not durably; return the bytes of its file."""
        path = self.path(name)
        with durable.storing(path), suppress(FileNotFoundError):
            size = path.lstat().st_size
            path.unlink()
            return size
        return 0

    def incoming(self) -> str:
        """Return a fresh place in `objects/`: two threads or forks may be writing the same content."""
        with self._mutex:
            self._serial += 1
            return f"{self._root}/new-{os.getpid()}-{self._serial}"

    def names(self) -> Iterator[str]:
        """Yield the name of every object file, sorted; what has another name is none of ours."""
        for prefix in sorted(os.listdir(self.folder)):
            if len(prefix) == 2 and (self.folder / prefix).is_dir():
                names = (prefix + rest for rest in sorted(os.listdir(self.folder / prefix)))
                yield from filter(HASH_PATTERN.fullmatch, names)
