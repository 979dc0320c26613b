"""Something became much smaller: what its delta drops is more than a frame may refer to."""

from __future__ import annotations

import shutil
import sqlite3
from hashlib import sha256

import pytest

from anki_backup import deltas, deposit
from anki_backup.header import DELTA
from anki_backup.model import MediaFile
from tests.homes import Home
from tests.made_collections import fold, sql

GROW = (
    "INSERT INTO notes SELECT 1, 'large', mid, 0, 0, '', randomblob(70 << 20), 0, 0, 0, '' FROM notes LIMIT 1"
)


def vacuum(path):
    with sqlite3.connect(path, isolation_level=None) as db:
        db.create_collation("unicase", fold)
        db.execute("VACUUM")
    db.close()


@pytest.mark.parametrize("how", ["its end went", "another one came"])
def test_a_collection_that_lost_more_than_a_frame_may_refer_to_is_kept_as_a_delta(tmp_path, made, how):
    home = Home(tmp_path, made)
    vacuum(home.collection)
    small = shutil.copy(home.collection, tmp_path / "small")
    if how == "another one came":
        sql(
            small, "UPDATE notes SET flds = hex(randomblob(900))", "UPDATE cards SET due = abs(random() % 99)"
        )
        vacuum(small)
    assert home.run(GROW).backup
    shutil.copy(small, home.collection)
    for number in range(2):
        backup = home.run(
            f"UPDATE notes SET tags = 'x{number}' WHERE id = (SELECT max(id) FROM notes)"
        ).backup
        assert home.given_back(backup) == home.collection.read_bytes()
        assert home.repository.store.info(backup.collection_sha256).kind == DELTA
        assert backup.stored_bytes < 200_000
    assert home.is_sound()


def test_a_list_of_media_that_lost_more_is_told_by_what_stayed(tmp_path, made, monkeypatch):
    monkeypatch.setattr(deltas, "FRAME_LIMIT", 30_000)
    home = Home(tmp_path, made)
    home.run()
    store, files = (
        home.repository.store,
        [MediaFile(b"%03d.jpg" % at, 1, 1, sha256(b"%d" % at).hexdigest()) for at in range(900)],
    )
    before = deposit.put_list(store, files, None)
    files = files[::3]
    after = deposit.put_list(store, files, before)
    assert store.info(after).base == before
    assert deposit.chains.read(store, after) == deposit.medialist.pack_list(files)


def test_no_delta_has_a_table_that_readers_refuse(tmp_path, made, monkeypatch):
    home = Home(tmp_path, made)
    home.run()
    monkeypatch.setattr(deltas, "TABLE_LIMIT", 2)
    (home.folder / "collection.media" / "dog.jpg").write_bytes(b"a dog")
    backup = home.run("UPDATE notes SET tags = 'x'").backup
    found = {home.repository.store.info(name).kind for name in home.repository.store.names()}
    assert DELTA not in found and home.given_back(backup) == home.collection.read_bytes()


def test_a_delta_that_does_not_give_back_what_it_stands_for_is_not_kept(tmp_path, made, monkeypatch):
    home = Home(tmp_path, made)
    home.run()
    compress = deltas.compress
    monkeypatch.setattr("anki_backup.pages.compress", lambda new, before=None: compress(new[::-1], before))
    result = home.run("UPDATE notes SET tags = 'x'")
    backup = result.backup
    assert home.repository.store.info(backup.collection_sha256).kind != DELTA
    assert (
        result.warnings == (deposit.UNPROVEN,)
        and home.given_back(backup) == home.collection.read_bytes()
        and home.is_sound()
    )
