"""Rolling a profile back: the state that was, nothing lost on the way, and the way back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from anki.collection import Collection

from anki_backup import collection
from anki_backup.errors import SourceError
from anki_backup.repository import Repository
from tests.conftest import ROOT
from tests.made_collections import sql
from tests.typed_home import Home, change


@pytest.fixture
def home(tmp_path, made, run_ankibak):
    home = Home(tmp_path, run_ankibak)
    home.media.mkdir(parents=True)
    shutil.copy(made, home.collection)
    home.collection.chmod(0o644)
    (home.media / "cat.jpg").write_bytes(b"a cat")
    (home.media / "gone.jpg").write_bytes(b"gone later")
    return home


@pytest.fixture
def changed(home):
    """A profile that was backed up, changed, and not backed up since; and the id of the backup."""
    home.first = home.back_up()
    change(home)
    return home


def test_a_rollback_gives_the_state_back_and_undo_the_one_before(changed):
    before, files = changed.content(), {path.name for path in changed.media.iterdir()}
    done = changed.roll_back(changed.first)
    assert (done["to"], done["pushed"], done["safety"] == done["from"]) == (changed.first, False, True)
    assert {path.name for path in changed.media.iterdir()} == files | {"gone.jpg"}
    (changed.media / "new1.jpg").rename(changed.profile / "new1.jpg")
    assert changed.content() == changed.hash_of(changed.first)
    (changed.profile / "new1.jpg").rename(changed.media / "new1.jpg")
    assert (changed.pointer(), changed.leftovers()) == (changed.first, set())
    assert changed.collection.stat().st_mode & 0o777 == 0o644

    safety = json.loads(changed.type("show", done["safety"], "--json"))
    assert (safety["origin"], safety["pinned"], safety["content_hash"]) == ("safety", True, before)
    undone = changed.roll_back("--undo")
    (changed.media / "gone.jpg").unlink()
    assert (undone["to"], changed.content()) == (done["safety"], before)
    assert changed.type("verify", "--read-data") == ""


def test_with_exact_media_the_folder_is_what_it_was(changed):
    changed.roll_back(changed.first, "--exact-media")
    assert changed.content() == changed.hash_of(changed.first)
    # And what went is in the backup that was made before.
    changed.roll_back("--undo", "--exact-media")
    assert {path.name: path.read_bytes() for path in changed.media.iterdir()} == {
        "cat.jpg": b"another cat 1",
        "new1.jpg": b"new",
    }


def test_the_next_run_knows_where_the_source_stands(changed):
    second = changed.back_up()
    done = changed.roll_back(changed.first, "--exact-media")
    assert (done["safety"], json.loads(changed.type("show", second, "--json"))["pinned"]) == (second, True)
    for _ in range(2):
        assert changed.type("run").split("\t")[1] == "skipped"
        assert changed.pointer() == changed.first
    shutil.rmtree(changed.root / "cache")
    assert changed.type("run").split("\t")[1] == "skipped"
    change(changed, 2)
    third = changed.back_up()
    assert (changed.pointer(), changed.hash_of(third)) == (third, changed.content())


def test_the_next_sync_has_to_ask(changed, run_ankibak):
    def schema():
        collection = Collection(str(changed.collection))
        try:
            return collection.db.first("SELECT scm, mod FROM col")
        finally:
            collection.close()

    before = schema()
    start = time.time() * 1000
    told = run_ankibak("-c", changed.config, "rollback", changed.first, "--yes").stderr
    assert '"Upload to AnkiWeb" keeps this state\nafter that choose "Download from AnkiWeb"' in told
    assert min(schema()) >= int(start) > max(before)


def test_what_anki_left_in_a_wal_is_in_the_backup_and_not_beside_what_comes(changed):
    script = (
        "import os, sys; from anki.collection import Collection; c = Collection(sys.argv[1]);"
        "n = c.new_note(c.models.by_name('Basic')); n['Front'] = 'only in the WAL'; c.add_note(n, 1);"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, changed.collection], check=False).returncode == -9
    assert (changed.profile / "collection.anki2-wal").stat().st_size
    done = changed.roll_back(changed.first)
    assert changed.leftovers() == set()
    assert changed.notes() == 24
    changed.roll_back("--undo")
    assert changed.notes() == 23
    assert done["safety"] != changed.first


def test_while_anki_has_the_collection_open_nothing_is_done(changed):
    collection = Collection(str(changed.collection))
    try:
        began = time.monotonic()
        told = changed.type("rollback", changed.first, "--yes", code=7)
        assert "is open in another program" in told and "Close Anki" in told
        assert time.monotonic() - began < 20
        assert changed.type("rollback", changed.first, "--dry-run") != ""
    finally:
        collection.close()
    assert (changed.notes(), changed.leftovers()) == (22, set())
    assert len(Repository.open(changed.root).backups()) == 1


def test_a_dry_run_says_what_would_be_lost_and_touches_nothing(changed):
    def everything():
        paths = [*changed.profile.rglob("*"), *changed.root.rglob("*")]
        return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}

    before = everything()
    rows = [line.split("\t") for line in changed.type("rollback", changed.first, "--dry-run").splitlines()]
    figures = {row[0]: tuple(map(int, row[1:])) for row in rows}
    assert figures["notes"] == (1, 3, 1)
    assert figures["decks"][:2] == (1, 0)
    assert (figures["cards"][0], figures["media"][:2]) == (1, (0, 1))
    shown = json.loads(changed.type("rollback", changed.first, "--dry-run", "--json"))
    assert (shown["to"], shown["event"], shown["safety"]) == (changed.first, None, None)
    assert shown["plan"]["notes"]["lost_names"] == ["new 1"]
    assert shown["plan"]["decks"]["lost_names"] == ["New deck 1"]
    assert shown["plan"]["media"]["regained_names"] == ["gone.jpg"]
    assert everything() == before


def test_without_a_terminal_it_wants_to_be_told(changed):
    before = changed.content()
    told = changed.type("rollback", changed.first, code=2)
    assert "notes: 1 lost (new 1); 3 back" in told and "--yes" in told
    assert changed.content() == before


def test_a_second_rollback_has_to_wait_but_an_undo_has_not(changed):
    changed.roll_back(changed.first)
    assert "--undo" in changed.type("rollback", changed.first, "--yes", code=75)
    changed.roll_back("--undo")
    changed.config.write_text(changed.config.read_text() + '[security]\nrollback_cooldown = "0s"\n')
    changed.roll_back(changed.first)


def test_a_damaged_backup_is_refused_before_anything_happens(changed):
    repository = Repository.open(changed.root)
    before = changed.content()
    picture = next(f for f in repository.media(changed.first) if f.name == b"gone.jpg")
    path = repository.store.path(picture.sha256)
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + b"?")
    changed.type("rollback", changed.first, "--yes", code=6)
    assert (changed.content(), changed.leftovers()) == (before, set())
    path.write_bytes(sound)
    path = repository.store.path(repository.manifest(changed.first).collection_sha256)
    path.write_bytes(path.read_bytes()[:-9] + b"?" * 9)
    changed.type("rollback", changed.first, "--yes", code=6)
    assert (changed.content(), changed.leftovers()) == (before, set())


def test_an_index_that_was_wrong_already_is_no_reason_to_refuse(changed):
    break_it = "UPDATE sqlite_schema SET sql = replace(sql, '(usn)', '(id)') WHERE name = 'ix_revlog_usn'"
    sql(changed.collection, "PRAGMA writable_schema=ON", break_it)
    with pytest.raises(SourceError, match="ix_revlog_usn"):
        collection.check(changed.collection, thorough=True)
    backup = changed.back_up()
    change(changed, 2)
    assert changed.roll_back(backup)["to"] == backup


@pytest.mark.parametrize("broken", [b"", b"no database", None])
def test_what_can_not_be_backed_up_is_kept_as_it_is(broken, changed):
    if broken is None:
        broken = changed.collection.read_bytes()[:8192] + bytes(40_960)
    changed.collection.write_bytes(broken)
    (changed.profile / "collection.anki2-wal").write_bytes(b"a stale wal")
    told = changed.roll_back(changed.first)
    assert (told["safety"], told["from"], changed.notes()) == (None, None, 24)
    (kept,) = changed.profile.glob("before-rollback-*")
    assert (kept / "collection.anki2").read_bytes() == broken
    assert (kept / "collection.anki2-wal").read_bytes() == b"a stale wal"
    assert (kept / "media" / "cat.jpg").read_bytes() == b"another cat 1"
    assert (changed.media / "cat.jpg").read_bytes() == b"a cat"
    assert "before-rollback" in changed.type("rollback", "--undo", "--yes", code=5)


def test_where_there_is_nothing_it_is_put_there(changed):
    shutil.rmtree(changed.profile)
    changed.profile.mkdir()
    told = changed.roll_back(changed.first)
    assert (told["safety"], changed.content()) == (None, changed.hash_of(changed.first))
    assert sorted(path.name for path in changed.profile.iterdir()) == ["collection.anki2", "collection.media"]


def test_an_event_tells_who_went_from_where_to_where(changed):
    done = changed.roll_back(changed.first)
    lines = (changed.root / "state" / "events.jsonl").read_text().splitlines()
    (event,) = [json.loads(line) for line in lines if '"event":"rollback"' in line]
    told = {name: event[name] for name in ("source", "from", "to", "safety", "pushed", "outcome", "n")}
    assert told == {
        "source": "home",
        "from": done["from"],
        "to": changed.first,
        "safety": done["safety"],
        "pushed": False,
        "outcome": "done",
        "n": done["event"],
    }
    assert re.fullmatch(r".+@.+", event["who"])


def test_with_several_sources_latest_needs_a_name(changed):
    other = changed.profile.with_name("User 2")
    shutil.copytree(changed.profile, other)
    changed.config.write_text(
        changed.config.read_text() + '[sources.other]\nkind = "profile"\npath = "User 2"\n'
    )
    changed.type("run")
    assert "home:latest" in changed.type("rollback", "latest", "--yes", code=2)
    changed.roll_back("home:latest~1")
    changed.type("rollback", "other:latest", "--yes")
    assert changed.roll_back("--undo", "home")["source"] == "home"


def test_the_running_program_is_seen_by_the_library_too(changed, tmp_path):
    """While the swap goes on, Anki can't open what is about to be replaced."""
    from anki.errors import DBError

    from anki_backup.hold import held

    with held(changed.collection), pytest.raises(DBError, match="already open"):
        Collection(str(changed.collection))
    Collection(str(changed.collection)).close()


def test_reading_commands_mention_what_was_interrupted_and_the_next_run_settles_it(changed, run_ankibak):
    script = (
        "import os; from anki_backup import cli, swap;"
        "swap._side_files_away = lambda *_: os.kill(os.getpid(), 9); cli.main()"
    )
    before = changed.content()
    words = [sys.executable, "-c", script, "-c", changed.config, "rollback", changed.first, "--yes"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(words, env=env, check=False, capture_output=True).returncode == -9
    assert changed.content() != before
    assert "rollback was interrupted" in run_ankibak("-c", changed.config, "list").stderr
    changed.type("run")
    assert (changed.content(), changed.leftovers()) == (before, set())
    assert "interrupted" not in run_ankibak("-c", changed.config, "list").stderr


def test_media_names_of_any_bytes_come_back(home):
    name = os.fsdecode("ü".encode() + b"\xff\n.jpg")
    (home.media / name).write_bytes(b"odd")
    first = home.back_up()
    (home.media / name).unlink()
    home.roll_back(first)
    assert (home.media / name).read_bytes() == b"odd"


def test_a_media_folder_elsewhere_is_filled_where_it_is(changed, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(changed.media, elsewhere)
    changed.config.write_text(changed.config.read_text() + 'media = "elsewhere"\n')
    changed.roll_back(changed.first)
    assert (elsewhere / "gone.jpg").read_bytes() == b"gone later"
    assert not list(tmp_path.glob("*rollback*"))


def test_anki_looks_into_the_folder_again(changed):
    before = changed.media.stat().st_mtime_ns
    changed.roll_back(changed.first)
    assert changed.media.stat().st_mtime_ns >= before + 10**9
