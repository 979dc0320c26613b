"""Long histories made quickly: small collections of a few pages, and a full copy of each to compare with."""

from __future__ import annotations

import hashlib
import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from anki_backup import chains, deposit, pages, prune
from anki_backup.baseline import Baseline, Change
from anki_backup.model import Backup, BackupManifest, BackupStats, CaptureFacts, Durations, MediaFile
from anki_backup.prune import Plan, Rules
from anki_backup.repository import Repository
from anki_backup.retention import DEFAULT
from anki_backup.settings import Retention

UNIT = 512
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Where nothing has to reach a disk, if there is such a place.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Source:
    """One source: pages that change a little from backup to backup, and pictures that come and go."""

    def __init__(self, root: Path, name: str, seed: int = 0, units: int = 400) -> None:
        self.name = name
        self.random = random.Random(f"{name} {seed}")
        self.pages = bytearray(self.random.randbytes(units * UNIT))
        self.pages[16:18] = UNIT.to_bytes(2, "big")
        self.media: dict[bytes, bytes] = {}
        self.baseline = Baseline(root / "cache" / name)
        self.base: str | None = None
        self.kept = b""
        self.list: str | None = None

    def change(self, new: bytes) -> Change:
        """Return how new content differs from what was kept last, as the cache tells a run."""
        unit = pages.unit_for(len(new), len(self.kept))
        found = list(pages.changed([(self.kept, new)], unit)) if self.kept else []
        return Change(
            sha256=hashlib.sha256(new).hexdigest(),
            size=len(new),
            unit=unit,
            old_sha256=self.base,
            old_size=len(self.kept),
            count=len(found),
            pages=found,
        )

    def study(self, answers: int = 3, pictures: int = 0) -> None:
        """Change a few bytes here and there, and add some at the end."""
        for _ in range(answers):
            at = self.random.randrange(100, len(self.pages) - 8)
            self.pages[at : at + 8] = self.random.randbytes(8)
        if self.random.random() < 0.2:
            self.pages += self.random.randbytes(UNIT)
        for _ in range(pictures):
            name = b"%d.jpg" % self.random.randrange(50)
            self.media[name] = self.random.randbytes(60)


class Histories:
    """A repository, a clock that stands still, and what every backup holds."""

    def __init__(self, root: Path, seed: int = 0, units: int = 400) -> None:
        self.root, self.seed, self.units = root, seed, units
        Repository.create(root)
        self.now, self.zone = START, UTC
        self.sources: dict[str, Source] = {}
        self.made = self.highest = 0
        self.copies: dict[str, tuple[bytes, dict[bytes, bytes]]] = {}

    @property
    def repository(self) -> Repository:
        """The repository, opened anew as a process would."""
        return Repository.open(self.root)

    def source(self, name: str = "home") -> Source:
        return self.sources.setdefault(name, Source(self.root, name, self.seed, self.units))

    def back_up(
        self, name: str = "home", *, at: datetime | None = None, adopted: bool = False, **studied: int
    ) -> Backup:
        """Study, and keep what came of it as `run` does, from the cache to the manifest."""
        source = self.source(name)
        source.study(**studied)
        return self.keep(source, at or self.now, adopted)

    def keep(self, source: Source, at: datetime, adopted: bool = False) -> Backup:
        repository = self.repository
        store, baseline, new = repository.store, source.baseline, bytes(source.pages)
        with repository.writing("test"):
            baseline.folder.mkdir(parents=True, exist_ok=True)
            baseline.collection.write_bytes(new)
            change = source.change(new)
            base = source.base
            if base and not chains.is_sound(store, base):
                base = None
            deposit.put_collection(store, baseline, change, base, 1)
            baseline.clear()
            source.kept = new
            files = [MediaFile(media, len(data), 0, store.put(data)) for media, data in source.media.items()]
            source.list = deposit.put_list(store, files, source.list) if files else None
            source.base = change.sha256
            backup_id, sequence = self.place(repository, at, adopted)
            manifest = BackupManifest(
                format=1,
                repository=repository.id,
                id=backup_id,
                source=source.name,
                sequence=sequence,
                origin="import" if adopted else "run",
                created_at=at,
                content_hash="v1:" + change.sha256,
                collection_sha256=change.sha256,
                collection_bytes=change.size,
                collection_schema=18,
                media_list=source.list,
                media_bytes=sum(map(len, source.media.values())),
                media_files=len(files),
                stored_bytes=0,
                stats=BackupStats(),
                stats_sha256="",
                duration_ms=Durations(),
                program_version="0",
                host="here",
                capture=CaptureFacts(path="/x"),
            )
            backup = repository.commit(manifest, [])
            ended = {"started_at": at, "outcome": "created", "backup": backup.id}
            repository.record("run", run=self.made, source=source.name, **ended)
            if self.made % 16 == 0:
                repository.index()
        self.copies[backup.id] = bytes(source.pages), dict(source.media)
        return backup

    def place(self, repository: Repository, at: datetime, adopted: bool) -> tuple[str, int]:
        """Return id and sequence as `next_place` does; where it's plain, without a look at everything."""
        self.made += 1
        name = at.strftime("%Y-%m-%dT%H-%M-%SZ")
        sequence = self.highest + 1
        if adopted or (repository.root / "backups" / name).exists():
            name, sequence = repository.next_place(at, adopted=adopted)
        self.highest = max(self.highest, sequence)
        return name, sequence

    def rules(self, policy: Retention = DEFAULT, unused: float = 0) -> Rules:
        return Rules(lambda source: policy, lambda: self.now, self.zone, unused=unused)

    def prune(self, policy: Retention = DEFAULT) -> Plan:
        """Prune to a policy; what is gone is forgotten here too."""
        rules = self.rules(policy)
        done, warnings = prune.perform(self.repository, prune.plan(self.repository, rules), rules)
        assert warnings == []
        for name in done.goes:
            del self.copies[name]
        return done

    def objects(self) -> dict[str, int]:
        """Return every object by name with the bytes of its file."""
        return {path.parent.name + path.name: path.stat().st_size for path in self.root.glob("objects/??/*")}

    def stored_bytes(self) -> int:
        return sum(
            os.lstat(path).st_size
            for part in ("objects", "backups")
            for path in (self.root / part).rglob("*")
            if path.is_file()
        )

    def check(self, *ids: str, exclusively: bool = True) -> None:
        """See that these backups, or all, come back byte for byte, and that no other is there."""
        repository = self.repository
        if exclusively:
            assert {backup.id for backup in repository.backups()} == set(self.copies)
        path = self.root.parent / "back.anki2"
        for backup_id in ids or self.copies:
            content, media = self.copies[backup_id]
            repository.restore_collection(backup_id, path)
            assert path.read_bytes() == content, backup_id
            found = {file.name: file.sha256 for file in repository.media(backup_id)}
            assert found == {name: hashlib.sha256(data).hexdigest() for name, data in media.items()}
            for name, data in media.items():
                assert repository.store.read(found[name]) == data

    def events(self) -> list[dict[str, object]]:
        log = self.root / "state" / "events.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]
