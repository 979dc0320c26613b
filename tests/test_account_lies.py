"""A server that says what is not so, or is not what it was: the mirror gets right, and sends nothing."""

from __future__ import annotations

import http.client
import io
import json
import sqlite3
import zipfile
from contextlib import closing

import pytest
import zstandard

from tests.accounts import home
from tests.fuzz.spoiled import collection_after
from tests.sync_server import PASSWORD, USER, phone, sync_server

__all__ = ["home", "phone", "sync_server"]


def told(home, path, lie):
    """Have the answers of a path say something else, from now on."""

    def spoil(asked, answer):
        if asked != path:
            return answer
        return answer.of(json.dumps(lie(json.loads(answer.message))).encode())

    home.proxy.spoil = spoil


def asked(server, path, body, key=""):
    """Ask a server as a device does, and return what it says."""
    header = json.dumps({"v": 11, "k": key, "c": "an old device", "s": ""})
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("POST", path, zstandard.compress(body), {"anki-sync": header})
        answer = connection.getresponse()
        said = zstandard.ZstdDecompressor().decompressobj().decompress(answer.read())
    assert answer.status == 200, said
    return said


def put_media(server, name, data):
    """Put a file into the account as an old device may have: under a name of any kind."""
    key = json.loads(asked(server, "/sync/hostKey", json.dumps({"u": USER, "p": PASSWORD}).encode()))["key"]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        target.writestr("0", data)
        target.writestr("_meta", json.dumps([[name, "0"]]))
    asked(server, "/msync/uploadChanges", made.getvalue(), key)


def truthful(home):
    home.proxy.spoil = lambda path, answer: answer


@pytest.mark.parametrize("name", ["what?.jpg", "con.jpg", "x" * 200 + ".jpg"])
def test_a_file_whose_name_anki_would_change_is_kept_and_left_alone_at_the_account(
    home, phone, sync_server, name
):
    home.sync()
    home.agrees()
    put_media(sync_server, name, b"from an old device")
    before = home.state()
    home.sync()
    assert home.state() == before
    files = {path.read_bytes() for path in (home.mirror / "collection.media").iterdir()}
    assert files == {b"from an old device", b"a picture"}
    home.proxy.seen.clear()
    home.sync()
    assert home.proxy.paths == ["/sync/meta"]
    put_media(sync_server, "later.jpg", b"later")
    home.sync()
    assert (home.mirror / "collection.media" / "later.jpg").read_bytes() == b"later"
    assert home.state()[1].keys() == before[1].keys() | {"later.jpg"}


def test_a_file_that_appears_during_a_sync_is_never_sent(home, phone, monkeypatch):
    # The wall behind the first: what if the folder changes after it was looked at?
    home.sync()
    stray = home.mirror / "collection.media" / "stray.jpg"
    monkeypatch.setattr(
        "anki_backup.mirror.Mirror.settle_media", lambda *_, **__: bool(stray.write_bytes(b"x"))
    )
    phone.picture("new.jpg", b"new")
    phone.sync()
    with pytest.raises(Exception, match="media"):
        home.sync()
    monkeypatch.undo()
    home.sync()
    home.agrees()


@pytest.mark.parametrize("too_far", [2, 10**6])
def test_a_server_that_once_counted_too_far_loses_no_later_change(home, phone, too_far):
    note = phone.add("a note")
    phone.sync()
    home.sync()
    phone.add("one more")
    phone.sync()
    told(home, "/sync/meta", lambda meta: meta | {"usn": meta["usn"] + too_far})
    home.sync()
    truthful(home)
    home.sync()
    home.agrees()
    phone.edit(note, "which would be missed: the server counts only how many there are")
    phone.sync()
    home.sync()
    home.agrees()


def test_a_server_that_told_of_no_new_media_is_asked_again(home, phone):
    phone.picture("old.jpg", b"old")
    phone.sync(media=True)
    home.sync()
    phone.picture("new.jpg", b"new")
    phone.sync(media=True)
    told(home, "/msync/begin", lambda said: said | {"data": said["data"] | {"usn": said["data"]["usn"] - 1}})
    home.sync()
    truthful(home)
    home.sync()
    home.agrees()


def test_a_server_that_once_counted_media_too_far_loses_no_later_change(home, phone):
    phone.picture("old.jpg", b"old")
    phone.sync(media=True)

    def further(said):
        return said | {"data": [[name, usn + 5, sha1] for name, usn, sha1 in said["data"]]}

    told(home, "/msync/mediaChanges", further)
    home.sync()
    truthful(home)
    phone.change_picture("old.jpg", b"new")
    phone.sync(media=True)
    home.sync()
    home.agrees()


def test_a_collection_that_the_library_can_store_but_not_read_is_fetched_afresh(home, phone):
    phone.add("a note")
    phone.sync()

    def spoil(asked, answer):
        if asked != "/sync/download":
            return answer
        return answer.of(collection_after(answer.message, "update col set crt = 'x'"))

    home.proxy.spoil = spoil
    home.sync()
    truthful(home)
    # What the library doesn't look at goes unseen until there is news.
    phone.add("another")
    phone.sync()
    home.sync()
    home.agrees()


def test_a_server_that_was_put_back_to_an_older_state_is_fetched_afresh(home, phone, sync_server, tmp_path):
    note = phone.add("a note")
    phone.sync()
    kept = tmp_path / "kept"
    sync_server.stop()
    sync_server.copy_of(kept)
    sync_server.start()
    for number in range(9):
        phone.edit(note, f"late {number}")
        phone.sync()
    home.sync()
    home.agrees()
    sync_server.stop()
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(sync_server.collection())) as now:
        old.backup(now)
    sync_server.start()
    home.proxy.seen.clear()
    home.account().look()
    home.agrees()
    # To a server that is older than the mirror, the library tells the settings of the collection.
    (sent,) = home.proxy.sent()
    assert [name for name, value in sent.said["changes"].items() if value not in ([], [[], []])] == [
        "conf",
        "crt",
    ]


def test_a_server_that_does_not_agree_on_the_media_is_asked_once_more_from_the_start(
    home, phone, sync_server
):
    home.sync()
    put_media(sync_server, "a.jpg", b"a picture")
    doubts = iter(["mediaSanity"])
    told(home, "/msync/mediaSanity", lambda said: {**said, "data": next(doubts, said["data"])})
    home.sync()
    assert next(doubts, None) is None, "it was in doubt once"
    assert (home.mirror / "collection.media" / "a.jpg").read_bytes() == b"a picture"
