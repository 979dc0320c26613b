"""What a rollback makes ready: a disk that refuses is told as such, and not as a damaged backup."""

from __future__ import annotations

import apsw
import pytest

from anki_backup import staging
from anki_backup.errors import DamageError, StorageError
from tests.made_collections import make_varied


@pytest.mark.parametrize("refusal", [apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.ReadOnlyError])
def test_what_the_disk_refuses_is_no_damage(tmp_path, monkeypatch, refusal):
    def refuse(*args, **more):
        raise refusal("the disk refuses")

    path = make_varied(tmp_path / "collection.anki2")
    monkeypatch.setattr(apsw, "Connection", refuse)
    with pytest.raises(StorageError, match=r"can't write .*collection\.anki2: the disk refuses"):
        staging.mark_schema(path)


def test_a_place_that_cant_be_opened_is_no_damage_either(tmp_path):
    with pytest.raises(StorageError, match="unable to open"):
        staging.mark_schema(tmp_path / "gone" / "collection.anki2")


def test_what_is_no_collection_is_damage(tmp_path):
    path = tmp_path / "collection.anki2"
    path.write_bytes(b"SQLite format 3\0" + bytes(4080))
    with pytest.raises(DamageError, match="can't be opened"):
        staging.mark_schema(path)
