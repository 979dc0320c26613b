"""The newest backup of a source, or the log, is lost or can't be read: that is told, and all goes on."""

from __future__ import annotations

import json
import shutil

import pytest

from anki_backup.verify import verify
from tests.homes import Home
from tests.made_collections import make_varied
from tests.test_runs import EDIT
from tests.typed_home import Home as TypedHome


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_varied(tmp_path_factory.mktemp("made") / "collection.anki2")


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


def test_a_newest_backup_that_vanished_is_found_until_there_is_a_newer_one(home):
    newest = home.repository.backups()[0]
    assert kinds(home) == []
    shutil.rmtree(folder(home, newest))
    assert kinds(home) == [("backup", newest.id)]
    home.run(EDIT)
    assert "backup" not in dict(kinds(home))


def test_a_newest_backup_that_was_pruned_is_not_missed(home):
    newest = home.repository.backups()[0]
    shutil.rmtree(folder(home, newest))
    with home.repository.writing("test"):
        home.repository.record("pruned", backups=[newest.id], freed_bytes=0, inherited_bytes=0)
    assert kinds(home) == []


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


def test_a_run_that_finds_the_log_cut_off_prunes_nothing(tmp_path, made, run_ankibak):
    home = TypedHome(tmp_path, run_ankibak)
    home.profile.mkdir()
    shutil.copy(made, home.collection)
    home.config.write_text(home.config.read_text() + "[retention]\nlast = 1\n")
    for _ in range(2):
        home.type("run", "--force")
    (home.root / "state" / "events.jsonl").unlink()
    told = home.type("run", "--force", code=3)
    assert "nothing was pruned: the event log is shorter than it was" in told
    assert len(json.loads(home.type("list", "--json"))["backups"]) == 3
