"""The repository as a whole: what is none, what is damaged, what goes on, and what comes next."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
from msgspec import structs

from anki_backup import durable, locks, medialist
from anki_backup.errors import (
    BusyError,
    DamageError,
    NotFoundError,
    RepositoryError,
    StorageError,
    Terminated,
)
from anki_backup.identity import NAME
from anki_backup.model import MediaFile, seal
from anki_backup.repository import Decks, Repository
from tests.committed import AT, DECKS, ID, add, written


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return written(tmp_path / "repository")


def test_where_there_is_none_it_is_said_how_to_begin(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for root in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(RepositoryError, match=f"^there is no repository in {root}$") as caught:
            Repository.open(root)
        assert caught.value.hint == "Make the first backup, which makes it: ankibak run"


def test_a_place_that_can_not_be_read_is_told(tmp_path):
    (tmp_path / "repository.json").mkdir()
    with pytest.raises(RepositoryError, match=r"can't read .*repository\.json: Is a directory"):
        Repository.open(tmp_path)


@pytest.mark.parametrize("number", [-1, 0, 2, 99])
def test_another_format_is_refused(tmp_path, number):
    (tmp_path / "repository.json").write_bytes(seal({"format": number, "id": "0" * 32}))
    with pytest.raises(RepositoryError, match=f"has format {number}; this program knows up to 1$") as caught:
        Repository.open(tmp_path)
    assert caught.value.hint == "Install a newer ankibak."


def test_a_folder_with_other_things_is_not_filled(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(RepositoryError, match="is not empty") as caught:
        Repository.create(folder)
    assert caught.value.hint.startswith("Name an empty folder as storage.root")
    assert os.listdir(folder) == ["photo.jpg"]
    with pytest.raises(RepositoryError, match=r"can't read .*photo\.jpg: Not a directory"):
        Repository.create(folder / "photo.jpg")


def test_one_that_is_there_is_opened_again(repository):
    again = Repository.create(repository.root)
    assert (again.id, again.settled) == (repository.id, None)


def test_one_whose_name_is_damaged_is_no_other(repository):
    (repository.root / NAME).write_bytes(b"{}")
    with pytest.raises(DamageError, match=r"repository\.json"):
        Repository.create(repository.root)


def test_one_that_a_crash_left_half_made_is_made(tmp_path):
    (tmp_path / "there" / "state").mkdir(parents=True)
    (tmp_path / "there" / f"{NAME}{durable.PART}").write_bytes(b"half")
    made = Repository.create(tmp_path / "there")
    assert (made.format, len(made.id)) == (1, 32)
    assert sorted(os.listdir(made.root)) == [NAME, "state"]
    assert Repository.open(made.root).id == made.id


def test_one_is_made_with_all_folders_above_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Repository.create(Path("a/b/c"))
    assert (tmp_path / "a" / "b" / "c" / NAME).is_file()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert Repository.open(tmp_path / "a" / "b" / "c").id == made.id


def test_two_that_make_it_at_once_make_one(tmp_path, monkeypatch):
    root, lock, rival = tmp_path / "repository", locks.lock, []

    def after_a_rival(*args):
        monkeypatch.setattr(locks, "lock", lock)
        rival.append(Repository.create(root).id)
        return lock(*args)

    monkeypatch.setattr(locks, "lock", after_a_rival)
    assert [Repository.create(root).id] == rival
    assert (root / "state" / "lock").read_text().rstrip("\n") == f"{os.getpid()} init"


def test_who_makes_it_waits_while_somebody_else_does(tmp_path):
    root = tmp_path / "repository"
    (root / "state").mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with locks.lock(root / "state" / "lock", "init"):
            made = pool.submit(Repository.create, root)
            with pytest.raises(TimeoutError):
                made.result(0.2)
        assert made.result(30).root == root


def test_a_backup_that_can_not_be_read_is_damage_and_not_missing(repository):
    (repository.root / "backups" / ID).mkdir()
    with pytest.raises(DamageError, match=r"metadata\.json") as caught:
        repository.find(ID)
    assert caught.value.hint == "See what else is damaged: ankibak verify"


def test_a_backup_that_only_a_damaged_catalog_knows_is_damage(repository):
    add(repository)
    repository.index()
    with closing(sqlite3.connect(repository.history.catalog_path, isolation_level=None)) as db:
        db.execute("UPDATE backup SET document = 'x'")
    (repository.history.folder(ID) / "metadata.json").write_bytes(b"")
    with pytest.raises(DamageError, match=r"metadata\.json") as caught:
        Repository.open(repository.root).find("latest")
    assert caught.value.hint == "See what else is damaged: ankibak verify"


def test_backups_come_newest_first_of_a_source_from_a_time_on_as_many_as_asked_for(repository):
    made = [add(repository, AT + n * timedelta(hours=1), "home" if n % 2 else "work") for n in range(4)]
    ids = [backup.id for backup in reversed(made)]

    def found(*args, **kwargs):
        return [backup.id for backup in repository.backups(*args, **kwargs)]

    assert found() == ids
    assert found("home") == ids[::2]
    assert found(since=AT + timedelta(hours=2)) == ids[:2]
    assert found(limit=1) == ids[:1]
    assert found("work", AT, 1) == ids[1:2]
    assert (repository.newest_of("work").id, repository.find(ids[2]).id) == (ids[1], ids[2])


def test_what_is_committed_is_found_again_and_accounts_for_every_byte(repository):
    name = repository.store.put(b"content " * 500)
    files = [MediaFile(b"cat.jpg", 7, 1, name)]
    media_list = repository.store.put(medialist.pack_list(files))
    objects = repository.store.added_bytes
    backup = add(repository, media_list=media_list, collection_sha256=name)
    folder = repository.history.folder(backup.id)
    assert sorted(os.listdir(folder)) == ["metadata.json", "stats.json"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert backup.stored_bytes == objects + sum(path.stat().st_size for path in folder.iterdir())
    assert repository.store.added_bytes == 0
    again = Repository.open(repository.root)
    assert structs.replace(again.find("latest"), previous=None) == backup
    assert (again.decks(backup.id), again.media(backup.id)) == (DECKS, files)
    again.restore_collection(backup.id, repository.root / "back")
    assert (repository.root / "back").read_bytes() == b"content " * 500
    assert again.media(add(repository, AT + timedelta(days=1)).id) == []


def test_decks_that_are_not_those_of_the_manifest_are_damage(repository):
    backup = add(repository)
    (repository.history.folder(backup.id) / "stats.json").write_bytes(seal(Decks(decks=[])))
    with pytest.raises(DamageError, match=f"^stats.json of backup {ID} is not the one"):
        repository.decks(backup.id)


def test_decks_that_can_not_be_read_are_damage(repository):
    backup, garbage = add(repository), b"of a later program"
    folder = repository.history.folder(backup.id)
    sha256 = hashlib.sha256(garbage).hexdigest()
    (folder / "stats.json").write_bytes(garbage)
    manifest = structs.replace(repository.manifest(backup.id), stats_sha256=sha256)
    (folder / "metadata.json").write_bytes(seal(manifest))
    with pytest.raises(DamageError, match=f"^stats.json of backup {ID} "):
        repository.decks(backup.id)


def test_a_backup_is_found_by_a_day_of_the_zone(repository):
    one, two = (add(repository, AT + timedelta(hours=hours)).id for hours in (0, 11))
    assert repository.find("@2026-01-01", UTC).id == two
    assert repository.find("@2026-01-01", timezone(timedelta(hours=9))).id == one


def test_what_can_not_be_committed_is_no_backup_and_the_next_is(repository, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    for call, place in (("fsync", f"{repository.root}"), ("mkdir", f"backups/{ID}.part"), ("rename", ID)):
        repository.store.put(call.encode())
        with monkeypatch.context() as fault, pytest.raises(StorageError, match=f"{place}: the disk is full"):
            fault.setattr(os, call, full)
            add(repository)
        assert repository.backups() == []
    with repository.writing("test"):
        assert os.listdir(repository.root / "backups") == []
        assert add(repository).id == ID


def test_who_writes_finds_all_folders_and_no_leftovers(repository):
    for folder in ("backups", "objects", "state", "cache"):
        (repository.root / folder / "dead.part").write_bytes(b"half")
    with repository.writing("test"):
        assert list(repository.root.rglob("*.part")) == []
        assert {path.name for path in repository.root.iterdir() if path.is_dir()} == {
            *("backups", "objects", "state", "cache")
        }
        with pytest.raises(BusyError, match=r"\(test\)"), repository.writing("other"):
            raise AssertionError("two write")
    with repository.writing("other"):
        pass


def test_ids_of_one_second_are_counted(repository):
    first, sequence = repository.next_place(AT)
    assert (first, sequence) == (ID, 1)
    for number in (2, 3):
        (repository.root / "backups" / first).mkdir()
        first, _ = repository.next_place(AT)
        assert first == f"{ID}-{number}"
    assert repository.next_place(AT, adopted=True)[1] == 0


def test_each_backup_is_numbered_after_all_before_and_an_adopted_one_by_its_time(repository):
    assert [add(repository, AT - n * timedelta(hours=1)).sequence for n in range(3)] == [1, 2, 3]
    assert repository.next_place(AT)[1] == 4
    assert repository.next_place(AT - timedelta(days=9), adopted=True)[1] == 0


def test_a_source_without_backups_has_no_newest_one(repository):
    with pytest.raises(NotFoundError, match=r"^there is no backup of source home$") as caught:
        repository.newest_of("home")
    assert caught.value.hint == "Make one: ankibak run"
    assert not repository.is_newest_of("home", ID)


def test_a_catalog_that_is_made_anew_knows_every_backup(repository):
    for n in range(3):
        add(repository, AT + n * timedelta(hours=1))
    assert repository.rebuild_catalog() == 3
    repository.history.catalog_path.unlink()
    repository.index()
    assert repository.history.catalog_path.exists()


def test_a_signal_that_sqlite_takes_for_a_fault_is_told_as_the_signal(repository):
    catalog = repository.history.open_catalog()
    with closing(catalog), pytest.raises(Terminated), catalog.transaction():
        try:
            raise Terminated("stopped by SIGTERM")
        finally:
            raise sqlite3.OperationalError("interrupted")
