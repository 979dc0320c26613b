"""The door to Anki's library: copies are opened in a zone, closed whatever happens, errors are ours."""

from __future__ import annotations

import os
import time

import pytest
from anki.collection import Collection

from anki_backup import library
from anki_backup.errors import SourceError


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / "copy.anki2"
    Collection(str(path)).close()
    return path


def test_a_copy_is_opened_and_closed(copy):
    with library.opened(copy) as collection:
        assert collection.note_count() == 0
    assert sorted(path.name for path in copy.parent.glob("copy*")) == ["copy.anki2", "copy.media"]
    with library.opened(copy):
        pass


def test_a_copy_is_closed_when_its_user_fails(copy):
    with pytest.raises(ZeroDivisionError), library.opened(copy):
        1 / 0  # noqa: B018
    with library.opened(copy):
        pass


def test_no_collection_is_made_where_there_is_none(tmp_path):
    with pytest.raises(SourceError, match="there is no collection"), library.opened(tmp_path / "none.anki2"):
        pass
    assert not (tmp_path / "none.anki2").exists()


@pytest.mark.parametrize(
    "data", [b"not a database, but long enough to look", b"SQLite format 3\0" + b"x" * 4096]
)
def test_what_the_library_refuses_is_told_in_our_words(tmp_path, data):
    path = tmp_path / "bad.anki2"
    path.write_bytes(data)
    with (
        pytest.raises(SourceError, match=r"Anki's library can't open bad\.anki2: .") as failure,
        library.opened(path),
    ):
        pass
    assert "\n" not in failure.value.message


def test_what_fails_within_is_told_too(copy):
    with pytest.raises(SourceError, match="can't go on with"), library.opened(copy) as collection:
        collection.get_note(1)


@pytest.mark.parametrize("before", [None, "UTC"])
def test_a_zone_holds_within_and_not_after(monkeypatch, copy, before):
    monkeypatch.delenv("TZ", raising=False)
    if before:
        monkeypatch.setenv("TZ", before)
    offset = time.localtime().tm_gmtoff
    with library.opened(copy, "Asia/Tokyo"):
        assert time.localtime(0).tm_gmtoff == 9 * 3600
    assert (os.environ.get("TZ"), time.localtime().tm_gmtoff) == (before, offset)


def test_the_version_is_written_as_anki_writes_it():
    from importlib.metadata import version

    year, month, point = version("anki").split(".")
    assert library.version() == f"{year}.{month:0>2}.{point}"
