"""Verify names what is damaged and every backup that is lost with it, and touches nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from anki_backup import chains, events, gaps, runs
from anki_backup.around import ACCEPT, RUN
from anki_backup.errors import DamageError
from anki_backup.gather import Options
from anki_backup.header import DELTA, HEADER_BYTES, Info
from anki_backup.model import BackupManifest
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.verify import Finding, verify
from tests.made_collections import make_varied

WORDS = {"home": ["first", "second", "third", "fourth"], "work": ["a", "b"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with four backups of one source and two of another, each chain on its own."""
    folder = tmp_path_factory.mktemp("verify")
    collection = make_varied(folder / "made.anki2")
    repository = Repository.create(folder / "repository")
    for source, words in WORDS.items():
        profile = folder / source
        (profile / "collection.media").mkdir(parents=True)
        shutil.copy(collection, profile / "collection.anki2")
        (profile / "collection.media" / "both.txt").write_bytes(b"in every backup " * 20)
        for word in words:
            with closing(sqlite3.connect(profile / "collection.anki2")) as db:
                db.execute(
                    "UPDATE notes SET flds = ? WHERE id = (SELECT min(id) FROM notes)", (source + word,)
                )
                db.commit()
            (profile / "collection.media" / f"{word}.jpg").write_bytes(os.urandom(300))
            assert runs.back_up(repository, Profile(source, profile), Options(threads=1)).backup
    return folder / "repository"


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Repository:
    return Repository.open(Path(shutil.copytree(made, tmp_path / "repository")))


def ids(repository: Repository, source: str = "home") -> list[str]:
    """Return the ids of a source's backups, oldest first."""
    return [backup.id for backup in reversed(repository.backups(source))]


def files_of(root: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def found(repository: Repository, read_data: bool = False, only: list[str] | None = None) -> list[Finding]:
    """Verify as a new process would, and see that nothing was changed by it."""
    before = files_of(repository.root)
    report = verify(Repository.open(repository.root), only or [], read_data)
    assert files_of(repository.root) == before
    assert report.checked == len(only or repository.history.ids())
    return report.findings


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def named(findings: list[Finding], kind: str) -> list[str]:
    """Return the backups that are named, and see that nothing else was found."""
    assert {finding.kind for finding in findings} == {kind}
    assert len(findings) == len({finding.backup for finding in findings})
    return sorted(finding.backup or "" for finding in findings)


def collection_of(repository: Repository, source: str, number: int) -> str:
    return repository.manifest(ids(repository, source)[number]).collection_sha256


def test_a_whole_repository_has_nothing_to_report(repository):
    assert found(repository) == found(repository, read_data=True) == []


@pytest.mark.parametrize(("name", "kind"), [("metadata.json", "manifest"), ("stats.json", "stats")])
@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_manifest_concerns_its_own_backup(repository, name, kind, damage):
    second = ids(repository)[1]
    damage(repository.history.folder(second) / name)
    assert named(found(repository), kind) == [second]


def test_a_manifest_under_another_backups_name_is_found(repository):
    first, second = ids(repository)[:2]
    for name in ("metadata.json", "stats.json"):
        shutil.copy(repository.history.folder(first) / name, repository.history.folder(second) / name)
    assert named(found(repository), "manifest") == [second]


def test_a_manifest_of_another_repository_is_found(repository, tmp_path):
    other = Repository.create(tmp_path / "other")
    shutil.copy(other.root / "repository.json", repository.root / "repository.json")
    assert len(found(repository)) == 6


@pytest.mark.parametrize(("number", "lost"), [(0, [0, 1, 2, 3]), (1, [1, 2, 3]), (2, [2, 3]), (3, [3])])
def test_a_damaged_object_takes_what_stands_on_it_and_no_other_chain(repository, number, lost):
    flip(repository.store.path(collection_of(repository, "home", number)))
    backups = ids(repository)
    assert found(repository) == []
    assert named(found(repository, read_data=True), "object") == [backups[at] for at in lost]


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: flip(path, 30), lambda path: os.truncate(path, 99)]
)
def test_what_the_file_of_an_object_shows_is_found_without_reading_it(repository, damage):
    damage(repository.store.path(collection_of(repository, "work", 0)))
    for read_data in (False, True):
        assert named(found(repository, read_data), "object") == ids(repository, "work")


def test_only_the_backups_that_were_named_are_looked_at(repository):
    first, second, *_ = ids(repository)
    flip(repository.history.folder(first) / "metadata.json")
    flip(repository.store.path(collection_of(repository, "work", 0)))
    assert found(repository, read_data=True, only=[second]) == []
    assert named(found(repository, only=[first]), "manifest") == [first]


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: flip(path, 30)])
def test_a_damaged_list_of_media_is_found_with_the_lists_that_stand_on_it(repository, damage):
    lists = {backup: repository.manifest(backup).media_list for backup in ids(repository)}
    second = list(lists.values())[1]
    standing = [
        backup
        for backup, name in lists.items()
        if second in [info.name for info in chains.ancestry(repository.store, name)]
    ]
    damage(repository.store.path(second))
    assert named(found(repository, read_data=True), "media list") == standing
    assert len(standing) > 1


def test_a_damaged_media_file_names_every_backup_that_has_it(repository):
    backups = ids(repository) + ids(repository, "work")
    path = repository.store.path(hashlib.sha256(b"in every backup " * 20).hexdigest())
    flip(path)
    assert found(repository) == []
    assert named(found(repository, read_data=True), "media") == backups
    path.unlink()
    assert named(found(repository), "media") == backups
    assert all("missing" in finding.message and finding.object for finding in found(repository))


def test_a_raw_media_file_is_read_too(repository):
    newest = ids(repository, "work")[-1]
    own = next(file for file in repository.media(newest) if file.name == b"b.jpg")
    flip(repository.store.path(own.sha256))
    assert named(found(repository, read_data=True), "media") == [newest]


def test_a_damaged_event_is_found_and_a_torn_end_is_none(repository):
    log = repository.history.log
    with open(log, "ab") as file:
        file.write(b'{"n":99,"at":')
    assert found(repository) == []
    flip(log, 20)
    (finding,) = found(repository)
    assert (finding.kind, finding.backup, finding.message) == (
        "events",
        None,
        f"the event log is damaged at byte 0; {ACCEPT}",
    )


def test_a_torn_line_that_others_follow_is_no_damage(repository):
    with open(repository.history.log, "ab") as file:
        file.write(b'{"n":99,"at":')
    with repository.writing("test"):
        repository.record("run_started", source="home")
        repository.record("pin", backup=ids(repository)[0])
    assert found(repository) == []


def test_a_damaged_last_event_is_found(repository):
    flip(repository.history.log, -30)
    assert named(found(repository), "events") == [""]


def test_a_log_that_lost_its_end_is_found(repository):
    log = repository.history.log
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert [finding.message for finding in found(repository)] == [f"{gaps.SHORTER}; {RUN}"]


def test_a_damaged_pointer_and_a_damaged_catalog_are_found(repository):
    flip(repository.root / "state" / "current-pointer.json", 20)
    assert named(found(repository), "pointer") == [""]
    repository.history.catalog_path.write_bytes(b"no database " * 1000)
    assert [finding.kind for finding in found(repository)] == ["pointer", "catalog"]


@pytest.mark.parametrize("processors", [1, 2, 3])
def test_forks_that_take_turns_find_what_one_process_finds(repository, monkeypatch, processors):
    monkeypatch.setattr("anki_backup.verify.AT_ONCE", 1)
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert found(repository, read_data=True) == []
    names = [repository.manifest(backup).collection_sha256 for backup in ids(repository)]
    flip(repository.store.path(names[1]), -1)
    assert named(found(repository, read_data=True), "object") == ids(repository)[1:]


@pytest.mark.parametrize(
    "change", ["document = replace(document, '\"home\"', '\"hole\"')", "sequence = sequence + 9"]
)
def test_a_row_of_the_catalog_that_tells_otherwise_than_the_manifest_is_found(repository, change):
    newest = ids(repository)[-1]
    with closing(sqlite3.connect(repository.history.catalog_path)) as db:
        db.execute(f"UPDATE backup SET {change} WHERE id = ?", (newest,))
        db.commit()
    assert named(found(repository), "catalog") == [newest]
    repository.history.rebuild()
    assert found(repository) == []


def test_a_manifest_of_a_format_to_come_is_not_taken_for_one_of_ours(repository):
    with pytest.raises(DamageError, match="has format 2: a newer ankibak may know it"):
        added(repository, format=2)
    assert "manifest" in [finding.kind for finding in found(repository)]


def test_a_missing_catalog_is_no_damage(repository):
    repository.history.catalog_path.unlink()
    assert found(repository) == []


def added(repository: Repository, **fields: object) -> str:
    """Commit a backup like the newest but for some fields; return its id."""
    manifest: BackupManifest = repository.manifest(ids(repository)[-1])
    with repository.writing("test"):
        backup_id, sequence = repository.next_place(manifest.created_at)
        new = structs.replace(manifest, id=backup_id, sequence=sequence, **fields)
        return repository.commit(new, []).id


def test_a_collection_that_opens_no_more_is_found_whatever_its_hash(repository):
    for content in (b"no database " * 2000, b"SQLite format 3\0" + bytes(4080)):
        name = repository.store.put(content)
        newest = added(repository, collection_sha256=name, collection_bytes=len(content))
        assert found(repository) == []
        findings = found(repository, read_data=True)
        assert named(findings, "object") == [newest]
        assert "opens no more" in findings[0].message
        shutil.rmtree(repository.history.folder(newest))


def test_a_manifest_that_describes_another_object_is_found(repository):
    name = repository.store.put(b"SQLite format 3\0")
    newest = added(repository, collection_sha256=name, collection_bytes=17)
    assert named(found(repository), "object") == [newest]


def test_a_chain_in_a_circle_ends_in_a_finding(repository):
    for name, base in (("a" * 64, "b" * 64), ("b" * 64, "a" * 64)):
        repository.store.put_payload(Info(name, DELTA, 10, HEADER_BYTES, 0, 0, 1, base), [])
    newest = added(repository, collection_sha256="a" * 64, collection_bytes=10)
    for read_data in (False, True):
        findings = found(repository, read_data)
        assert named(findings, "object") == [newest]
        assert "has no end" in findings[0].message


def test_progress_is_told(repository):
    told: list[int] = []
    verify(repository, [], True, told.append)
    assert sum(told) >= 6


def test_a_crash_between_folding_and_indexing_is_no_damage(repository):
    old = datetime.now(UTC) - timedelta(days=60)
    for number in range(40):
        at = old + timedelta(hours=number)
        run = events.append(repository.history.log, "run_started", at, source="home")
        fields = {"run": run, "source": "home", "started_at": at, "outcome": "skipped", "reason": "unchanged"}
        events.append(repository.history.log, "run", at, **fields)
    repository.history.open_catalog().close()
    assert events.fold(repository.history.log, datetime.now(UTC))
    assert found(repository) == []
