"""A backup, or the log, is lost or can't be read: that is told, nothing more goes, and all goes on."""

from __future__ import annotations

import json
import shutil

import pytest

from anki_backup import gaps
from anki_backup.errors import StorageError
from anki_backup.model import now
from anki_backup.repository import Repository
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


@pytest.fixture
def typed(tmp_path, made, run_ankibak):
    """Two backups, the older one pinned, of which retention would keep one."""
    home = TypedHome(tmp_path, run_ankibak)
    home.profile.mkdir()
    shutil.copy(made, home.collection)
    home.config.write_text(home.config.read_text() + "[retention]\nlast = 1\n")
    for _ in range(2):
        home.type("run", "--force")
    home.type("pin", listed(home)[-1]["id"], "--label", "before the exam")
    home.type("run", "--force")
    return home


def listed(home):
    return json.loads(home.type("list", "--json"))["backups"]


def finding(home):
    """Return the one thing that is found."""
    home.type("verify", code=6)
    (found,) = verify(Repository.open(home.root), [], False).findings
    return found.message


def log(home):
    return home.root / "state" / "events.jsonl"


@pytest.mark.parametrize("command", [["run", "--force"], ["run"], ["prune", "--yes"], ["catalog", "rebuild"]])
def test_what_a_log_that_was_cut_had_told_is_put_back_from_the_catalog(typed, command):
    """Whoever writes first; the pin stays, and the catalog can be made anew from the log."""
    lines = log(typed).read_bytes().splitlines(keepends=True)
    log(typed).write_bytes(b"".join(lines[:3]))
    assert "the event log is shorter than it was" in finding(typed)
    typed.type("prune", "--yes", code=6)
    pinned = [backup["id"] for backup in listed(typed) if backup["label"] == "before the exam"]
    if command[0] == "prune":
        command = ["run"]
    assert "put back from the catalog" in typed.type(*command, code=3)
    typed.type("verify")
    typed.type("catalog", "rebuild")
    assert [backup["id"] for backup in listed(typed) if backup["pinned"]] == pinned
    typed.type("prune", "--yes")
    assert pinned[0] in {backup["id"] for backup in listed(typed)}


def test_without_log_and_catalog_nothing_is_pruned_until_a_person_accepts_it(typed):
    log(typed).unlink()
    (typed.root / "state" / "metadata.db").unlink()
    assert "the event log was lost" in finding(typed)
    typed.type("prune", "--yes", code=6)
    before = len(listed(typed))
    assert "the event log was lost" in typed.type("run", "--force", code=3)
    typed.type("run", "--force")
    assert "the event log was lost" in finding(typed)
    typed.type("prune", "--yes", code=6)
    assert len(listed(typed)) == before + 2
    assert "the event log was lost" in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")
    typed.type("prune", "--yes")
    assert len(listed(typed)) == 1


def test_a_damaged_line_that_a_person_accepted_is_damage_no_more(typed):
    """The pin that it told stays: the catalog remembers it."""
    lines = log(typed).read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"pin"' in line)
    lines[at] = lines[at].replace(b"exam", b"exbm")
    log(typed).write_bytes(b"".join(lines))
    assert "the event log is damaged" in finding(typed)
    typed.type("prune", "--yes", code=6)
    assert "damaged" in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")
    typed.type("catalog", "rebuild")
    assert [backup["label"] for backup in listed(typed) if backup["pinned"]] == ["before the exam"]


def test_an_index_that_lacks_a_backup_says_so(typed):
    path = typed.root / "backups" / listed(typed)[0]["id"] / "metadata.json"
    path.write_text("x")
    assert path.parent.name in typed.type("catalog", "rebuild", code=6)


def test_a_damaged_or_missing_repository_json_keeps_nobody_from_reading_and_is_written_anew(typed):
    """Each manifest names its repository."""
    path = typed.root / "repository.json"
    good, before = path.read_bytes(), listed(typed)
    for make in (path.unlink, lambda: path.write_text("x"), lambda: path.write_text("")):
        make()
        assert listed(typed) == before
        assert "repository.json" in finding(typed)
        assert "written anew" in typed.type("run", "--force", code=3)
        assert path.read_bytes() == good
        typed.type("verify")
        before = listed(typed)


def test_a_damaged_repository_json_of_an_empty_repository_is_told_by_its_path(typed):
    shutil.rmtree(typed.root / "backups")
    (typed.root / "repository.json").write_text("x")
    told = typed.type("list", code=6)
    assert f"{typed.root}/repository.json is not the JSON" in told and "from a copy" in told


def test_what_was_left_out_is_shown_and_so_is_damage_of_what_is_shown(typed):
    typed.media.mkdir()
    (typed.media / "link.jpg").symlink_to("nowhere")
    typed.type("run", "--force")
    name = listed(typed)[0]["id"]
    reason = "is a symbolic link, not a file"
    assert f"skipped\tlink.jpg\t{reason}\n" in typed.type("show", name)
    shown = json.loads(typed.type("show", name, "--json"))
    assert shown["skipped"] == [{"name": "link.jpg", "reason": reason}]
    for file, words in (("stats.json", ["show", name, "--decks"]), ("metadata.json", ["show", name])):
        path = typed.root / "backups" / name / file
        path.write_text("x")
        told = typed.type(*words, code=6)
        assert f"{file} of backup {name}" in told and told.endswith(" verify\n")


def test_damaged_statistics_keep_no_export_back(typed, tmp_path):
    name = listed(typed)[0]["id"]
    (typed.root / "backups" / name / "stats.json").write_text("x")
    for word in ("dir", "zip", "tar.zst"):
        target = tmp_path / f"out.{word}"
        assert "stats.json" in typed.type("export", name, "-o", target, "--format", word, code=6)
        assert target.exists()
    assert (tmp_path / "out.dir" / "collection.anki2").read_bytes() == typed.collection.read_bytes()
