"""Files as people have them: each is kept and given back byte for byte, or refused with one clear sentence.

The real ones were made by others over many years; each has a counterpart made here, which is always tried.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import zipfile
from contextlib import closing
from functools import partial
from hashlib import sha256

import pytest
from anki.collection import Collection

from anki_backup import chains, cli, runs
from anki_backup.baseline import CHANGES_LIMIT
from anki_backup.gather import Options
from anki_backup.header import DELTA
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.verify import verify
from tests.conftest import TEST_DATA
from tests.made_collections import at_schema, sql

REAL = sorted(os.listdir(TEST_DATA)) if TEST_DATA.is_dir() else ["(none)"]
REFUSED = {
    *("schema3.anki2", "schema5.anki2", "anki2-alpha.anki2", "anki12.anki", "README.md"),
    *("media.apkg", "video.apkg", "templates.apkg", "initial_version_2_12_1_corrupt_regular.anki2"),
}
GRAVES = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 9000) SELECT i, 0, 0 FROM n"


@pytest.fixture
def answer(tmp_path, capfd):
    """Return what types a command for a collection: exit code, stdout and stderr."""

    def answer(path, *words):
        quoted = str(path).replace("\\", "\\\\")
        (tmp_path / "config.toml").write_text(
            f'[storage]\nroot = "repository"\n[sources.file]\nkind = "profile"\npath = "{quoted}"\n'
        )
        code = cli.answer(["-c", str(tmp_path / "config.toml"), *words])
        return code, *capfd.readouterr()

    return answer


def is_kept(path, answer, tmp_path):
    """Back a file up, twice, and give it back; all by commands."""
    content = path.read_bytes()
    path.with_suffix(".media").mkdir(exist_ok=True)
    code, out, err = answer(path, "run")
    assert (code, out.split("\t")[1]) == (0, "created"), err
    assert answer(path, "run")[1].split("\t")[1] == "skipped"
    target = tmp_path / "back.anki2"
    code, _, err = answer(path, "export", "latest", "-o", str(target))
    assert (code, err) == (0, "")
    assert target.read_bytes() == content == path.read_bytes()
    for words in (["list"], ["show", "latest", "--decks"], ["verify", "--read-data"]):
        code, _, err = answer(path, *words)
        assert (code, err) == (0, "")


def is_refused(path, answer):
    """Try to back a file up; it ends with one sentence, what to do, and nothing kept."""
    before = sha256(path.read_bytes()).digest()
    code, out, err = answer(path, "run")
    assert (code, out) == (7, "")
    told = [line for line in err.splitlines() if "made a new repository" not in line]
    assert [line.partition(": ")[0] for line in told] == ["ankibak", "hint"]
    assert "Traceback" not in err
    assert len(told[0]) < 300
    assert answer(path, "list")[:2] == (0, "")
    assert sha256(path.read_bytes()).digest() == before


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_is_kept_as_it_is_or_refused(name, data_dir, answer, tmp_path):
    path = tmp_path / name
    shutil.copyfile(data_dir / name, path)
    if name in REFUSED:
        is_refused(path, answer)
    else:
        is_kept(path, answer, tmp_path)


def test_versions_of_a_real_collection_are_all_given_back(data_dir, tmp_path):
    repository, path = Repository.create(tmp_path / "repository"), tmp_path / "collection.anki2"
    states = []
    for name in ("original", "edited", "deleted", "original"):
        shutil.copyfile(data_dir / f"ki-{name}.anki2", path)
        states.append((runs.back_up(repository, Profile("home", path), Options()).backup, path.read_bytes()))
    assert all_given_back(repository, states, tmp_path)


def package(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("collection.anki2", b"SQLite format 3\0")
        archive.writestr("media", b"{}")


def torn(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\x07" * 3 * 4096)


def new(path):
    path.unlink()
    Collection(str(path)).close()


KEPT = {
    **{f"schema {number}": None for number in (11, 14, 15, 16, 17, 18)},
    "schema 250": lambda path: sql(path, "UPDATE col SET ver = 250"),
    "new": new,
    "many graves": lambda path: sql(path, f"INSERT INTO graves (oid, type, usn) {GRAVES}"),
    "Korean": lambda path: sql(path, "UPDATE notes SET flds = '한국어 ' || flds, tags = ' 한국어::동사 '"),
    "another page size": lambda path: sql(path, "PRAGMA page_size=1024", "VACUUM"),
    "an index more": lambda path: sql(path, "CREATE INDEX addon ON notes (mod)", "CREATE TABLE other (a)"),
    "odd JSON": lambda path: sql(path, "UPDATE col SET conf = '{', models = '[1]', decks = 'x'"),
    "text for numbers": lambda path: sql(path, "UPDATE cards SET due = 'tomorrow', did = 'x'"),
}
TURNED_AWAY = {
    "schema 3": lambda path: sql(path, "UPDATE col SET ver = 3"),
    "Anki 1": lambda path: (path.unlink(), sql(path, "CREATE TABLE facts (id)", "CREATE TABLE decks (id)")),
    "a package": package,
    "half a package": lambda path: path.write_bytes(b"PK\3\4" + bytes(100)),
    "torn pages": torn,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "cut in a page": lambda path: os.truncate(path, path.stat().st_size - 100),
    "a page more": lambda path: path.open("ab").write(bytes(4096)),
    "empty": lambda path: os.truncate(path, 0),
    "one empty page": lambda path: (path.unlink(), sql(path, "PRAGMA user_version=1")),
    "a text": lambda path: path.write_text("# Real Anki files\n" * 100),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "no row in col": lambda path: sql(path, "DELETE FROM col"),
    "no notes": lambda path: sql(path, "DROP TABLE notes"),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_made_file_is_kept_as_it_is(name, made, answer, tmp_path):
    path = tmp_path / "collection.anki2"
    if KEPT[name]:
        shutil.copy(made, path)
        KEPT[name](path)
    else:
        at_schema(int(name.split()[1]), made, path)
    is_kept(path, answer, tmp_path)


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_a_made_file_is_refused(name, made, answer, tmp_path):
    path = tmp_path / "collection.anki2"
    shutil.copy(made, path)
    TURNED_AWAY[name](path)
    is_refused(path, answer)


def all_given_back(repository, states, tmp_path):
    for backup, content in states:
        repository.restore_collection(backup.id, tmp_path / "back.anki2")
        assert (tmp_path / "back.anki2").read_bytes() == content
    return verify(repository, [], read_data=True).findings == []


def live(made, tmp_path, hours, threads=1):
    """Back up after each of many changes, given as functions; return the repository and the states."""
    path = tmp_path / "collection.anki2"
    shutil.copy(made, path)
    states = []
    for change in hours:
        change(path)
        repository = Repository.create(tmp_path / "repository")
        result = runs.back_up(repository, Profile("home", path), Options(threads=threads))
        assert result.error is None
        states.append((result.backup, path.read_bytes()))
    return repository, states


def change(path, statement):
    sql(path, statement)


def test_seventy_backups_come_back_each_in_a_bounded_number_of_steps(made, tmp_path):
    first = "(SELECT id FROM notes LIMIT 1 OFFSET {})"
    hours = [
        f"UPDATE notes SET flds = flds || {hour} WHERE id = {first.format(hour % 24)}" for hour in range(70)
    ]
    repository, states = live(made, tmp_path, [partial(change, statement=hour) for hour in hours])
    assert all_given_back(repository, states, tmp_path)
    found = [chains.ancestry(repository.store, backup.collection_sha256) for backup, _ in states]
    assert [chain[0].position for chain in found] == list(range(70))
    assert max(map(len, found)) == 64
    assert sum(backup.stored_bytes for backup, _ in states) / 70 < 4000


def put_notes(path, first, count, fill):
    """Add notes with 4 KB of text each, behind Anki's back."""
    rows = [(first + number, f"g{first + number}", fill(first + number)) for number in range(count)]
    with closing(sqlite3.connect(path)) as db:
        db.executemany("INSERT INTO notes VALUES (?, ?, 1, 1, 0, '', ?, 0, 0, 0, '')", rows)
        db.commit()


def noise(number):
    return random.Random(number).randbytes(2000).hex()


def words(number):
    return f"word {number} " * 400


@pytest.mark.parametrize("threads", [1, 2])
def test_a_collection_that_grows_and_shrinks_by_thousands_of_pages_stays_exact(threads, made, tmp_path):
    hours = [
        lambda path: sql(path, "PRAGMA page_size=512", "VACUUM"),
        lambda path: put_notes(path, 1, 1200, noise),
        lambda path: put_notes(path, 10_000, 300, words),
        lambda path: sql(path, "DELETE FROM notes WHERE id BETWEEN 10000 AND 10240"),
        lambda path: sql(path, "UPDATE cards SET reps = reps + 1", "VACUUM"),
        lambda path: sql(path, "DELETE FROM notes WHERE id BETWEEN 5 AND 900", "VACUUM"),
        lambda path: put_notes(path, 20_000, 3, words),
    ]
    repository, states = live(made, tmp_path, hours, threads)
    assert all_given_back(repository, states, tmp_path)
    grown, shrunk = (repository.store.info(states[hour][0].collection_sha256) for hour in (2, 4))
    assert (len(states[2][1]) - len(states[1][1])) // 512 > CHANGES_LIMIT
    assert (grown.kind, shrunk.kind) == (DELTA, DELTA)
