"""The event log lost something: it is told, put back, or accepted; nothing is pruned while nobody knows."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from msgspec import structs

from anki_backup import events, gaps
from anki_backup.model import Alarm, now
from anki_backup.repository import Repository


def test_a_state_folder_of_an_earlier_day_keeps_what_was_pinned_since(typed, tmp_path):
    """The catalog that was put back with the log remembers no more than that."""
    shutil.copytree(typed.root / "state", tmp_path / "state")
    typed.type("run", "--force")
    typed.type("pin", "latest")
    pinned = typed.listed()[0]["id"]
    typed.type("run", "--force")
    shutil.rmtree(typed.root / "state")
    shutil.copytree(tmp_path / "state", typed.root / "state")
    assert gaps.GONE in typed.finding()
    typed.type("prune", "--yes", code=6)
    typed.type("pin", pinned)
    assert gaps.GONE in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")
    typed.type("prune", "--yes")
    assert pinned in {backup["id"] for backup in typed.listed()}


@pytest.mark.parametrize("command", [["run", "--force"], ["run"], ["pin", "latest"], ["catalog", "rebuild"]])
def test_what_a_log_that_was_cut_had_told_is_put_back_from_the_catalog(typed, command):
    """Whoever writes first; the pin stays, and the catalog can be made anew from the log."""
    lines = typed.log.read_bytes().splitlines(keepends=True)
    typed.log.write_bytes(b"".join(lines[:3]))
    assert "the event log is shorter than it was" in typed.finding()
    typed.type("prune", "--yes", code=6)
    pinned = [backup["id"] for backup in typed.listed() if backup["label"] == "before the exam"]
    assert "put back from the catalog" in typed.type(*command, code=3)
    typed.type("verify")
    typed.type("catalog", "rebuild")
    assert pinned[0] in {backup["id"] for backup in typed.listed() if backup["pinned"]}
    typed.type("prune", "--yes")
    assert pinned[0] in {backup["id"] for backup in typed.listed()}


def test_without_log_and_catalog_nothing_is_pruned_until_a_person_accepts_it(typed):
    typed.log.unlink()
    (typed.root / "state" / "metadata.db").unlink()
    assert gaps.GONE in typed.finding()
    typed.type("prune", "--yes", code=6)
    before = len(typed.listed())
    assert f"nothing was pruned: {gaps.GONE}" in typed.type("run", "--force", code=3)
    typed.type("run", "--force")
    assert gaps.GONE in typed.finding()
    typed.type("prune", "--yes", code=6)
    assert len(typed.listed()) == before + 2
    assert gaps.GONE in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")
    typed.type("prune", "--yes")
    assert len(typed.listed()) == 1


def test_runs_that_died_before_they_told_of_their_backups_are_no_gap(typed):
    """Each left a backup that the log doesn't name; all else that it lacks is one."""
    repository = Repository.open(typed.root)
    manifest = repository.manifest(typed.listed()[0]["id"])

    def made(died: bool) -> None:
        with repository.writing("test"):
            if died:
                repository.record("run_started", source="home")
            at = now() + timedelta(hours=0 if died else 1)
            name, sequence = repository.next_place(at)
            new = structs.replace(manifest, id=name, sequence=sequence, created_at=at)
            repository.commit(new, repository.decks(manifest.id))

    for _ in range(3):
        made(died=True)
    with repository.writing("test"):
        assert gaps.trouble(repository.history) is None
    made(died=False)
    assert gaps.trouble(repository.history) is None
    made(died=False)
    assert gaps.trouble(repository.history).message == gaps.GONE


def test_a_damaged_line_that_a_person_accepted_is_damage_no_more(typed):
    """The pin that it told stays: the catalog remembers it."""
    lines = typed.log.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"pin"' in line)
    lines[at] = lines[at].replace(b"exam", b"exbm")
    typed.log.write_bytes(b"".join(lines))
    assert "the event log is damaged" in typed.finding()
    typed.type("prune", "--yes", code=6)
    assert "damaged" in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")
    typed.type("catalog", "rebuild")
    assert [backup["label"] for backup in typed.listed() if backup["pinned"]] == ["before the exam"]


def test_no_fold_takes_from_the_catalog_what_a_damaged_line_had_told(typed):
    lines = typed.log.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"pin"' in line)
    lines[at] = lines[at].replace(b"exam", b"exbm")
    typed.log.write_bytes(b"".join(lines))
    repository = Repository.open(typed.root)
    with repository.writing("test"):
        assert not events.fold(typed.log, now() + timedelta(days=50))
        repository.index()
    assert "before the exam" in [backup["label"] for backup in typed.listed()]


def test_an_alarm_and_a_proof_are_put_back_too(typed):
    repository = Repository.open(typed.root)
    newest, before = (backup["id"] for backup in typed.listed()[:2])
    with repository.writing("test"):
        alarm = Alarm(kind="cards", before=9, after=1, since=now())
        kept = typed.log.read_bytes()
        repository.record("alarm", backup=newest, alarm=alarm)
        repository.record("proof", backup=before)
        repository.index()
    wanted = typed.listed()
    typed.log.write_bytes(kept)
    typed.type("run", code=3)
    assert typed.listed() == wanted
    typed.type("catalog", "rebuild")
    assert typed.listed() == wanted
    assert wanted[0]["alarm"] and wanted[1]["verified_at"]


def test_what_was_pruned_in_lines_that_were_lost_is_not_missed(typed):
    kept = typed.log.read_bytes()
    typed.type("prune", "--yes")
    typed.log.write_bytes(kept)
    assert "put back" in typed.type("run", "--force", code=3)
    typed.type("verify")


def test_a_rebuild_that_fails_has_told_what_was_lost(typed, monkeypatch):
    """For it is accepted then."""
    shutil.rmtree(typed.root / "backups" / typed.listed()[0]["id"])
    (typed.root / "state" / "metadata.db").unlink()
    (typed.root / "state" / "metadata.db").mkdir()
    assert "was lost" in typed.type("catalog", "rebuild", code=8)


def test_runs_are_put_back_so_that_what_vanished_meanwhile_is_missed(typed):
    lost = typed.listed()[0]["id"]
    runs = typed.type("runs")
    typed.log.unlink()
    shutil.rmtree(typed.root / "backups" / lost)
    assert "put back" in typed.type("pin", "latest", code=3)
    typed.type("verify", code=6)
    assert f"backup {lost} of home was lost" in typed.type("catalog", "rebuild", code=3)
    assert typed.type("runs") == runs


def test_a_log_that_cant_be_read_keeps_nobody_from_the_backups(typed, tmp_path):
    before = typed.listed()
    typed.log.rename(tmp_path / "log")
    typed.log.mkdir()
    assert typed.listed() == before
    typed.type("export", "latest", "-o", tmp_path / "out.anki2")
    assert "events.jsonl can't be read" in typed.finding()
    typed.type("run", code=6)


def test_a_state_folder_that_is_gone_is_made_again(typed):
    shutil.rmtree(typed.root / "state")
    assert len(typed.listed()) == 3
    assert gaps.GONE in typed.finding()
    assert gaps.GONE in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")


def test_a_damaged_rollback_json_is_found_and_set_aside_by_a_rebuild(typed):
    """Nobody knows what it was about; until then nobody writes."""
    path = typed.root / "state" / "rollback.json"
    path.write_text("x")
    assert "rollback.json" in typed.finding()
    typed.type("run", code=6)
    assert "rollback.json.damaged" in typed.type("catalog", "rebuild", code=3)
    assert (path.with_name("rollback.json.damaged")).read_text() == "x"
    typed.type("run")
    typed.type("verify")


def test_verify_that_writes_looks_at_what_it_has_mended(typed):
    typed.log.write_bytes(b"".join(typed.log.read_bytes().splitlines(keepends=True)[:2]))
    assert "put back" in typed.type("verify", "--restore", "--limit", "1", code=3)
    typed.type("status")
