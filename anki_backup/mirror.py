"""The mirror of an account: `mirrors/<source>/`, and how far it can be believed.

The library syncs media both ways, so a mirror whose media folder was emptied would
empty the account. What we left behind is therefore written down: the state of
the collection's file, and of each media file with its SHA-1. What is not exactly
so any more is in doubt, and a mirror in doubt is thrown away: it is a cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError, Struct, msgpack, structs

from anki_backup import durable
from anki_backup.errors import DamageError, SourceError
from anki_backup.model import SourceRevision, seal, unseal

State = tuple[int, int, int, int]
SIDES = ("-wal", "-journal", "-shm")
BLOCK = 1 << 20
# `insert or replace` is the only way in which the library marks a file.
NEVER_SENT = """create trigger if not exists never_sent after insert on media when new.dirty != 0
begin update media set dirty = 0 where fname = new.fname; end"""


class Known(Struct, frozen=True, kw_only=True):
    """`mirror.json`: whose mirror it is, and what we left behind."""

    account: str
    revision: SourceRevision | None = None
    collection: State | None = None
    media_folder: int | None = None
    media_usn: int | None = None
    media_sha256: str | None = None


class Item(NamedTuple):
    """One media file: its state, and the SHA-1 of its bytes."""

    state: State
    sha1: bytes


class Mirror:
    """One account's collection and media in `folder`; all methods are for the holder of the lock."""

    def __init__(self, folder: Path, account: str) -> None:
        self.folder = folder
        self.collection = folder / "collection.anki2"
        self.media = folder / "collection.media"
        self.media_db = folder / "collection.media.db2"
        self.trash = folder / "media.trash"
        self._account = account
        self.known = Known(account=account)

    def load(self) -> None:
        """Read what we left behind; throw away the collection, the media, or both, if they are in doubt."""
        for folder in (self.folder.parent, self.folder):
            durable.make_directory(folder)
        self.known = self._read()
        if self.known.account != self._account:
            self.known = Known(account=self._account)
            self.discard_collection()
            self.discard_media()
        elif not self._has_collection():
            self.discard_collection()

    def peek(self) -> bool:
        """Say whether there is a collection that can be believed, and change nothing."""
        self.known = self._read()
        return self.known.account == self._account and self._has_collection()

    def _read(self) -> Known:
        try:
            return unseal((self.folder / "mirror.json").read_bytes(), Known, "mirror.json")
        except (OSError, DamageError):
            return Known(account="")

    def _has_collection(self) -> bool:
        wal, journal = (_state(self._beside(side)) for side in SIDES[:2])
        hot = (wal is not None and wal[0] > 0) or journal is not None
        return (
            self.known.collection is not None and self.known.collection == _state(self.collection) and not hot
        )

    def _beside(self, side: str) -> Path:
        return self.collection.with_name(self.collection.name + side)

    @property
    def is_new(self) -> bool:
        """Whether there is no collection yet."""
        return self.known.collection is None

    @property
    def revision(self) -> SourceRevision | None:
        """Where the server stood when the mirror was last synced."""
        revision = self.known.revision
        return structs.replace(revision, media_usn=self.known.media_usn) if revision else None

    def discard_collection(self) -> None:
        """Throw the collection away; the next sync downloads it afresh."""
        self._keep(revision=None, collection=None)
        with durable.storing(self.collection):
            for side in ("", *SIDES):
                self._beside(side).unlink(missing_ok=True)

    def discard_media(self) -> None:
        """Throw the media away, and what the library knows of them, so that it has nothing to delete."""
        self._keep(media_folder=None, media_usn=None, media_sha256=None)
        with durable.storing(self.media):
            for side in ("", *SIDES):
                self.media_db.with_name(self.media_db.name + side).unlink(missing_ok=True)
            if self.media.is_symlink() or not self.media.is_dir():
                self.media.unlink(missing_ok=True)
            elif self.media.is_mount():
                raise SourceError(
                    f"{self.media} is a file system of its own",
                    hint="Unmount it there, or mount one at the folder above; the mirror is ours to clear.",
                )
            else:
                shutil.rmtree(self.media)
            self.media.mkdir(0o700)

    def keep_collection(self, revision: SourceRevision | None) -> None:
        """Write down that the closed file is what the server has at `revision`."""
        self._keep(revision=revision, collection=_state(self.collection))

    # Media

    def media_are_as_left(self, *, thorough: bool = False) -> bool:
        """Say whether the media folder is exactly what we left, by all states, or also by the bytes."""
        known = self._index()
        if known is None or self.known.media_folder != _inode(self.media):
            return False
        found = _listed(self.media)
        if found is None or {name: item.state for name, item in known.items()} != found:
            return False
        return not thorough or all(_sha1(self.media, name) == item.sha1 for name, item in known.items())

    def settle_media(
        self, *, at_most: int | None = None, synced: bool = False, thorough: bool = False
    ) -> bool:
        """Compare the folder with the library's list, and write both down; False if they are at odds.

        So they are if the library came further than the server counts, `at_most`: it would ask
        for what came after. If a sync just came to its end, how far the library came is kept,
        whatever number the server told. Files that the library had not listed yet are removed: it would take
        them for new ones of ours. Agreement means that it has nothing to send, and by the
        folder's time it knows that without looking.
        """
        listed = self._library_list()
        found = _listed(self.media)
        if listed is None or found is None or (at_most is not None and listed.usn > at_most):
            return False
        for name in found.keys() - listed.rows.keys():
            with durable.storing(self.media), suppress(FileNotFoundError):
                os.unlink(bytes(self.media) + b"/" + name)
        before = self._index() or {}
        index = {}
        for name, sha1 in listed.rows.items():
            state = found.get(name)
            if state is None:
                return False
            item = before.get(name)
            if thorough or item is None or item.state != state:
                item = Item(state, _sha1(self.media, name))
            if item.sha1 != sha1:
                return False
            index[name] = item
        with durable.storing(self.media):
            os.utime(self.media, ns=(listed.folder_ms * 1_000_000,) * 2)
            # The library moves there what the server deleted; older backups have it.
            shutil.rmtree(self.trash, ignore_errors=True)
        data = msgpack.encode([(name, *item.state, item.sha1) for name, item in index.items()])
        self._replace("media.index", data)
        sha256 = hashlib.sha256(data).hexdigest()
        usn = listed.usn if synced else None
        self._keep(media_folder=_inode(self.media), media_usn=usn, media_sha256=sha256)
        return True

    def _library_list(self) -> _Listed | None:
        """Return what the library has in its list of media; None if it has something to send, or no list."""
        if not self.media_db.exists():
            return None
        try:
            with closing(sqlite3.connect(self.media_db)) as db:
                if db.execute("select 1 from media where dirty != 0 limit 1").fetchone():
                    return None
                rows = db.execute("select fname, csum from media where csum is not null").fetchall()
                ((folder_ms, usn),) = db.execute("select dirMod, lastUsn from meta").fetchall()
            return _Listed({name.encode(): bytes.fromhex(sha1) for name, sha1 in rows}, folder_ms, usn)
        except (sqlite3.Error, ValueError):
            return None

    def let_nothing_be_sent(self) -> None:
        """See to it that in the library's list of media nothing is ever marked to be sent."""
        with self._list(self.media_db) as db:
            db.execute(NEVER_SENT)

    def copy_list(self, target: Path) -> None:
        """Copy the library's list of media for a device that may send."""
        shutil.copyfile(self.media_db, target)
        with self._list(target) as db:
            db.execute("drop trigger if exists never_sent")

    @staticmethod
    @contextmanager
    def _list(path: Path) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                yield db
        except sqlite3.Error as error:
            raise SourceError(
                f"the mirror's list of media can't be changed: {error}",
                hint="Run again. If it comes again, look at the disk.",
            ) from error

    def media_bytes(self) -> tuple[int, int]:
        """Return how many media files there are, and their bytes: for showing how far a sync has come."""
        found = _listed(self.media) or {}
        return len(found), sum(state[0] for state in found.values())

    def _index(self) -> dict[bytes, Item] | None:
        try:
            data = (self.folder / "media.index").read_bytes()
            if hashlib.sha256(data).hexdigest() != self.known.media_sha256:
                return None
            rows = msgpack.decode(data, type=list[tuple[bytes, int, int, int, int, bytes]])
        except (OSError, DecodeError):
            return None
        return {row[0]: Item(row[1:5], row[5]) for row in rows}

    def _keep(self, **fields: object) -> None:
        known = structs.replace(self.known, **fields)
        if known != self.known or not (self.folder / "mirror.json").exists():
            self.known = known
            self._replace("mirror.json", seal(known))

    def _replace(self, name: str, data: bytes) -> None:
        # Need not survive a power cut, only never be half there: what it lacks is in doubt.
        with durable.part_file(self.folder / name) as fd:
            durable.write_fully(fd, data)
        durable.publish(self.folder / (name + durable.PART), self.folder / name)


class _Listed(NamedTuple):
    rows: dict[bytes, bytes]
    folder_ms: int
    usn: int


def _state(path: Path) -> State | None:
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"can't look at {path}: {(error.strerror or '').lower()}") from error
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def _inode(folder: Path) -> int | None:
    state = _state(folder)
    return state[3] if state else None


def _listed(folder: Path) -> dict[bytes, State] | None:
    """Return the states of a folder's files by name; None if there is anything in it that is no file."""
    found = {}
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(state.st_mode):
                    return None
                found[entry.name] = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    except OSError:
        return None
    return found


def _sha1(folder: Path, name: bytes) -> bytes:
    """Return the SHA-1 of a file, which is what the library knows it by; empty if it can't be read."""
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        with open(bytes(folder) + b"/" + name, "rb", buffering=0) as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError:
        return b""
    return digest.digest()
