"""The repository: the facade over objects, manifests, events and catalog.

Reading needs no lock and no free space. Writing happens inside `writing`, in one
order: objects, then the manifest, then the event, then the row of the catalog.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from anki_backup import chains, durable, events, gaps, identity, intent, locks, pointer, standing, swap
from anki_backup.entries import sequence_at
from anki_backup.errors import DamageError, NotFoundError, RepositoryError
from anki_backup.history import History, backup_of
from anki_backup.identity import Identity
from anki_backup.lookup import resolve
from anki_backup.medialist import unpack_list
from anki_backup.model import (
    FORMAT,
    Backup,
    BackupManifest,
    DeckStats,
    MediaFile,
    Run,
    now,
    seal,
    unseal,
)
from anki_backup.objects import ObjectStore
from anki_backup.view import View

PARTS = ("backups", "objects", "state", "cache")
FOREIGN = "Name an empty folder as storage.root, or look whether the right disk is mounted."
FRESH = {"state", identity.NAME + durable.PART}
Flushed = Callable[[BackupManifest], BackupManifest]


class Decks(Struct, frozen=True, kw_only=True):
    """`stats.json`."""

    decks: list[DeckStats]


class Repository:
    """One repository, open for reading; inside `writing` also for writing."""

    def __init__(self, root: Path, known: Identity) -> None:
        self.root = root
        self.id = known.id
        self.format = known.format
        self.history = History(root, known.id)
        self.batch = durable.Batch(root)
        self.store = ObjectStore(root / "objects", self.batch)
        self.settled: swap.Settled | None = None
        self.mended: list[str] = []
        self.tell: Callable[[str], object] = lambda words: None

    @classmethod
    def open(cls, root: Path) -> Repository:
        """Open the repository in `root`; RepositoryError when there is none that we can read."""
        return cls(root, identity.read(root))

    @classmethod
    def create(cls, root: Path) -> Repository:
        """Make a repository in `root`, which must be missing or empty; an existing one is opened."""
        if identity.NAME not in (names := _names(root)) and not identity.of_manifests(root):
            if names - FRESH:
                raise RepositoryError(f"{root} is not empty and holds no repository", hint=FOREIGN)
            for folder in reversed([root.absolute(), *root.absolute().parents]):
                if not folder.is_dir():
                    durable.make_directory(folder)
            durable.make_directory(root / "state")
            with locks.lock(root / "state" / "lock", "init", 5):
                if not (root / identity.NAME).exists():
                    identity.put(root, Identity(format=FORMAT, id=uuid.uuid4().hex))
        return cls.open(root)

    # Reading

    def backups(
        self, source: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Backup]:
        """Return backups, newest first."""
        view = View(self.history)
        found = (
            entry
            for entry in reversed(view.entries)
            if (source is None or entry.source == source)
            and (since is None or entry.created >= since.timestamp())
        )
        return view.backups(list(islice(found, limit)))

    def find(self, text: str, zone: tzinfo | None = None) -> Backup:
        """Return the backup that `text` names; NotFoundError, or DamageError if it can't be read."""
        view = View(self.history)
        entries = view.entries
        if text in self.history.damaged:
            raise self.history.missing(text)
        entry = resolve(text, entries, zone)
        found = view.backups([entry])
        if not found:
            raise self.history.missing(entry.id)
        return found[0]

    def manifest(self, backup_id: str) -> BackupManifest:
        """Return a backup's manifest as it was written."""
        return self.history.manifest(backup_id)

    def decks(self, backup_id: str) -> list[DeckStats]:
        """Return the decks of a backup with their cards."""
        data = self.history.document(backup_id, "stats.json")
        what = f"stats.json of backup {backup_id}"
        if hashlib.sha256(data).hexdigest() != self.manifest(backup_id).stats_sha256:
            raise DamageError(f"{what} is not the one that its manifest names")
        return unseal(data, Decks, what).decks

    def media(self, backup_id: str) -> list[MediaFile]:
        """Return the media of a backup, sorted by name."""
        return unpack_list(self.media_list(backup_id))

    def media_list(self, backup_id: str) -> bytes:
        """Return the list of media of a backup as it is kept."""
        name = self.manifest(backup_id).media_list
        try:
            return chains.read(self.store, name) if name else b""
        except DamageError as error:
            raise DamageError(f"the list of media of {backup_id} is damaged: {error.message}") from error

    def runs(
        self, source: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return runs, newest first."""
        return View(self.history).runs(source, since, limit)

    def restore_collection(self, backup_id: str, path: Path) -> None:
        """Make `path` the collection of a backup, byte for byte; its SHA-256 is compared."""
        chains.materialise(self.store, self.manifest(backup_id).collection_sha256, path)

    # Writing

    @contextmanager
    def writing(self, command: str, wait_s: float = 0, *, aside: bool = False) -> Iterator[None]:
        """Hold the lock; what a dead writer left is swept away and its run marked interrupted.

        A rollback that was interrupted is finished or reversed: `settled` tells. What else
        had to be mended is told by `tell`, and stands in `mended`.
        """
        durable.make_directory(self.root / "state")
        with locks.lock(self.root / "state" / "lock", command, wait_s):
            for part in PARTS:
                durable.make_directory(self.root / part)
            newest = events.last(self.history.log)
            mended = identity.mend(self.root, Identity(format=self.format, id=self.id))
            put_back = gaps.notice(self.history, now())
            set_aside = intent.set_aside(self.root) if aside else None
            self.mended = [words for words in (mended, put_back, set_aside) if words]
            for words in self.mended:
                self.tell(words)
            for part in PARTS if gaps.tell_pruned(self.history, now()) else PARTS[1:]:
                durable.sweep(self.root / part)
            if newest and newest["event"] == "run_started" and not put_back:
                self._interrupt(newest)
            swap.sweep(self.root)
            self.settled = swap.settle(self.root)
            yield

    def _interrupt(self, started: dict[str, Any]) -> None:
        fields = {"run": started["n"], "source": started["source"], "started_at": started["at"]}
        self.record("run", **fields, outcome="interrupted")

    def is_newest_of(self, source: str, backup_id: str) -> bool:
        """Say whether a backup is there, and what its source was left with as far as the log's end tells.

        That is the newest, or the one that the source was rolled back to since. After a run
        that was interrupted nobody knows: it may have made one.
        """
        runs = [
            event
            for event in events.newest(self.history.log)
            if event.get("source") == source and (event["event"] == "run" or standing.went_back(event))
        ]
        if not self.history.has(backup_id):
            return False
        if runs and runs[-1].get("outcome") == "interrupted":
            return False
        made = [event.get("backup") or event.get("to") for event in runs]
        left = [name for name in made if name]
        return not left or left[-1] == backup_id

    def last_rollback(self, source: str | None = None) -> dict[str, Any] | None:
        """Return the event of the newest rollback that took place; reads the whole log."""
        found = None
        for event in standing.rollbacks(self.history):
            found = event if source in (None, event.get("source")) else found
        return found

    def record(self, event: str, **fields: Any) -> int:
        """Append an event; return its number."""
        return events.append(self.history.log, event, now(), **fields)

    def index(self) -> None:
        """Bring the catalog up to date; fold old unchanged runs when that is due."""
        if events.fold(self.history.log, now()):
            self.history.rebuild()
        else:
            self.history.open_catalog().close()

    def rebuild_catalog(self) -> int:
        """Make the catalog anew from the files; return how many backups it has."""
        return self.history.rebuild()

    def next_place(self, created_at: datetime, *, adopted: bool = False) -> tuple[str, int]:
        """Return the id and sequence number of a backup made at that second, or `adopted` as one of then."""
        entries = View(self.history).entries
        sequence = max((entry.sequence for entry in entries), default=0) + 1
        if adopted:
            sequence = sequence_at(entries, int(created_at.timestamp()))
        start = created_at.strftime("%Y-%m-%dT%H-%M-%SZ")
        name, count = start, 1
        while os.path.lexists(self.history.folder(name)):
            count += 1
            name = f"{start}-{count}"
        return name, sequence

    def commit(
        self, manifest: BackupManifest, decks: list[DeckStats], flushed: Flushed | None = None
    ) -> Backup:
        """Make a backup real: everything it names is made durable before its folder gets its name.

        `stored_bytes` and `stats_sha256` are filled in here, and by `flushed` what is known once all is.
        """
        self.store.flush()
        stats = seal(Decks(decks=decks))
        manifest = flushed(manifest) if flushed else manifest
        manifest = structs.replace(manifest, stats_sha256=hashlib.sha256(stats).hexdigest())
        document, stored = b"", 0
        while stored != self.store.added_bytes + len(stats) + len(document) or not document:
            stored = self.store.added_bytes + len(stats) + len(document)
            manifest = structs.replace(manifest, stored_bytes=stored)
            document = seal(manifest)
        folder = self.history.folder(manifest.id)
        part = folder.with_name(folder.name + durable.PART)
        with durable.storing(part):
            part.mkdir(0o700)
            durable.write_new(part / "stats.json", stats)
            durable.write_new(part / "metadata.json", document)
            durable.sync_directory(part)
            durable.publish(part, folder)
            durable.sync_directory(folder.parent)
        self.store.settle()
        return backup_of(self.manifest(manifest.id))

    def point(self, source: str, backup_id: str) -> None:
        """Note which backup a source's active state is; a damaged note is begun again."""
        pointer.put(self.root, source, backup_id)

    def pointers(self) -> dict[str, str]:
        """Return source -> active backup; empty when nothing was noted."""
        return pointer.read(self.root)

    def newest_of(self, source: str) -> Backup:
        """Return the newest backup of a source."""
        found = self.backups(source, limit=1)
        if not found:
            raise NotFoundError(f"there is no backup of source {source}", hint="Make one: ankibak run")
        return found[0]

    def standing_of(self, source: str) -> Backup:
        """Return the backup that a source was last known to be: the newest, or the one gone back to since."""
        newest = self.newest_of(source)
        left = standing.left(self.history, {source: newest.id})[source]
        return newest if left == newest.id else self.find(left)


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise RepositoryError(f"can't read {folder}: {error.strerror}") from error
