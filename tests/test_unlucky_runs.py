"""What goes wrong around a run is told, heard of, and keeps nothing else back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anki_backup import attempt, locks, media, plan, runs, watch
from anki_backup.gather import Options
from anki_backup.sources.profile import Profile
from tests.homes import Home
from tests.made_collections import sql


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("how", ["spoilt", "gone"])
def test_a_newest_backup_that_is_damaged_is_stored_again_though_nothing_changed(
    home, how, touched, monkeypatch
):
    monkeypatch.setattr(media, "RACY_NS", -(10**9))
    backup = home.run().backup
    path = home.repository.store.path(backup.collection_sha256)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    if touched:
        home.collection.touch()
    elif how == "spoilt":
        assert home.run().run.outcome == "skipped"  # nothing is read of what nobody touched
        return
    result = home.run()
    assert (result.run.outcome, result.warnings) == ("created", (attempt.DAMAGED,))
    assert home.is_sound() and home.given_back(result.backup) == home.collection.read_bytes()
    assert home.run().run.outcome == "skipped"


@pytest.mark.parametrize("how", ["spoilt", "gone"])
def test_a_damaged_list_of_media_is_not_handed_on(home, how, monkeypatch):
    monkeypatch.setattr(media, "RACY_NS", -(10**9))
    repository = home.repository
    path = repository.store.path(repository.manifest(home.run().backup.id).media_list)
    whole = path.read_bytes()
    if how == "spoilt":
        path.write_bytes(whole[:-3] + b"?" + whole[-2:])
    else:
        path.unlink()
    result = home.run("UPDATE notes SET tags = 'x'")
    assert "the list of media of the newest backup is damaged" in result.warnings[0]
    assert [file.name for file in repository.media(result.backup.id)] == [b"cat.jpg"]
    assert home.is_sound() and home.run("UPDATE notes SET tags = 'y'").warnings == ()


def test_a_damaged_list_of_media_is_something_new_to_keep(home, monkeypatch):
    monkeypatch.setattr(media, "RACY_NS", -(10**9))
    store = home.repository.store
    path = store.path(home.repository.manifest(home.run().backup.id).media_list)
    path.write_bytes(path.read_bytes()[:-1])
    home.collection.touch()
    assert home.run().run.outcome == "created"
    home.collection.touch()
    assert home.run().run.outcome == "skipped" and home.is_sound()


def test_media_that_may_not_be_looked_at_are_not_missing(home, monkeypatch):
    home.run()
    asked = os.stat

    def stat(path, *args, **options):
        if path == home.folder / "collection.media":
            raise PermissionError(13, "Permission denied", str(path))
        return asked(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    result = home.run("UPDATE notes SET tags = 'x'")
    assert result.error.exit_code == 7 and "can't look at" in result.error.message
    assert len(home.repository.backups()) == 1


def test_a_picture_that_came_with_its_note_while_we_looked_is_kept_with_it(home):
    class Busy(Profile):
        def capture(self, work, wait_s):
            (self.media / "new.jpg").write_bytes(b"a new picture")
            sql(self.collection, "UPDATE notes SET flds = '<img src=new.jpg>'")
            return super().capture(work, wait_s)

    home.run()
    os.utime(home.folder / "collection.media", (1, 1))
    repository = home.repository
    result = runs.back_up(repository, Busy("home", home.folder), Options(threads=1))
    assert b"new.jpg" in {file.name for file in repository.media(result.backup.id)}


def test_a_file_that_goes_while_the_folder_is_listed_is_none(home, monkeypatch):
    class Gone:
        name = b"gone.jpg"

        def stat(self, *, follow_symlinks):
            raise FileNotFoundError

    class Listing(list):
        __enter__ = list.__iter__

        def __exit__(self, *error):
            pass

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: Listing([Gone(), *scan(path)]))
    assert [entry.name for entry in media.look(home.folder / "collection.media", 0).entries] == [b"cat.jpg"]


def test_a_source_that_may_not_be_looked_at_keeps_no_other_back(home, monkeypatch):
    def stat(path, *args, **options):
        if isinstance(path, (str, bytes, Path)) and os.fspath(path).startswith(str(home.folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return asked(path, *args, **options)

    asked = os.stat
    with monkeypatch.context() as system:
        system.setattr(os, "stat", stat)
        result = runs.back_up(home.repository, Profile("home", home.folder), Options(threads=1))
        planned = plan.plan(home.root, Profile("home", home.folder), Options())
    assert (result.run.outcome, result.error.exit_code, planned.error.exit_code) == ("failed", 7, 7)


def test_what_nobody_foresaw_of_a_system_is_a_failed_run(home):
    class Odd(Profile):
        def look(self):
            raise OSError(107, "Transport endpoint is not connected", "/mnt/anki")

    planned = plan.plan(home.root, Odd("home", home.folder), Options())
    result = runs.back_up(home.repository, Odd("home", home.folder), Options(threads=1))
    assert result.run.outcome == planned.run.outcome == "failed"
    assert result.error.message == "/mnt/anki: transport endpoint is not connected"
    assert home.repository.runs()[0].outcome == "failed"


@pytest.mark.parametrize(("place", "code"), [("state/lock", 8), ("state/events.jsonl", 6), ("backups", 8)])
def test_a_repository_that_can_not_be_used_is_heard_of(home, place, code, run_ankibak):
    home.run()
    hooks = '[hooks]\non_failure = ["touch", "heard"]\n'
    people = '[apprise]\nurl = "json://127.0.0.1:9/"\n[notify]\nafter_failures = 1\n'
    other = '[sources.other]\nkind = "profile"\npath = "User 1"\n'
    home.config.write_text(home.config.read_text() + other + hooks + people)
    home.config.chmod(0o600)
    path = home.root / place
    path.rename(home.root.parent / "away")
    path.touch() if place == "backups" else path.mkdir()
    done = run_ankibak("-c", home.config, "run", "--json", cwd=home.folder)
    results = json.loads(done.stdout)["results"]
    assert [(each["source"], each["outcome"]) for each in results] == [
        ("home", "failed"),
        ("other", "failed"),
    ]
    assert done.returncode == code and list(home.folder.parent.rglob("heard"))
    assert "Traceback" not in done.stderr


def test_a_dry_run_knows_a_repository_of_a_newer_program(home, run_ankibak):
    home.run()
    path = home.root / "repository.json"
    path.write_text(path.read_text().replace('"format":1', '"format":9'))
    done = run_ankibak("-c", home.config, "run", "--dry-run")
    assert done.returncode == 10 and "has format 9" in done.stderr


def test_a_lock_that_may_not_be_read_names_nobody(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    assert locks.holder(tmp_path / "lock") is None


def test_hooks_are_told_of_as_many_warnings_as_a_program_can_take():
    told = "\n".join(watch._some(["ü" * 900] * 3_000))
    assert told.endswith("\nand 2,950 more") and len(told.encode()) < 100_000
    assert watch._some(["one", "two"]) == ["one", "two"]


def test_what_a_killed_copy_of_an_open_collection_left_goes_with_the_next_run(home):
    home.run()
    left = [home.cache / f"hot.part{side}" for side in ("", "-wal", "-journal", "-shm")]
    for path in left:
        path.write_bytes(b"left")
    home.run("UPDATE notes SET tags = 'x'")
    assert not any(path.exists() for path in left)
