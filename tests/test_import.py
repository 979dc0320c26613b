"""The past adopted: every file told of, each state once, at its own date, and nothing newer pushed aside."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from anki.collection import Collection

from anki_backup import chains
from anki_backup.adopt import Adoption
from anki_backup.errors import StorageError
from anki_backup.gather import Options
from anki_backup.header import DELTA
from tests.adopting import DAY, START, adopt, collection_of, folder, home, ids, state
from tests.made_collections import at_schema, sql
from tests.packages import current, legacy

__all__ = ["folder", "home", "state"]


def test_packages_of_every_age_and_bare_files_are_adopted_in_the_order_of_their_dates(
    home, folder, state, tmp_path
):
    states = {day: state(day) for day in (1, 2, 3, 4, 5)}
    current(folder / "backup-2025-03-03-12.00.00.colpkg", states[3])
    legacy(folder / "collection-2025-03-04@12-00-00.colpkg", states[4])
    legacy(folder / "backup-7.apkg", states[2], newer=False)
    (folder / "old.anki2").write_bytes(states[1])
    (folder / "file.anki2").write_bytes(state(5, "UPDATE col SET mod = 0"))
    os.utime(folder / "file.anki2", (START + 99 * DAY,) * 2)
    adoption = adopt(home, folder)
    assert [(Path(result.file).name, result.outcome, result.dated_by) for result in adoption.results] == [
        ("backup-2025-03-03-12.00.00.colpkg", "created", "name"),
        ("backup-7.apkg", "created", "collection"),
        ("collection-2025-03-04@12-00-00.colpkg", "created", "name"),
        ("file.anki2", "created", "file"),
        ("old.anki2", "created", "collection"),
    ]
    dates = "2025-04-10T00-00-00Z 2025-03-04T12-00-00Z 2025-03-03T12-00-00Z 2025-01-03T00-00-00Z"
    assert ids(home) == [*dates.split(), "2025-01-02T00-00-00Z"]
    for day, backup_id in zip((4, 3, 2, 1), ids(home)[1:], strict=True):
        assert collection_of(home, backup_id, tmp_path) == states[day]
    newest = home.repository.find("latest")
    assert (newest.origin, newest.stats.cards) == ("import", 48)
    assert home.is_sound() and not (home.root / "cache" / "import.part").exists()


def test_each_is_a_delta_over_the_one_before_however_they_were_named(home, folder, state):
    names = []
    for day in (5, 2, 4, 1, 3):
        names.append(current(folder / f"{day}.colpkg", state(day)))
    adopt(home, *names)
    infos = [home.repository.store.info(backup.collection_sha256) for backup in home.repository.backups()]
    assert [(info.kind == DELTA, info.position) for info in infos] == [
        (True, 4),
        (True, 3),
        (True, 2),
        (True, 1),
        (False, 0),
    ]
    assert all(info.stored_bytes < 3000 for info in infos[:-1])


def test_what_is_known_is_skipped_by_content_against_backups_and_against_each_other(home, folder, state):
    first = current(folder / "a.colpkg", state(1))
    again = current(folder / "b.colpkg", state(1, "VACUUM", "UPDATE cards SET usn = 9"))
    planned = adopt(home, first, again, plan=True).results
    assert [result.outcome for result in planned] == ["planned", "skipped"]
    assert planned[1].reason == f"the same as {first}" and ids(home) == []
    assert [result.outcome for result in adopt(home, again, first).results] == ["created", "skipped"]
    before = home.objects()
    results = adopt(home, folder, first).results
    assert {(result.outcome, result.reason) for result in results} == {
        ("skipped", "the same as 2025-01-02T00-00-00Z")
    }
    assert home.objects() == before and adopt(home, first, source="other").results[0].outcome == "created"


def test_a_backup_without_media_is_known_when_the_collection_of_a_run_beside_it_is_the_same(home, folder):
    backup = home.run().backup
    for name, media in (("auto", {}), ("full", {b"cat.jpg": b"a picture"}), ("other", {b"cat.jpg": b"dog"})):
        current(folder / f"{name}.colpkg", home.collection.read_bytes(), media)
    auto, full, other = adopt(home, folder).results
    assert auto.reason == full.reason == f"the same as {backup.id}"
    assert other.outcome == "created"


def test_media_of_packages_and_of_a_folder_beside_are_kept_once_for_each_content(home, folder, state):
    media = {b"cat.jpg": b"a picture", b"../x": b"bad", b"\xff.mp3": b"noise" * 10**6}
    current(folder / "backup-2025-02-01-00.00.00.colpkg", state(1), media)
    current(folder / "backup-2025-02-02-00.00.00.colpkg", state(2), media | {b"new": b"new"})
    (folder / "bare.anki2").write_bytes(state(3))
    (folder / "bare.media").mkdir()
    (folder / "bare.media" / "cat.jpg").write_bytes(b"a picture")
    adoption = adopt(home, folder)
    assert adoption.incomplete and home.is_sound()
    left_out = "media file ../x has a name that leads elsewhere: left out"
    assert [warning.partition(": ")[2] for warning in adoption.warnings] == [left_out] * 2
    later, earlier, bare = home.repository.backups()
    assert [backup.media_files for backup in (bare, earlier, later)] == [1, 2, 3]
    names = [
        {file.name: file.mtime_ns for file in home.repository.media(backup.id)} for backup in (earlier, later)
    ]
    assert list(names[0]) == [b"cat.jpg", b"\xff.mp3"]
    assert names[0].items() < names[1].items(), "a file that was there keeps its time"
    assert home.repository.manifest(earlier.id).skipped[0].reason == "has a name that leads elsewhere"
    noise = next(file for file in home.repository.media(later.id) if file.name == b"\xff.mp3")
    assert (noise.size, home.repository.store.info(noise.sha256).size) == (5 * 10**6, 5 * 10**6)
    assert adopt(home, folder, plan=True).results[0].outcome == "skipped"


def test_media_that_are_spoilt_are_named_and_the_collection_is_adopted(home, folder, state):
    current(folder / "a.colpkg", state(1), {b"a": b"right", b"b": b"fine"}, {"0": b"no frame"})
    adoption = adopt(home, folder)
    assert adoption.results[0].outcome == "created" and adoption.incomplete
    assert "media file a could not be read" in adoption.warnings[0]
    assert [file.name for file in home.repository.media(ids(home)[0])] == [b"b"]


def test_the_work_in_a_wal_is_adopted_and_the_files_stay_as_they_are(home, folder, state, tmp_path):
    path = folder / "hot.anki2"
    path.write_bytes(state(1))
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("UPDATE col SET crt = 77")
    db.commit()
    for side in ("", "-wal"):
        shutil.copy(f"{path}{side}", tmp_path / f"copy.anki2{side}")
    db.close()
    for side in ("", "-wal"):
        shutil.copy(tmp_path / f"copy.anki2{side}", f"{path}{side}")
    before = {file: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}
    adopt(home, folder)
    assert {file: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")} == before
    (tmp_path / "given").mkdir()
    collection_of(home, ids(home)[0], tmp_path)
    assert sqlite3.connect(tmp_path / "given.anki2").execute("SELECT crt FROM col").fetchone() == (77,)
    assert home.repository.manifest(ids(home)[0]).capture.hot


BAD = {
    "cut.colpkg": lambda good: current(Path("x.colpkg"), good).read_bytes()[:-40],
    "text.colpkg": lambda good: b"no zip",
    "deck.apkg": lambda good: legacy(Path("x.colpkg"), good).read_bytes(),
    "empty.anki2": lambda good: b"",
    "torn.anki2": lambda good: good[:-4096],
    "other.colpkg": lambda good: current(Path("x.colpkg"), b"no collection").read_bytes(),
    "spoilt.anki2": lambda good: good[:4096] + bytes(8192) + good[12288:],
}


def test_what_cannot_be_read_is_named_and_passed_over(home, folder, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = state(1)
    for name, make in BAD.items():
        (folder / name).write_bytes(make(good))
    os.mkfifo(folder / "fifo.anki2")
    (folder / "notes.txt").write_text("not mine")
    (folder / "subfolder.colpkg").mkdir()
    current(folder / "right.colpkg", good)
    adoption = adopt(home, folder, folder / "gone.colpkg")
    told = {Path(result.file).name: result for result in adoption.results}
    failed = {name for name, result in told.items() if result.error}
    assert failed == {*BAD, "gone.colpkg"}
    assert all(str(folder / name) in told[name].error.message for name in failed)
    assert told["right.colpkg"].outcome == "created" and home.is_sound()
    assert {name for name, result in told.items() if result.outcome == "skipped"} == {
        "fifo.anki2",
        "notes.txt",
    }


def test_an_import_that_was_cut_short_goes_on_where_it_was(home, folder, state, monkeypatch):
    for day in range(1, 6):
        current(folder / f"{day}.colpkg", state(day))
    real, calls = chains.put_delta, []

    def full(*given):
        calls.append(given)
        if len(calls) == 3:
            raise StorageError("the disk is full")
        return real(*given)

    monkeypatch.setattr(chains, "put_delta", full)
    adoption = Adoption(home.repository, "home", UTC, Options(threads=1))
    with pytest.raises(StorageError):
        adoption.adopt([folder])
    assert [result.outcome for result in adoption.results] == ["created"] * 3
    assert not (home.root / "cache" / "import.part").exists()
    monkeypatch.undo()
    outcomes = [result.outcome for result in adopt(home, folder).results]
    assert outcomes == ["skipped"] * 3 + ["created"] * 2
    infos = [home.repository.store.info(backup.collection_sha256) for backup in home.repository.backups()]
    assert [info.position for info in infos] == [4, 3, 2, 1, 0] and home.is_sound()


def test_a_damaged_backup_beside_it_is_never_a_base(home, folder, state):
    adopt(home, current(folder / "1.colpkg", state(1)))
    name = home.repository.backups()[0].collection_sha256
    path = home.repository.store.path(name)
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    adoption = adopt(home, current(folder / "2.colpkg", state(2)))
    assert "damaged" in adoption.warnings[0]
    assert home.repository.store.info(adoption.results[0].backup.collection_sha256).position == 0


def test_schemas_from_11_on_are_adopted_and_newer_ones_without_statistics(home, folder, made):
    for version in (11, 14, 15, 16, 17):
        at_schema(version, made, folder / f"{version}.anki2")
    shutil.copy(made, folder / "19.anki2")
    sql(folder / "19.anki2", "UPDATE col SET ver = 19")
    adoption = adopt(home, folder)
    assert {result.outcome for result in adoption.results} == {"created"}
    cards = {
        home.repository.manifest(id).collection_schema: home.repository.find(id).stats.cards
        for id in ids(home)
    }
    assert cards == {11: 24 * 2, 14: 48, 15: 48, 16: 48, 17: 48, 19: None}
    assert "schema 19" in adoption.warnings[0]
    assert home.is_sound()


def test_everything_that_others_made_has_one_line_each_and_no_traceback(run_ankibak, data_dir, tmp_path):
    files = sorted(data_dir.iterdir())
    for what in ([data_dir], files):
        done = run_ankibak("--repository", tmp_path / f"r{len(what)}", "import", "--source", "s", *what)
        assert done.returncode == 3 and "Traceback" not in done.stderr
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        assert [line[0] for line in lines] == [str(file) for file in files]
        outcomes = {Path(line[0]).name: line[1] for line in lines}
        assert outcomes["ki-original.anki2"] == outcomes["schema16.anki2"] == "created"
        assert outcomes["schema3.anki2"] == outcomes["anki12.anki"] == outcomes["video.apkg"] == "failed"
        assert (
            run_ankibak("--repository", tmp_path / f"r{len(what)}", "verify", "--read-data").returncode == 0
        )


def test_the_command_says_what_came_of_each_file(run_ankibak, home, folder, state):
    current(folder / "1.colpkg", state(1))
    config = ("-c", home.config)
    done = run_ankibak(*config, "import", "--dry-run", folder)
    assert done.stdout.split("\t")[1] == "planned" and not home.root.exists()
    done = run_ankibak(*config, "import", folder, "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["backup"]["id"] == "2025-01-02T00-00-00Z" and result["backup"]["origin"] == "import"
    assert (result["outcome"], result["dated_by"], result["error"]) == ("created", "collection", None)
    (folder / "2.colpkg").write_text("bad")
    assert run_ankibak(*config, "import", folder).returncode == 3
    assert run_ankibak(*config, "import", folder / "2.colpkg").returncode == 7
    assert "import" in run_ankibak(*config, "list").stdout.split("\t")[-1]


def test_the_source_is_the_only_one_or_the_one_that_is_named(run_ankibak, home, folder, state):
    current(folder / "1.colpkg", state(1))
    alone = run_ankibak("--repository", home.root, "import", folder)
    assert alone.returncode == 2 and "--source" in alone.stderr
    home.config.write_text(home.config.read_text() + '[sources.work]\nkind = "profile"\npath = "x"\n')
    several = run_ankibak("-c", home.config, "import", folder)
    assert several.returncode == 2 and "home, work" in several.stderr
    assert run_ankibak("-c", home.config, "import", "--source", "No!", folder).returncode == 2
    assert run_ankibak("--repository", home.root, "import", "--source", "old", folder).returncode == 0
    assert ids(home, "old") == ["2025-01-02T00-00-00Z"]


def test_what_anki_writes_as_its_own_backup_comes_back_row_for_row(home, folder, made, tmp_path):
    copy = tmp_path / "copy.anki2"
    shutil.copy(made, copy)
    col = Collection(str(copy))
    assert col.create_backup(backup_folder=str(folder), force=True, wait_for_completion=True)
    cards = col.db.all("SELECT * FROM cards ORDER BY id")
    col.close()
    result = adopt(home, folder, zone=None).results[0]
    assert (result.outcome, result.dated_by) == ("created", "name")
    assert abs(result.created_at.timestamp() - datetime.now(UTC).timestamp()) < 120
    collection_of(home, result.backup.id, tmp_path)
    assert [
        list(row)
        for row in sqlite3.connect(tmp_path / "given.anki2").execute("SELECT * FROM cards ORDER BY id")
    ] == cards
