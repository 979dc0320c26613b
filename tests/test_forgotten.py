"""What is put back into an event log, and what is not: no pin goes, nothing is made up."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

from anki_backup import events, gaps
from anki_backup.errors import StorageError
from anki_backup.model import now
from anki_backup.repository import Repository


def pinned(typed):
    return [(backup["id"], backup["label"]) for backup in typed.listed() if backup["pinned"]]


def cut(typed, word, lines=1):
    """Take the last lines with a word, and all behind them, away from the log."""
    found = typed.log.read_bytes().splitlines(keepends=True)
    at = [number for number, line in enumerate(found) if word in line][-lines]
    typed.log.write_bytes(b"".join(found[:at]))


def folders(typed):
    return [typed.root / "backups" / backup["id"] for backup in typed.listed()]


def test_a_backup_that_comes_back_after_its_row_was_dropped_keeps_its_pin(typed, tmp_path):
    before = pinned(typed)
    newest, pinned_one, _ = folders(typed)
    away = pinned_one.rename(tmp_path / "away")
    shutil.rmtree(newest)
    typed.log.touch()
    typed.type("pin", "latest")
    away.rename(pinned_one)
    assert "was lost" in typed.type("catalog", "rebuild", code=3)
    assert set(before) <= set(pinned(typed))


def test_a_cut_log_and_a_catalog_that_cant_be_asked_let_nothing_be_pruned(typed):
    typed.type("pin", "latest", "--label", "the last one")
    before = pinned(typed)
    cut(typed, b'"the last one"')
    with closing(sqlite3.connect(typed.root / "state" / "metadata.db")) as db, db:
        db.execute("update backup set state = x'ff' where state is not null")
    assert gaps.GONE in typed.type("run", "--force", code=3)
    assert gaps.GONE in typed.finding()
    typed.type("prune", "--yes", code=6)
    assert {name for name, _ in before} <= {path.name for path in folders(typed)}
    assert gaps.GONE in typed.type("catalog", "rebuild", code=3)
    typed.type("verify")


def test_the_doctor_looks_at_the_log(typed):
    def told():
        checks = json.loads(typed.type("doctor", "--json"))["checks"]
        return next(check for check in checks if check["name"] == "event log")

    assert told()["state"] == "ok"
    log = typed.root / "state" / "events.jsonl"
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first.replace(b"run_started", b"run_stopped") + b"".join(rest))
    assert (told()["state"], "catalog rebuild" in told()["hint"]) == ("warning", True)


def test_an_older_line_does_not_undo_what_a_damaged_one_had_told(typed, tmp_path):
    """An import has the log read from its start."""
    name = folders(typed)[0].name
    for word in ("pin", "unpin", "pin"):
        typed.type(word, name)
    typed.type("run", "--force")
    lines = typed.log.read_bytes().splitlines(keepends=True)
    at = max(number for number, line in enumerate(lines) if b'"pin"' in line)
    lines[at] = lines[at].replace(b'"pin"', b'"pxn"')
    typed.log.write_bytes(b"".join(lines))
    shutil.copy(typed.collection, tmp_path / "old.anki2")
    typed.change_note(tmp_path / "old.anki2")
    typed.type("import", "--source", "home", tmp_path / "old.anki2")
    assert name in {pinned_name for pinned_name, _ in pinned(typed)}


def test_what_an_earlier_prune_could_not_tell_is_told_by_the_next(typed, monkeypatch):
    newest, *_ = folders(typed)
    newest.rename(newest.with_name(newest.name + ".part"))
    repository = Repository.open(typed.root)
    real, refused = gaps.events.append, []

    def full(*args, **fields):
        if not refused:
            refused.append(args)
            raise StorageError("the disk is full")
        return real(*args, **fields)

    monkeypatch.setattr("anki_backup.events.append", full)
    with repository.writing("test"):
        assert newest.with_name(newest.name + ".part").exists()
        assert gaps.tell_pruned(repository.history, now())
    assert refused and gaps.vanished(repository.history) == {}


def test_known_damage_and_what_is_held_beyond_backups_are_put_back(typed):
    repository = Repository.open(typed.root)
    kept = typed.log.read_bytes()
    with repository.writing("test"):
        repository.record("verified", findings=2)
        repository.record("pruned", backups=[], freed_bytes=0, inherited_bytes=-77)
        repository.index()
    told = typed.type("status", "--json", code=1, stdout=True)
    typed.log.write_bytes(kept)
    typed.type("run", code=3)
    typed.type("catalog", "rebuild")
    after = json.loads(typed.type("status", "--json", code=1, stdout=True))
    assert (after["findings"], after["repository"]) == (2, json.loads(told)["repository"])


def test_an_imported_backup_that_vanished_in_lost_lines_is_missed(typed, tmp_path):
    kept = typed.log.read_bytes()
    shutil.copy(typed.collection, tmp_path / "old.anki2")
    typed.change_note(tmp_path / "old.anki2")
    before = {path.name for path in folders(typed)}
    typed.type("import", "--source", "home", tmp_path / "old.anki2")
    (adopted,) = {path.name for path in folders(typed)} - before
    typed.log.write_bytes(kept)
    shutil.rmtree(typed.root / "backups" / adopted)
    typed.type("run", code=3)
    assert adopted in typed.finding()


def test_runs_that_were_put_back_are_folded_with_their_count(typed):
    repository = Repository.open(typed.root)
    with repository.writing("test"):
        for count in (1, 5, 1):
            run = {"source": "home", "started_at": now(), "outcome": "skipped", "reason": "unchanged"}
            number = repository.record("run_started", source="home")
            repository.record("run", run=number, **run, count=count)
    assert events.fold(typed.log, now() + timedelta(days=50))
    folded = [line.event for line in events.read(typed.log) if line.event and line.event["event"] == "folded"]
    assert [event["count"] for event in folded] == [7]


def test_a_lost_pointer_is_noted_again_by_a_rebuild(typed):
    path = typed.root / "state" / "current-pointer.json"
    good = path.read_bytes()
    for spoil in (path.unlink, lambda: path.write_text("x")):
        spoil()
        assert "current-pointer.json" in typed.finding()
        typed.type("catalog", "rebuild")
        assert path.read_bytes() == good
        typed.type("verify")


def test_a_rollback_json_that_is_a_folder_is_damage_like_any_other(typed):
    (typed.root / "state" / "rollback.json").mkdir()
    assert "rollback.json can't be read" in typed.finding()
    typed.type("catalog", "rebuild", code=3)
    typed.type("run")
