"""The repository as a whole: what is none, what is damaged, and what comes next."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from anki_backup.errors import DamageError, NotFoundError, RepositoryError
from anki_backup.model import seal
from anki_backup.repository import Repository

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path):
    made = Repository.create(tmp_path / "repository")
    with made.writing("test"):
        pass
    return made


def test_a_place_that_can_not_be_read_is_told(tmp_path):
    (tmp_path / "repository.json").mkdir()
    with pytest.raises(RepositoryError, match=r"can't read .*Is a directory"):
        Repository.open(tmp_path)


@pytest.mark.parametrize("number", [0, 2, 99])
def test_another_format_is_refused(tmp_path, number):
    (tmp_path / "repository.json").write_bytes(seal({"format": number, "id": "0" * 32}))
    with pytest.raises(RepositoryError, match=f"has format {number}"):
        Repository.open(tmp_path)


def test_a_folder_with_other_things_is_not_filled(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(RepositoryError, match="is not empty"):
        Repository.create(folder)
    assert os.listdir(folder) == ["photo.jpg"]
    with pytest.raises(RepositoryError, match="can't read"):
        Repository.create(folder / "photo.jpg")


def test_one_that_is_there_is_opened_again(repository):
    assert Repository.create(repository.root).id == repository.id


def test_a_backup_that_can_not_be_read_is_damage_and_not_missing(repository):
    (repository.root / "backups" / "2026-01-01T12-00-00Z").mkdir()
    with pytest.raises(DamageError, match=r"metadata\.json"):
        repository.find("2026-01-01T12-00-00Z")


def test_ids_of_one_second_are_counted(repository):
    first, sequence = repository.next_place(AT)
    assert (first, sequence) == ("2026-01-01T12-00-00Z", 1)
    for number in (2, 3):
        (repository.root / "backups" / first).mkdir()
        first, _ = repository.next_place(AT)
        assert first == f"2026-01-01T12-00-00Z-{number}"
    assert repository.next_place(AT, adopted=True)[1] == 0


def test_a_source_without_backups_has_no_newest_one(repository):
    with pytest.raises(NotFoundError, match="no backup of source home"):
        repository.newest_of("home")
    assert not repository.is_newest_of("home", "2026-01-01T12-00-00Z")
