"""The profile source: one consistent moment of a collection, whose own files stay as they are."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.made_collections import at_schema, sql

STUDY = """
import sys
from anki.collection import Collection
col = Collection(sys.argv[1])
wanted = True
while wanted:
    note = col.new_note(col.models.by_name("Basic"))
    note["Front"] = "while Anki is open"
    col.add_note(note, 1)
    print("done", flush=True)
    wanted = sys.stdin.readline()
col.close()
"""
WRITE_AND_DIE = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""
WAL = "PRAGMA journal_mode=WAL"
ADD_30 = [f"INSERT INTO graves (oid, type, usn) VALUES ({n}, 1, 0)" for n in range(7001, 7031)]
ADDED = "SELECT * FROM graves WHERE oid > 7000"
ODD_NAMES = [b"what?mode=memory", b"a#fragment", b"100%25 %", b"new\nline", b"\xff\xfe latin", b"-rf"]


@pytest.fixture
def home(tmp_path, made):
    """A profile's folder, its collection closed, with one picture."""
    folder = tmp_path / "User 1"
    (folder / "collection.media").mkdir(parents=True)
    (folder / "collection.media" / "cat.jpg").write_bytes(b"a picture")
    shutil.copy(made, folder / "collection.anki2")
    return folder


@pytest.fixture
def repository(tmp_path):
    return Repository.create(tmp_path / "repository")


def footprint(folder):
    """All that can be seen of a folder: its own time tells even of a file that came and went."""
    paths = [folder, *folder.rglob("*")]
    times = {path: (os.lstat(path).st_mtime_ns, os.lstat(path).st_ctime_ns) for path in paths}
    return times, [path.read_bytes() for path in paths if path.is_file()]


def back_up(repository, path):
    """Run once; the folder of what was named must be just as it was."""
    source = Profile("home", path)
    before = footprint(source.collection.parent)
    result = runs.back_up(repository, source, Options(threads=1))
    assert footprint(source.collection.parent) == before
    return result


def given_back(repository, result, tmp_path):
    assert result.error is None
    path = tmp_path / "given back.anki2"
    repository.restore_collection(result.backup.id, path)
    return path


def rows(path, query="SELECT id, flds, mod FROM notes ORDER BY id"):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def die_after(path, *statements):
    done = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, path, *statements], check=False)
    assert done.returncode == -9


class Studying:
    """Anki, open in another process, with a note added; each `add_note` adds one more there."""

    def __init__(self, path):
        words = [sys.executable, "-c", STUDY, path]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "done\n"

    def add_note(self):
        print("more", file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=30)


def test_a_closed_profile_is_given_back_byte_for_byte_and_left_as_it_was(home, repository, tmp_path, made):
    result = back_up(repository, home)
    assert given_back(repository, result, tmp_path).read_bytes() == made.read_bytes()
    assert not repository.manifest(result.backup.id).capture.hot


# The last two are a user's folder of a sync server, and a collection by another name.
@pytest.mark.parametrize("named", ["", "collection.anki2", "../User 1/.", "@media", "old.anki2"])
@pytest.mark.parametrize("linked", [False, True], ids=["", "linked"])
def test_a_folder_or_a_collection_may_be_named_or_linked(named, linked, home, repository, tmp_path):
    named, _, server = named.partition("@")
    collection = home / (named if named == "old.anki2" else "collection.anki2")
    (home / "collection.anki2").rename(collection)
    (home / "collection.media").rename(home / server if server else collection.with_suffix(".media"))
    (tmp_path / "link").symlink_to(home / named)
    backup = back_up(repository, tmp_path / "link" if linked else home / named).backup
    assert backup.media_files == 1
    assert repository.manifest(backup.id).capture.path == str(collection)


def make_socket(path):  # a short one: there is a limit of 107 bytes
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)


@pytest.mark.parametrize("name", ["collection.anki2", "collection.anki2-wal", "collection.anki2-journal"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, make_socket, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_is_refused_at_once(name, make, home, repository, monkeypatch):
    monkeypatch.chdir(home)
    (home / name).unlink(missing_ok=True)
    make(name)
    start = time.monotonic()
    assert back_up(repository, home).error.exit_code == 7
    assert time.monotonic() - start < 2
    assert repository.runs()[0].outcome == "failed"


@pytest.mark.parametrize("named", ["/dev/null", "/dev/zero", "missing", "missing.anki2", "cat.jpg/below"])
def test_a_device_is_refused_and_where_nothing_is_nothing_appears(named, home, repository):
    path, before = home / "collection.media" / named, footprint(home)
    error = runs.back_up(repository, Profile("home", path), Options()).error
    assert (error.exit_code, str(path) in error.message) == (7, True)
    assert footprint(home) == before


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("hot", [False, True], ids=["closed", "hot"])
def test_no_name_of_a_folder_leads_to_another_file(name, hot, home, tmp_path, made):
    folder = home.rename(tmp_path / os.fsdecode(name))
    repository = Repository.create(folder / "repository" / os.fsdecode(name))
    if hot:
        die_after(folder / "collection.anki2", WAL, *ADD_30)
    result = runs.back_up(repository, Profile("home", folder), Options(threads=1))
    back = given_back(repository, result, tmp_path)
    assert rows(back) == rows(made)
    assert len(rows(back, ADDED)) == (30 if hot else 0)
    assert repository.manifest(result.backup.id).capture.hot == hot


@pytest.mark.parametrize("locking", ["normal", "exclusive"])
def test_what_a_killed_writer_left_in_the_wal_is_in_the_backup(locking, home, repository, tmp_path):
    die_after(home / "collection.anki2", f"PRAGMA locking_mode={locking}", WAL, *ADD_30)
    result = back_up(repository, home)
    assert len(rows(given_back(repository, result, tmp_path), ADDED)) == 30
    wal = home / "collection.anki2-wal"
    assert repository.manifest(result.backup.id).capture.wal_bytes == wal.stat().st_size
    assert back_up(repository, home).run.reason == "unchanged"


def test_what_a_killed_anki_left_in_the_wal_is_in_the_backup(home, repository, tmp_path):
    with Studying(home / "collection.anki2") as anki:
        anki.add_note()
        anki.process.kill()
    assert (home / "collection.anki2-wal").stat().st_size
    assert len(rows(given_back(repository, back_up(repository, home), tmp_path))) == 26


def test_a_transaction_that_a_crash_cut_off_is_not_in_the_backup(home, repository, tmp_path, made):
    spoil = "UPDATE notes SET flds = hex(randomblob(500))"
    collection = home / "collection.anki2"
    die_after(collection, "PRAGMA journal_mode=DELETE", "PRAGMA cache_size=2", "BEGIN", spoil)
    assert collection.read_bytes() != made.read_bytes()
    assert rows(given_back(repository, back_up(repository, home), tmp_path)) == rows(made)


def test_a_wal_of_another_time_is_taken_as_sqlite_takes_it_with_a_warning(home, repository, tmp_path):
    collection, wal = home / "collection.anki2", home / "collection.anki2-wal"
    die_after(collection, WAL, "UPDATE notes SET flds = 'old'")
    stale = wal.read_bytes()
    with closing(sqlite3.connect(collection)) as db:
        db.execute("UPDATE notes SET flds = 'newer' || id")
        db.commit()
    wal.write_bytes(stale)
    os.utime(wal, (1_700_000_000, 1_700_000_000))
    for side in ("", "-wal"):
        shutil.copy(f"{collection}{side}", f"{tmp_path / 'seen.anki2'}{side}")
    result = back_up(repository, home)
    assert rows(given_back(repository, result, tmp_path)) == rows(tmp_path / "seen.anki2")
    assert "newer than its WAL" in " ".join(result.warnings)
    assert repository.manifest(result.backup.id).capture.wal_bytes == len(stale)


def test_a_backup_while_anki_is_open_has_its_last_edit_and_anki_goes_on(home, repository, tmp_path):
    with Studying(home / "collection.anki2") as anki:
        assert len(rows(given_back(repository, back_up(repository, home), tmp_path))) == 25
        assert back_up(repository, home).run.reason == "unchanged"
        anki.add_note()
        assert len(rows(given_back(repository, back_up(repository, home), tmp_path))) == 26
    assert anki.process.returncode == 0
    assert len(rows(home / "collection.anki2")) == 26
    assert back_up(repository, home).run.reason == "unchanged"


@pytest.mark.parametrize("size", [0, 20480])
def test_damage_in_an_open_collection_is_not_told_of_our_copy(size, home, repository):
    die_after(home / "collection.anki2", WAL, *ADD_30)
    os.truncate(home / "collection.anki2", size)
    error = back_up(repository, home).error
    assert (error.exit_code, ".part" in error.message) == (7, False)


@pytest.mark.parametrize("times", [3, 1000], ids=["for a while", "for ever"])
@pytest.mark.parametrize("hot", [False, True], ids=["closed", "hot"])
def test_a_file_that_keeps_changing_is_tried_a_few_times(hot, times, home, repository, monkeypatch):
    if hot:
        die_after(home / "collection.anki2", WAL, *ADD_30)
    pauses, changes = [], iter(range(times))

    def restless(real):
        def read(fd, *args):
            data = real(fd, *args)
            ours = os.path.samestat(os.fstat(fd), os.stat(home / "collection.anki2"))
            if ours and (number := next(changes, None)) is not None:
                os.utime(fd, ns=(number, number))
            return data

        return read

    for name in ("read", "pread"):
        monkeypatch.setattr(os, name, restless(getattr(os, name)))
    monkeypatch.setattr(time, "sleep", pauses.append)
    result = runs.back_up(repository, Profile("home", home), Options(threads=1))
    assert 0 < len(pauses) < 6
    assert sum(pauses) < 3
    if times == 1000:
        assert (result.backup, result.error.exit_code) == (None, 7)
        assert "kept changing" in result.error.message
        assert "Close Anki" in result.error.hint
        monkeypatch.undo()
        result = back_up(repository, home)
    assert result.backup.stats.notes == 24


@pytest.mark.parametrize("version", [1, 10, 11, 14, 15, 16, 17, 18, 19, 250])
def test_every_schema_from_11_on_is_kept(version, home, repository, tmp_path, made):
    collection = at_schema(min(version, 18), made, home / "collection.anki2")
    sql(collection, f"UPDATE col SET ver = {version}")
    result = back_up(repository, home)
    if version < 11:
        assert (result.error.exit_code, repository.backups()) == (7, [])
        return
    assert given_back(repository, result, tmp_path).read_bytes() == collection.read_bytes()
    assert result.backup.collection_schema == version
    assert result.backup.stats.notes == (24 if version < 19 else None)
    assert any("newer" in warning for warning in result.warnings) == (version > 18)


@pytest.mark.parametrize("page_size", [512, 1024, 8192, 65536])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_every_page_size_and_both_headers_come_back(page_size, mode, home, repository, tmp_path):
    collection = home / "collection.anki2"
    sql(collection, f"PRAGMA page_size={page_size}", "VACUUM", f"PRAGMA journal_mode={mode}")
    assert collection.read_bytes()[18] == (2 if mode == "WAL" else 1)
    for text in ("one", "another"):
        with closing(sqlite3.connect(collection)) as db:
            db.execute("UPDATE notes SET flds = ? || flds WHERE id % 5 = 0", [text])
            db.commit()
        result = back_up(repository, home)
        assert given_back(repository, result, tmp_path).read_bytes() == collection.read_bytes()
