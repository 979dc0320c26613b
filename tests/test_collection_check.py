"""What `collection.check` promises: what is no whole collection is refused, in one clear clause."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from anki_backup import collection
from anki_backup.errors import SourceError
from tests.made_collections import make_varied, sql

REFUSED = {
    "anki12.anki": "is a deck of Anki 1",
    "anki2-alpha.anki2": "has schema 1, which is older than schema 11",
    "schema3.anki2": "has schema 3, which is older than schema 11",
    "schema5.anki2": "has schema 5, which is older than schema 11",
    "initial_version_2_12_1_corrupt_regular.anki2": "is damaged: it has 69011 bytes",
    "media.apkg": "is no collection",
    "templates.apkg": "is no collection",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_varied(tmp_path_factory.mktemp("whole") / "collection.anki2")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "collection.anki2"))


def assert_refused(path: Path, clause: str, *, thorough: bool = False) -> None:
    with pytest.raises(SourceError) as caught:
        collection.check(path, thorough=thorough)
    assert clause in caught.value.message
    assert "\n" not in caught.value.message.replace(str(path), "")
    assert caught.value.exit_code == 7
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_no_good_collections_are_refused(name: str, data_dir: Path) -> None:
    if not (data_dir / name).exists():
        pytest.skip(f"{name} is not among the real files")
    assert_refused(data_dir / name, REFUSED[name])


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "is not a regular file")
    assert_refused(tmp_path, "is not a regular file")
    assert_refused(tmp_path / "nothing", "can't be read: No such file")
    assert not (tmp_path / "nothing").exists()


def cut(number: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:number]


@pytest.mark.parametrize(
    ("spoil", "clause"),
    [
        (cut(0), "is empty"),
        (cut(16), "has no header of SQLite"),
        (cut(100), "is damaged: it has 100 bytes"),
        (cut(4096), "is damaged: it has 4096 bytes"),
        (cut(-4096), "is damaged: it has"),
        (cut(-1), "is damaged: it has"),
        (lambda data: data + bytes(4096), "is damaged: it has"),
        (lambda data: random.Random(1).randbytes(len(data)), "has no header of SQLite"),
        (lambda data: data[:16] + b"\x0f\xff" + data[18:], "its pages can't be of 4095 bytes"),
        (lambda data: data[:100] + bytes(3996) + data[4096:], "is damaged"),
        (lambda data: data[:8192] + bytes(4096) + data[12288:], "is damaged"),
        (lambda data: data[:100] + random.Random(1).randbytes(len(data) - 100), "is damaged"),
    ],
)
def test_bytes_that_are_no_whole_collection_are_refused(
    copy: Path, spoil: Callable[[bytes], bytes], clause: str
) -> None:
    copy.write_bytes(spoil(copy.read_bytes()))
    assert_refused(copy, clause)


@pytest.mark.parametrize(
    ("statement", "clause"),
    [
        ("DROP TABLE col", "it has no table col"),
        ("DELETE FROM col", "its table col is empty"),
        ("UPDATE col SET ver = 10", "has schema 10, which is older than schema 11"),
        ("UPDATE col SET ver = 'x'", "has schema 0, which is older than schema 11"),
        ("DROP TABLE notes", "it has no table notes"),
        ("ALTER TABLE revlog RENAME TO logrev", "it has no table revlog"),
    ],
)
def test_a_database_that_is_no_collection_is_refused(copy: Path, statement: str, clause: str) -> None:
    sql(copy, statement)
    assert_refused(copy, clause)


def test_views_in_place_of_tables_are_refused(copy: Path) -> None:
    sql(copy, "ALTER TABLE cards RENAME TO c", "CREATE VIEW cards AS SELECT * FROM c")
    assert_refused(copy, "it has no table cards")


def test_an_index_that_lacks_rows_is_found_by_the_thorough_check(copy: Path) -> None:
    index = "name = 'ix_cards_nid'"
    columns = "type, name, tbl_name, rootpage, sql"
    sql(
        copy,
        "PRAGMA writable_schema=ON",
        f"CREATE TABLE aside AS SELECT {columns} FROM sqlite_schema WHERE {index}",
        f"DELETE FROM sqlite_schema WHERE {index}",
    )
    sql(copy, "UPDATE cards SET nid = 1 WHERE id = (SELECT max(id) FROM cards)")
    sql(
        copy,
        "PRAGMA writable_schema=ON",
        f"INSERT INTO sqlite_schema ({columns}) SELECT {columns} FROM aside",
        "DROP TABLE aside",
    )
    assert collection.check(copy, thorough=False) == 18
    assert_refused(copy, "missing from index ix_cards_nid", thorough=True)
