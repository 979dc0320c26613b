"""The catalog saves reading, and never changes an answer."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup.model import BackupManifest, BackupStats, CaptureFacts, DeckStats, Durations
from anki_backup.repository import Repository

START = datetime(2026, 3, 28, 12, tzinfo=UTC)

FIXED = dict.fromkeys(("media_bytes", "media_files", "stored_bytes"), 0)
FIXED |= {"format": 1, "origin": "run", "collection_schema": 18, "media_list": None, "stats_sha256": ""}
FIXED |= {"program_version": "0", "host": "h", "capture": CaptureFacts(path="/x"), "duration_ms": Durations()}


def fresh(root: Path) -> Repository:
    repository = Repository.create(root)
    with repository.writing("test"):
        pass
    return repository


def add(repository: Repository, source: str = "home", outcome: str = "created") -> str | None:
    """Record a run, and commit a backup where it makes one; its contents are of no concern here."""
    number = len(repository.history.ids())
    at = START + number * timedelta(hours=7)
    run = repository.record("run_started", source=source)
    backup_id = None
    if outcome == "created":
        backup_id, sequence = repository.next_place(at)
        manifest = BackupManifest(
            **FIXED,
            repository=repository.id,
            id=backup_id,
            source=source,
            sequence=sequence,
            created_at=at,
            content_hash=f"v1:{sequence:064x}",
            collection_sha256=f"{sequence:064x}",
            collection_bytes=4096 * sequence,
            stats=BackupStats(cards=sequence, notes=None, decks=1),
        )
        repository.commit(manifest, [DeckStats(id=1, name="D\udcff", cards=1)])
    fields = {"run": run, "source": source, "started_at": at, "outcome": outcome}
    repository.record("run", **fields, backup=backup_id, reason=None if backup_id else "unchanged")
    return backup_id


def several(root: Path) -> Repository:
    """Return a repository with three backups of two sources, a pin, an alarm and a proof."""
    repository = fresh(root)
    first = add(repository)
    add(repository, "work")
    add(repository, outcome="skipped")
    third = add(repository)
    repository.record("pin", backup=first, label="exam ü")
    repository.record("alarm", backup=third, alarm={"kind": "x", "before": 9, "after": 1, "since": START})
    repository.record("proof", backup=third)
    repository.index()
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return several(tmp_path / "repository")


def answers(repository: Repository) -> list[Any]:
    """Return what a person is told, by a program that just opened the repository."""
    opened = Repository.open(repository.root)
    found = opened.backups()
    lists = [
        opened.backups("work"),
        opened.backups(limit=1),
        opened.backups(since=START + timedelta(hours=7)),
    ]
    names = [opened.find(text).id for text in ("latest", "work:latest", found[0].id)]
    runs = [opened.runs(), opened.runs("home", limit=1), opened.runs(since=START + timedelta(hours=1))]
    return [found, lists, names, runs]


def content(repository: Repository) -> list[tuple[Any, ...]]:
    with closing(repository.history.open_catalog()) as found:
        return found.content()


def statement(sql: str, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql)


def hot_journal(path: Path) -> None:
    """Leave what a power cut in the middle of a transaction leaves."""
    journal = path.with_name(path.name + "-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE backup SET state = NULL, source = hex(zeroblob(3000))")
        torn = path.read_bytes(), journal.read_bytes()
        db.execute("ROLLBACK")
    path.write_bytes(torn[0]), journal.write_bytes(torn[1])


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "other bytes": lambda path: path.write_bytes(b"no database at all " * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:12000]),
    "zeros": lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(path.stat().st_size - 100)),
    "hot journal": hot_journal,
    "newer version": partial(statement, "PRAGMA user_version = 99"),
    "no backups": partial(statement, "DROP TABLE backup"),
    "another type": partial(statement, "UPDATE backup SET sequence = 'x' WHERE sequence = 2"),
    "another backup": partial(statement, "INSERT INTO backup VALUES ('x', 'home', 9, 0, '[]', NULL)"),
}
# Found only when rows are read, after the catalog was believed.
FOUND_LATE: dict[str, Callable[[Path], Any]] = {
    "no runs": partial(statement, "DROP TABLE run"),
    "a run that is none": partial(statement, "UPDATE run SET document = '{}'"),
    "a backup that is none": partial(statement, "UPDATE backup SET document = '{'"),
    "a text that is none": partial(statement, "UPDATE run SET source = CAST(x'ff' AS TEXT)"),
    "a name that is none": partial(statement, "UPDATE backup SET source = CAST(x'ff' AS TEXT)"),
    "fewer backups": partial(statement, "DELETE FROM backup"),
}


ALL = DAMAGES | FOUND_LATE


@pytest.mark.parametrize("damage", ALL.values(), ids=ALL)
def test_without_a_sound_catalog_the_files_give_the_same_answers(repository, damage):
    before = answers(repository)
    damage(repository.history.catalog_path)
    files = {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()}
    assert answers(repository) == before
    assert {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_next_run_mends_the_catalog(repository, damage):
    damage(repository.history.catalog_path)
    add(repository)
    repository.index()
    before = answers(repository)
    mended = content(repository)
    repository.rebuild_catalog()
    assert (answers(repository), content(repository)) == (before, mended)


def test_a_locked_catalog_keeps_no_reader_waiting_for_long(repository, monkeypatch):
    before = answers(repository)
    opened = Repository.open(repository.root)
    connect = sqlite3.connect
    monkeypatch.setattr(
        peewee.sqlite3, "connect", lambda *args, **more: connect(*args, **more | {"timeout": 0.05})
    )
    with closing(connect(repository.history.catalog_path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert opened.backups() == before[0]
        assert opened.runs() == before[3][0]


def test_reading_makes_no_catalog(tmp_path):
    repository = fresh(tmp_path / "repository")
    assert repository.backups() == [] and repository.runs() == []
    assert not repository.history.catalog_path.exists()


def test_rows_without_a_manifest_vanish(repository):
    lost = repository.backups()[0]
    shutil.rmtree(repository.history.folder(lost.id))
    assert lost.id not in [backup.id for backup in answers(repository)[0]]
    repository.index()
    assert not any(lost.id in row for row in content(repository))


def test_what_the_catalog_does_not_know_is_read_from_the_files(repository):
    first, newest = repository.backups()[-1], add(repository)
    repository.record("unpin", backup=first.id)
    repository.record("acknowledge", backup=repository.backups()[1].id)
    repository.record("pin", backup=newest, label="new")
    with_catalog = answers(repository)
    found = {backup.id: backup for backup in with_catalog[0]}
    assert found[newest].pinned and found[newest].label == "new"
    assert not found[first.id].pinned
    assert [backup.alarm for backup in found.values()] == [None] * 4
    repository.history.catalog_path.unlink()
    assert answers(repository) == with_catalog


def test_previous_is_the_one_before_of_the_same_source(repository):
    newest, other, first = repository.backups()
    assert (newest.previous, other.previous, first.previous) == (first.id, None, None)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_manifest_that_could_not_be_read_for_a_while_keeps_its_pin(repository, which):
    before = repository.backups()
    manifest = repository.history.folder(before[which].id) / "metadata.json"
    data = manifest.read_bytes()
    manifest.write_bytes(b"")
    repository.rebuild_catalog()
    manifest.write_bytes(data)
    assert Repository.open(repository.root).backups() == before
    repository.index()
    assert Repository.open(repository.root).backups() == before


def test_a_torn_line_moves_no_mark(repository):
    with open(repository.history.log, "ab") as file:
        file.write(b'{"n":')
    repository.index()
    grown = content(repository)
    repository.rebuild_catalog()
    assert content(repository) == grown


def test_a_log_that_was_lost_and_begun_again_is_believed(repository):
    repository.history.log.unlink()
    second = repository.backups("work")[0]
    repository.record("pin", backup=second.id, label="again")
    repository.index()
    assert Repository.open(repository.root).find(second.id).pinned


@pytest.mark.parametrize("what", ["label", "message"])
def test_what_is_not_utf_8_finds_its_way_into_the_catalog(repository, what):
    if what == "label":
        repository.record("pin", backup=repository.backups()[0].id, label="exam \udc80")
    else:
        run, at = repository.record("run_started", source="home"), START
        error = {"code": "source", "message": "there is no collection at /home/\udce9/User 1"}
        repository.record("run", run=run, source="home", started_at=at, outcome="failed", error=error)
    before = answers(repository)
    repository.index()
    assert answers(repository) == before


STEPS = [
    "home",
    "work",
    "skipped",
    "begun",
    "pin",
    "unpin",
    "alarm",
    "acknowledge",
    "proof",
    "drop",
    "index",
    "tear",
]


@settings(derandomize=True, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=14))
def test_a_rebuilt_catalog_equals_the_one_that_grew(tmp_path_factory, steps):
    repository = fresh(tmp_path_factory.mktemp("grown") / "repository")
    for word, number in steps:
        ids = sorted(repository.history.ids())
        match word:
            case "home" | "work":
                add(repository, word)
            case "skipped":
                add(repository, outcome="skipped")
            case "begun":
                repository.record("run_started", source="home")
            case "index":
                repository.index()
            case "tear":
                with open(repository.history.log, "ab") as file:
                    file.write(b'{"n":')
            case "drop" if ids:
                shutil.rmtree(repository.history.folder(ids[number % len(ids)]))
            case _ if ids:
                alarm = {"kind": "notes", "before": 2, "after": number, "since": START}
                repository.record(word, backup=ids[number % len(ids)], label=f"{number}", alarm=alarm)
    repository.record("proof", backup="2026-03-28T12-00-00Z")
    lagging = Repository.open(repository.root)
    seen = lagging.backups(), lagging.runs()
    grown = content(repository)
    repository.rebuild_catalog()
    assert content(repository) == grown
    assert (lagging.backups(), lagging.runs()) == seen
    repository.history.catalog_path.unlink()
    assert (lagging.backups(), lagging.runs()) == seen
