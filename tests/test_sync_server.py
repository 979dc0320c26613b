"""The server and the devices of the tests do what Anki's do."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
from anki.errors import SyncError

from tests.sync_server import PASSWORD, USER, Client, SyncServer, phone, sync_server

__all__ = ["phone", "sync_server"]


def test_two_devices_see_the_same(sync_server, phone, tmp_path):
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        desktop.sync()
        assert desktop.col.note_count() == 10
        assert (tmp_path / "desktop" / "collection.media" / "cat.jpg").read_bytes() == b"a picture"
        assert phone.study(2, deck="Español::Verbos") == 2
        added = phone.add("new")
        phone.change_picture("cat.jpg", b"another picture")
        phone.sync()
        desktop.sync()
        assert desktop.col.get_note(added)["Front"] == "new"
        assert desktop.col.db.scalar("select count(*) from revlog") == 2
        assert (tmp_path / "desktop" / "collection.media" / "cat.jpg").read_bytes() == b"another picture"
        desktop.edit(added, "edited")
        desktop.remove_picture("cat.jpg")
        desktop.delete_deck("Español")
        desktop.sync()
        phone.sync()
        assert phone.col.note_count() == 1
        assert phone.col.get_note(added)["Back"] == "edited"
        assert not (tmp_path / "phone" / "collection.media" / "cat.jpg").exists()


def test_the_server_keeps_its_data_and_address_over_a_restart(sync_server, phone, tmp_path):
    url = sync_server.url
    sync_server.restart()
    assert sync_server.url == url
    phone.sync()
    with closing(sqlite3.connect(sync_server.copy_of(tmp_path / "copy.anki2"))) as db:
        assert db.execute("select count(*) from notes").fetchone() == (10,)
    assert [path.read_bytes() for path in sync_server.media().iterdir()] == [b"a picture"]


def test_a_wrong_password_is_refused(sync_server, tmp_path):
    with pytest.raises(SyncError):
        Client(tmp_path / "stranger", sync_server.url, password=PASSWORD + "!")


def test_users_have_accounts_of_their_own(tmp_path):
    started = time.monotonic()
    users = {USER: PASSWORD, "bob": "another"}
    with (
        SyncServer(tmp_path / "server", users) as server,
        Client(tmp_path / "ann", server.url) as ann,
        Client(tmp_path / "bob", server.url, "bob", "another") as bob,
    ):
        ann.add("of ann")
        ann.upload()
        bob.sync()
        assert bob.col.note_count() == 0
    assert server.process is None
    assert time.monotonic() - started < 15
