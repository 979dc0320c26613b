"""A backup vanished, or can't be read: that is told, and all goes on."""

from __future__ import annotations

import json
import shutil

import pytest

from anki_backup import gaps
from anki_backup.errors import StorageError
from anki_backup.model import now
from anki_backup.verify import verify
from tests.homes import Home
from tests.test_runs import EDIT


@pytest.fixture
def home(tmp_path, made):
    home = Home(tmp_path, made)
    for _ in range(3):
        home.run(EDIT)
    return home


def kinds(home):
    return [(finding.kind, finding.backup) for finding in verify(home.repository, [], False).findings]


def folder(home, backup):
    return home.repository.root / "backups" / backup.id


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_backup_that_vanished_is_found_until_a_person_accepts_it(home, which):
    lost = home.repository.backups()[which]
    assert kinds(home) == []
    shutil.rmtree(folder(home, lost))
    assert kinds(home) == [("backup", lost.id)]
    assert accepted(home) == [f"backup {lost.id} of home was lost"]
    assert kinds(home) == []
    assert accepted(home) == []


def accepted(home):
    repository = home.repository
    with repository.writing("test"):
        lost = gaps.accept(repository.history, now())
        repository.rebuild_catalog()
    return lost


def test_a_backup_that_was_pruned_is_not_missed(home):
    newest = home.repository.backups()[0]
    shutil.rmtree(folder(home, newest))
    with home.repository.writing("test"):
        home.repository.record("pruned", backups=[newest.id], freed_bytes=0, inherited_bytes=0)
    assert kinds(home) == []


def test_a_backup_that_a_prune_which_died_had_set_aside_is_told_to_be_pruned(home):
    newest = home.repository.backups()[0]
    path = folder(home, newest)
    aside = path.rename(path.with_name(path.name + ".part"))
    assert kinds(home) == []
    with home.repository.writing("test"):
        pass
    assert not aside.exists()
    assert kinds(home) == []


def test_on_a_full_disk_what_was_set_aside_stays_there(home, monkeypatch):
    path = folder(home, home.repository.backups()[0])
    aside = path.rename(path.with_name(path.name + ".part"))

    def full(*_, **__):
        raise StorageError("no space")

    monkeypatch.setattr("anki_backup.durable.append", full)
    with home.repository.writing("test"):
        pass
    assert aside.exists()
    monkeypatch.undo()
    with home.repository.writing("test"):
        pass
    assert not aside.exists() and kinds(home) == []


@pytest.mark.parametrize("edit", [[], [EDIT]])
def test_a_newest_backup_that_cant_be_read_keeps_nobody_from_making_another(home, edit):
    newest, *before = home.repository.backups()
    path = folder(home, newest) / "metadata.json"
    path.chmod(0o600)
    path.write_text("x")
    home.run(*edit)
    made = home.repository.backups()[0]
    assert made.id not in {newest.id, *(backup.id for backup in before)}
    assert kinds(home) == [("manifest", newest.id)]
    assert json.loads((folder(home, made) / "metadata.json").read_text())["sequence"] > newest.sequence


def test_what_was_accepted_and_made_again_is_missed_again(home):
    """An import gives the same id to the same second."""
    repository, lost = home.repository, home.repository.backups()[0]
    path, copy = folder(home, lost), home.root / "copy"
    shutil.copytree(path, copy)
    with repository.writing("test"):
        repository.record("pruned", backups=[lost.id], freed_bytes=0, inherited_bytes=0)
        shutil.rmtree(path)
    assert kinds(home) == []
    with repository.writing("test"):
        shutil.copytree(copy, path)
        repository.record("adopted", source="home", backup=lost.id)
    assert kinds(home) == []
    shutil.rmtree(path)
    assert kinds(home) == [("backup", lost.id)]


def test_what_a_vanished_backup_needs_is_kept_until_that_is_accepted(typed, tmp_path):
    """Its folder may be found again."""
    oldest = typed.root / "backups" / typed.listed()[-1]["id"]
    away = oldest.rename(tmp_path / oldest.name)
    assert f"backup {oldest.name} vanished" in typed.type("prune", "--yes", code=6)
    away.rename(oldest)
    typed.type("verify", "--read-data")
    shutil.rmtree(oldest)
    typed.type("catalog", "rebuild", code=3)
    typed.type("prune", "--yes")


@pytest.mark.parametrize("left", [0, 2])
def test_cards_whose_newest_backup_vanished_are_not_safe(typed, left):
    typed.type("status")
    for backup in typed.listed()[: 3 - left]:
        shutil.rmtree(typed.root / "backups" / backup["id"])
    told = json.loads(typed.type("status", "--json", code=1, stdout=True))
    assert told["safe"] is False and "vanished" in told["sentence"]


def test_cards_of_which_nothing_is_left_are_not_safe_though_nothing_changed(typed):
    typed.type("run")
    shutil.rmtree(typed.root / "backups")
    told = json.loads(typed.type("status", "--json", code=1, stdout=True))
    assert "no backup of home is there any more" in told["sentence"]
