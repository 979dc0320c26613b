"""Years of study in minutes: hours that change a collection's pages as Anki's do, kept as a run keeps them.

An hour of Anki's own scheduler takes a tenth of a second and a run half of one; ten
years have 29,200 such hours. Here an hour is written with SQL (60 answers to random
cards, 3 edited notes; as many pages change, and their delta is as large), and a
capture is hashed, compared and stored, but not checked for what is in it.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from anki_backup import chains, deposit, pages
from anki_backup.baseline import CHANGES_LIMIT, Baseline, Change
from anki_backup.model import BackupManifest, BackupStats, CaptureFacts, Durations
from anki_backup.payloads import BLOCK
from anki_backup.repository import Repository

ANSWERS, EDITS = 60, 3
INDEX_EVERY = 500


class Student:
    """Who studies in a closed collection, hour after hour."""

    def __init__(self, collection: Path, seed: int = 0) -> None:
        self._db = sqlite3.connect(collection, isolation_level=None)
        self._db.create_collation("unicase", lambda one, other: (one > other) - (one < other))
        self._db.execute("pragma journal_mode = memory")
        self._db.execute("pragma synchronous = off")
        self._random = random.Random(seed)
        self._cards = [row[0] for row in self._db.execute("select id from cards order by id")]
        self._notes = [row[0] for row in self._db.execute("select id from notes order by id")]
        self._day = 2000

    def study(self, at: datetime, hours: int = 1) -> None:
        """Study so many hours, the last of which ends at that time."""
        for back in range(hours, 0, -1):
            self._hour(int(at.timestamp()) - back * 3600)

    def _hour(self, start: int) -> None:
        drawn = self._random
        self._db.execute("begin")
        for number, card in enumerate(drawn.sample(self._cards, ANSWERS)):
            second, interval = start + number * 50, drawn.randint(1, 400)
            memory = f'{{"s":{drawn.random() * 400:.4f},"d":{drawn.random() * 10:.3f}}}'
            due = self._day + start // 86400 % 100_000 + interval
            self._db.execute(
                "update cards set mod=?, usn=-1, due=?, ivl=?, reps=reps+1, data=? where id=?",
                (second, due, interval, memory, card),
            )
            row = second * 1000 + drawn.randrange(999), card, drawn.randint(1, 4), interval
            taken = drawn.randint(1, 400), drawn.randint(1000, 60_000)
            self._db.execute("insert into revlog values (?,?,-1,?,?,?,2500,?,1)", (*row, *taken))
        for note in drawn.sample(self._notes, EDITS):
            edit = "update notes set mod=?, usn=-1, flds=replace(flds, char(31), ? || char(31)) where id=?"
            self._db.execute(edit, (start, f" {start}", note))
        self._db.execute("update col set mod=?", (start * 1000,))
        self._db.execute("commit")


class Keeper:
    """What a run keeps of a collection; the copy before lies in memory."""

    def __init__(self, root: Path, collection: Path, source: str) -> None:
        self.repository = Repository.create(root)
        self.collection, self.source = collection, source
        self.baseline = Baseline(root / "cache" / source)
        self.old = b""
        self.name: str | None = None
        self.sequence = 0

    def keep(self, at: datetime) -> None:
        """Keep the collection as it is, as a backup of that time."""
        repository, store = self.repository, self.repository.store
        new = self.collection.read_bytes()
        self.sequence += 1
        name = hashlib.sha256(new).hexdigest()
        with repository.writing("simulated"):
            self.baseline.folder.mkdir(parents=True, exist_ok=True)
            self.baseline.collection.unlink(missing_ok=True)
            self.baseline.collection.symlink_to(self.collection)
            change = self._change(name, new)
            if change.pages is None:
                self.baseline.before.write_bytes(self.old)
            deposit.put_collection(store, self.baseline, change, self.name, 2)
            self.baseline.clear()
            repository.commit(self._manifest(name, len(new), at), [])
            fields = {"started_at": at, "outcome": "created", "source": self.source}
            backup = at.strftime("%Y-%m-%dT%H-%M-%SZ")
            repository.record("run", run=self.sequence, backup=backup, **fields)
            if self.sequence % INDEX_EVERY == 0:
                repository.index()
        self.old, self.name = new, name

    def _change(self, name: str, new: bytes) -> Change:
        both = ((self.old[at : at + BLOCK], new[at : at + BLOCK]) for at in range(0, len(new), BLOCK))
        found = list(pages.changed(both)) if self.old else []
        few = found if len(found) <= CHANGES_LIMIT else None
        return Change(
            sha256=name,
            size=len(new),
            unit=pages.PAGE,
            old_sha256=self.name,
            old_size=len(self.old),
            count=len(found),
            pages=few,
        )

    def _manifest(self, name: str, size: int, at: datetime) -> BackupManifest:
        return BackupManifest(
            format=1,
            repository=self.repository.id,
            id=at.strftime("%Y-%m-%dT%H-%M-%SZ"),
            source=self.source,
            sequence=self.sequence,
            origin="run",
            created_at=at,
            content_hash="v1:" + name,
            collection_sha256=name,
            collection_bytes=size,
            collection_schema=18,
            media_list=None,
            media_bytes=0,
            media_files=0,
            stored_bytes=0,
            stats=BackupStats(),
            stats_sha256="",
            duration_ms=Durations(),
            program_version="0",
            host="bench",
            capture=CaptureFacts(path=str(self.collection)),
        )

    def deepest(self) -> int:
        """Return the deltas of the longest way back."""
        store, history = self.repository.store, self.repository.history
        names = {manifest.collection_sha256 for manifest in history.manifests(history.ids())}
        return max(len(chains.ancestry(store, name)) - 1 for name in names)


class Simulation:
    """A student and a keeper in a process of their own: what is measured beside it must not look as large."""

    def __init__(self, root: Path, collection: Path, source: str) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._pool.submit(_begin, root, collection, source).result()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def keep(self, at: datetime, hours: int = 0) -> None:
        """Study so many hours, then keep what came of it."""
        self._pool.submit(_keep, at, hours).result()

    def deepest(self) -> int:
        """Return the deltas of the longest way back."""
        return self._pool.submit(_deepest).result()


_HERE: list[tuple[Student, Keeper]] = []


def _begin(root: Path, collection: Path, source: str) -> None:
    _HERE.append((Student(collection), Keeper(root, collection, source)))


def _keep(at: datetime, hours: int) -> None:
    student, keeper = _HERE[0]
    student.study(at, hours)
    keeper.keep(at)


def _deepest() -> int:
    return _HERE[0][1].deepest()


def hours_of(day: datetime, count: int) -> list[datetime]:
    """Return the ends of the hours of study of a day."""
    return [day + timedelta(hours=hour) for hour in range(24 - count, 24)]
