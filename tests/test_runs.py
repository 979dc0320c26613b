"""A run: a backup where something changed, and whatever goes wrong, all that there was before."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from functools import partial

import pytest
from anki.collection import Collection
from freezegun import freeze_time

from anki_backup import media, model, runs
from anki_backup.baseline import Baseline
from anki_backup.errors import StorageError
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.conftest import ROOT
from tests.homes import Home
from tests.made_collections import sql

EDIT = "UPDATE notes SET flds = 'edit ' || flds WHERE id = (SELECT min(id) FROM notes)"
KILLED = """import os; from anki_backup import cli, deposit
deposit.put_collection = lambda *_: os.kill(os.getpid(), 9)
cli.main()"""


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


@pytest.fixture
def later(monkeypatch):
    """Let every file be old enough to be told by its times."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60 * 10**9)


def test_untouched_files_are_not_even_opened(home, later, monkeypatch):
    assert home.run().run.outcome == "created"
    monkeypatch.setattr(Profile, "capture", lambda *_: pytest.fail("captured"))
    monkeypatch.setattr(media.Collector, "collect", lambda *_: pytest.fail("read"))
    assert (home.run().run.outcome, home.run().run.reason) == ("skipped", "unchanged")


HARMLESS = {
    "touched": os.utime,
    "opened and closed": lambda path: Collection(str(path)).close(),
    "vacuumed": lambda path: sql(path, "VACUUM"),
    "other pages": lambda path: sql(path, "PRAGMA page_size=512", "VACUUM"),
    "synced": lambda path: sql(path, "UPDATE col SET mod = mod + 1", "UPDATE cards SET usn = 7"),
}


@pytest.mark.parametrize("touch", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("threads", [1, 2])
def test_where_no_row_changed_no_backup_is_made_and_the_next_change_is_kept(touch, threads, home):
    first, before = home.run(threads=threads).backup, home.objects()
    touch(home.collection)
    assert home.run(threads=threads).run.reason == "unchanged"
    assert home.objects() == before
    second = home.run(EDIT, threads=threads).backup
    assert home.given_back(second) == home.collection.read_bytes()
    assert home.run(EDIT, threads=threads).backup.stored_bytes < first.stored_bytes / 2 and home.is_sound()


def test_rehash_finds_what_size_and_times_do_not_tell(home, later):
    name = home.repository.media(home.run().backup.id)[0].sha256
    picture = home.folder / "collection.media" / "cat.jpg"
    picture.write_bytes(b"A PICTURE")
    # As if nothing told that the file changed: its present state stands for the old bytes.
    baseline, seen = Baseline(home.cache), media.look(picture.parent, time.time_ns())
    index = baseline.keep_index({b"cat.jpg": (seen.entries[0], name)})
    mark = model.to_builtins(baseline.mark()) | {"media_digest": seen.digest, "index_sha256": index}
    baseline.keep(type(baseline.mark())(**mark))
    assert home.run().run.reason == "unchanged"
    second = home.run(rehash=True).backup
    assert home.repository.media(second.id)[0].sha256 == hashlib.sha256(b"A PICTURE").hexdigest()


def test_a_failed_run_moves_no_mark_and_keeps_what_was(home):
    first, good = home.run().backup, home.collection.read_bytes()
    before = (home.cache / "mark.json").read_bytes(), home.objects()
    for bad in (b"", b"no database", good[:-4096], good[:4096] + bytes(8192) + good[12288:], good + b"x"):
        home.collection.write_bytes(bad)
        result = home.run()
        assert (result.error.exit_code, result.run.outcome, result.backup) == (7, "failed", None)
        assert home.repository.runs()[0].error.message == result.error.message
        assert ((home.cache / "mark.json").read_bytes(), home.objects()) == before
    home.collection.write_bytes(good)
    assert (home.run().run.reason, home.given_back(first)) == ("unchanged", good)


def test_a_killed_run_was_recorded_when_it_began_and_the_next_one_works(home, run_ankibak):
    words, env = [sys.executable, "-c", KILLED, "-c", home.config, "run"], {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(words, env={**os.environ, **env}, check=False).returncode == -9
    assert [run.outcome for run in home.repository.runs()] == ["interrupted"]
    assert run_ankibak("-c", home.config, "run").returncode == 0
    assert [run.outcome for run in home.repository.runs()] == ["created", "interrupted"]
    assert b'"outcome":"interrupted"' in (home.root / "state" / "events.jsonl").read_bytes()


def test_a_run_that_dies_just_after_its_backup_makes_no_second_one(home, monkeypatch):
    home.run()
    with monkeypatch.context() as fault, pytest.raises(KeyboardInterrupt):
        fault.setattr(Baseline, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        home.run(EDIT)
    assert (home.run().run.reason, len(home.repository.backups())) == ("unchanged", 2)


def test_a_run_whose_backup_could_not_be_committed_is_made_up_for_by_the_next(home, later, monkeypatch):
    home.run()
    mark = (home.cache / "mark.json").read_bytes()
    with monkeypatch.context() as fault:
        fault.setattr(Repository, "commit", lambda *_: (_ for _ in ()).throw(StorageError("full")))
        assert (home.run(EDIT).error.exit_code, len(home.repository.backups())) == (8, 1)
    assert (home.cache / "mark.json").read_bytes() == mark
    assert home.given_back(home.run().backup) == home.collection.read_bytes()


def test_a_second_run_at_once_is_told_who_holds_the_lock(home, run_ankibak):
    with home.repository.writing("run home"):
        second = run_ankibak("-c", home.config, "run")
        assert run_ankibak("-c", home.config, "list").returncode == 0
    assert (second.returncode, f"process {os.getpid()} (run home)" in second.stderr) == (75, True)
    assert run_ankibak("-c", home.config, "run").returncode == 0


LOSSES = {
    "all": shutil.rmtree,
    "collection": lambda cache: (cache / "collection.anki2").unlink(),
    "mark": lambda cache: (cache / "mark.json").unlink(),
    "rot": lambda cache: (cache / "collection.anki2").open("r+b").write(b"rotten"),
    "half a mark": lambda cache: os.truncate(cache / "mark.json", 100),
    "index": lambda cache: (cache / "media.index").write_bytes(b"rotten"),
    "leftovers": lambda cache: [(cache / name).write_bytes(b"x") for name in ("before.part", "hot.part-wal")],
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_lost_or_damaged_cache_costs_no_backup_its_exactness(lose, home):
    first = home.run().backup
    lose(home.cache)
    result = home.run(EDIT)
    assert home.given_back(result.backup) == home.collection.read_bytes()
    assert home.repository.store.info(result.backup.collection_sha256).base == first.collection_sha256
    lose(home.cache)
    assert (home.run().run.reason, home.is_sound()) == ("unchanged", True)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "not cached"])
def test_nothing_is_built_on_a_damaged_object(cached, home):
    home.run()
    damaged = home.repository.store.path(home.run(EDIT).backup.collection_sha256)
    damaged.write_bytes(damaged.read_bytes()[:-3] + b"\0\0\0")
    if not cached:
        (home.cache / "collection.anki2").unlink()
    result = home.run(EDIT)
    assert home.repository.store.info(result.backup.collection_sha256).base is None
    assert home.given_back(result.backup) == home.collection.read_bytes()
    assert "a whole copy is kept" in " ".join(result.warnings)


def test_what_was_there_before_costs_nothing_whether_it_came_back_or_was_forced(home):
    states = [(home.run(*edit).backup, home.collection.read_bytes()) for edit in ((), (EDIT,))]
    before, content = home.objects(), states[0][1]
    home.collection.write_bytes(content)
    states += [(home.run(force=force).backup, content) for force in (False, True)]
    assert home.objects() == before
    states.append((home.run(EDIT, EDIT).backup, home.collection.read_bytes()))
    assert [home.given_back(backup) for backup, _ in states] == [content for _, content in states]
    assert home.is_sound()


def test_what_one_source_needs_is_not_taken_away_by_another_of_the_same_content(home, made):
    other = Profile("other", shutil.copytree(home.folder, home.folder.with_name("copy")))
    sql(other.collection, "VACUUM")
    runs.back_up(home.repository, other, Options())
    shutil.copy(made, other.collection)
    repository = home.repository
    one, two = (
        runs.back_up(repository, source, Options()) for source in (Profile("home", home.folder), other)
    )
    assert (one.run.outcome, two.run.outcome) == ("created", "skipped")
    assert home.given_back(one.backup) == made.read_bytes()


def test_a_change_between_comparing_and_copying_is_tried_again(home, monkeypatch):
    def copy(*args):
        sql(home.collection, *edits)  # only the first time
        return real(*args)

    edits, real = iter([EDIT]), Baseline._copy
    home.run("UPDATE notes SET data = printf('%2000d', id)")
    monkeypatch.setattr(Baseline, "_copy", copy)
    result = home.run("UPDATE notes SET data = ''", "VACUUM")
    assert (result.error, list(edits)) == (None, [])
    assert home.given_back(result.backup) == home.collection.read_bytes()


@pytest.mark.parametrize("untouched", [False, True])
def test_backups_of_the_same_second_and_of_a_wrong_clock_keep_their_order(untouched, home, monkeypatch):
    # msgspec takes no datetime but the real one, and looks for it when it first reads.
    backups = [home.run().backup, *home.repository.backups()[1:], *home.repository.runs()[1:]]
    plainly = partial(model.to_builtins, enc_hook=lambda at: at.isoformat())
    monkeypatch.setattr(model, "to_builtins", plainly)
    with freeze_time("2090-11-20 10:00:00") as clock:
        backups += [home.run(force=True).backup for _ in range(12)]
        for moment in ("2089-11-20 10:00:00", "2099-01-19 10:00:00", "2090-11-21 10:00:00"):
            clock.move_to(moment)
            backups.append(home.run(EDIT).backup)
            with monkeypatch.context() as still:
                still.setattr(Profile, "capture", None if untouched else Profile.capture)
                assert home.run().run.reason == "unchanged"
    assert [backup.id[19:] for backup in backups[1:4]] == ["Z", "Z-2", "Z-3"]
    assert [backup.id for backup in home.repository.backups()] == [backup.id for backup in backups[::-1]]
    assert home.repository.find("latest~2").id == "2089-11-20T10-00-00Z"
    assert [backup.sequence for backup in backups] == list(range(1, 17))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(home, run_ankibak):
    def everything():
        paths = home.folder.parent.rglob("*")
        return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}

    def planned(outcome, reason):
        before = everything()
        done = run_ankibak("-c", home.config, "run", "--dry-run")
        assert (done.returncode, everything()) == (0, before)
        assert done.stdout.rstrip("\n").split("\t")[1::4] == [outcome, reason]

    planned("planned", "the first backup")
    home.run()
    planned("skipped", "unchanged")
    sql(home.collection, EDIT)
    planned("planned", "the collection changed")


@pytest.mark.parametrize("limit", [0, 300, 2000, 8000, 100_000, -100])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_does_not_fit_fails_with_8_and_leaves_all_older_backups(limit, threads, home):
    first, content = home.run().backup, home.collection.read_bytes()
    sql(home.collection, "UPDATE notes SET data = printf('%2000d', id)")
    # A limit just before the end cuts the last write short, and the kernel says nothing.
    size = limit if limit >= 0 else home.collection.stat().st_size + limit
    unlimited = resource.prlimit(0, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        result = home.run(threads=threads)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert (result.error.exit_code, result.backup) == (8, None)
    assert home.given_back(first) == content
    assert home.given_back(home.run(threads=threads).backup) == home.collection.read_bytes()
    assert home.is_sound()


def test_a_link_that_was_planted_among_the_objects_leads_nothing_out(home, tmp_path):
    (tmp_path / "outside").mkdir()
    name = hashlib.sha256(home.collection.read_bytes()).hexdigest()
    (home.repository.root / "objects").mkdir()
    (home.root / "objects" / name[:2]).symlink_to(tmp_path / "outside")
    assert home.run().error.exit_code == 8
    assert list((tmp_path / "outside").iterdir()) == []
