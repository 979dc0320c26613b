"""An account can't be harmed: whatever became of the mirror, nothing goes up, and the server keeps it all.

Every request passes a recording proxy; `Home.sync` asserts that none carried anything.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from anki.collection import Collection

import anki_backup
from anki_backup.errors import AnkibakError
from anki_backup.sources.ankiweb import Account
from tests.accounts import home
from tests.sync_proxy import CARRIERS, UPLOADS, Fault
from tests.sync_server import Client, phone, sync_server

__all__ = ["home", "phone", "sync_server"]

PICTURES = {f"picture {number}.jpg": bytes([number]) * 1000 for number in range(10)}


@pytest.fixture
def synced(home, phone):
    """Return an account with ten pictures, synced once."""
    for name, data in PICTURES.items():
        phone.picture(name, data)
    phone.sync()
    home.sync()
    home.agrees()
    return home


def folder(home):
    return home.mirror / "collection.media"


def emptied(home):
    for path in folder(home).iterdir():
        path.unlink()


def lost(home):
    shutil.rmtree(folder(home))


def lost_and_made_anew(home):
    shutil.rmtree(folder(home))
    folder(home).mkdir()


def linked(home):
    folder(home).rename(home.mirror / "elsewhere")
    folder(home).symlink_to("elsewhere")


def less_one(home):
    (folder(home) / "picture 7.jpg").unlink()


def with_a_stray(home):
    (folder(home) / "stray.jpg").write_bytes(b"not of the account")


def with_a_folder(home):
    (folder(home) / "sub").mkdir()


def edited(home):
    (folder(home) / "picture 7.jpg").write_bytes(b"edited")


def renamed(home):
    (folder(home) / "picture 7.jpg").rename(folder(home) / "picture 77.jpg")


def rotten(home):
    path = folder(home) / "picture 7.jpg"
    state = path.stat()
    with open(path, "r+b") as file:
        file.write(b"rot")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def touched(home):
    os.utime(folder(home), (0, 0))


def without_its_list(home):
    (home.mirror / "collection.media.db2").unlink()


def with_a_list_to_send(home):
    with closing(sqlite3.connect(home.mirror / "collection.media.db2")) as db, db:
        db.execute("update media set dirty = 1 where fname = 'picture 7.jpg'")


def with_a_deletion_to_send(home):
    with closing(sqlite3.connect(home.mirror / "collection.media.db2")) as db, db:
        db.execute("update media set dirty = 1, csum = null where fname = 'picture 7.jpg'")


def without_our_index(home):
    (home.mirror / "media.index").unlink()


def without_our_note(home):
    (home.mirror / "mirror.json").unlink()


MEDIA = [
    *(emptied, lost, lost_and_made_anew, linked, less_one, with_a_stray, with_a_folder, edited, renamed),
    *(rotten, touched, without_its_list, with_a_list_to_send, with_a_deletion_to_send),
    *(without_our_index, without_our_note),
]
LISTS = {without_its_list, with_a_list_to_send, with_a_deletion_to_send}


def by_the_library(home, change):
    collection = Collection(str(home.mirror / "collection.anki2"))
    change(collection)
    collection.close()


def studied_in(home):
    def change(collection):
        collection.remove_notes(collection.find_notes("")[:5])
        note = collection.get_note(collection.find_notes("")[0])
        note["Back"] = "edited in the mirror"
        collection.update_note(note)

    by_the_library(home, change)


def by_hand(sql):
    def edit(home):
        with closing(sqlite3.connect(home.mirror / "collection.anki2")) as db, db:
            db.execute(sql)

    edit.__name__ = "by_hand"
    return edit


def with_a_wal(home):
    # As a kill leaves it: what was committed is in the WAL.
    db = sqlite3.connect(home.mirror / "collection.anki2")
    db.execute("pragma journal_mode = wal")
    db.execute("update notes set usn = -1, flds = 'x'")
    db.commit()
    for side in ("", "-wal"):
        shutil.copy(home.mirror / f"collection.anki2{side}", home.mirror / f"kept{side}")
    db.close()
    for side in ("", "-wal"):
        (home.mirror / f"kept{side}").rename(home.mirror / f"collection.anki2{side}")


def gone(home):
    (home.mirror / "collection.anki2").unlink()


def empty(home):
    (home.mirror / "collection.anki2").write_bytes(b"")


def another(home):
    gone(home)
    by_the_library(home, lambda collection: None)


def cut(home):
    os.truncate(home.mirror / "collection.anki2", 40_000)


def garbage(home):
    (home.mirror / "collection.anki2").write_bytes(os.urandom(150_000))


COLLECTION = [
    *(studied_in, with_a_wal, gone, empty, another, cut, garbage),
    by_hand("update notes set usn = -1"),
    by_hand("update col set mod = mod + 1000000"),
    by_hand("update col set scm = mod + 1000000"),
    by_hand("delete from cards"),
    by_hand("drop table revlog"),
]


@pytest.mark.parametrize("later", [False, True], ids=["unchanged", "changed"])
def test_a_mirror_in_doubt_is_made_anew_and_sends_nothing(synced, phone, later):
    for number, damage in enumerate([*MEDIA, *COLLECTION]):
        if damage in LISTS and not later:
            continue  # found when the list is needed, at the next change
        damage(synced)
        if later:
            phone.add(f"later {number}")
            phone.picture(f"later {number}.jpg", b"later")
            phone.remove_picture(f"later {number - 1}.jpg")
            phone.sync()
        before = synced.state()
        synced.sync()
        assert synced.state() == before, damage.__name__
        synced.agrees()
        assert not (synced.mirror / "media.trash").exists()
        synced.proxy.seen.clear()
        synced.sync()
        assert synced.proxy.paths == ["/sync/meta"], damage.__name__


def test_the_library_is_asked_too_even_if_our_note_were_wrong(synced, monkeypatch):
    # The wall behind the first one: what if a changed file had the state that was written down?
    monkeypatch.setattr("anki_backup.mirror.Mirror._has_collection", lambda self: True)
    for damage in COLLECTION:
        if damage in (gone, empty, another):
            continue  # a mirror without cards has nothing to send
        damage(synced)
        before = synced.state()
        with suppress(AnkibakError):
            synced.sync()
        assert synced.state() == before, damage.__name__
        shutil.rmtree(synced.mirror)
        synced.sync()


def test_rot_that_left_no_trace_is_found_by_rehash(synced, monkeypatch):
    account = synced.sync()
    rotten(synced)
    known = account._mirror._index()
    monkeypatch.setattr(
        "anki_backup.mirror._listed", lambda folder: {name: item.state for name, item in known.items()}
    )
    synced.sync()
    assert (folder(synced) / "picture 7.jpg").read_bytes().startswith(b"rot")
    monkeypatch.undo()
    synced.sync(means={"rehash": True})
    synced.agrees()


def test_an_account_that_another_device_replaced_by_nothing_gets_nothing_back(synced, tmp_path, sync_server):
    with Client(tmp_path / "new", sync_server.url) as new:
        new.upload(media=False)
    before = synced.state()
    for _ in range(2):
        with pytest.raises(AnkibakError, match="no cards any more"):
            synced.sync()
    assert synced.state() == before


def test_another_account_at_the_same_name_gets_a_mirror_of_its_own(synced, monkeypatch):
    assert synced.account()._keys.read()
    other = synced.account(username="somebody@else.org")
    with pytest.raises(AnkibakError, match="refused the login"):
        other.look()
    assert synced.proxy.sent() == []
    synced.sync()
    synced.agrees()


def test_the_proxy_sees_what_a_device_sends(home, tmp_path, sync_server, phone):
    # What the other tests stand on: that they would notice.
    with Client(tmp_path / "desktop", home.proxy.url) as desktop:
        desktop.sync()
        assert home.proxy.sent() == []
        desktop.delete(desktop.add("note"))
        desktop.delete(desktop.col.find_notes("")[0])
        desktop.edit(desktop.col.find_notes("")[0], "edited")
        desktop.picture("new.jpg", b"new")
        desktop.sync()
        sent = {request.path for request in home.proxy.sent()}
        assert sent >= {"/sync/applyChunk", "/msync/uploadChanges"}
        desktop.upload()
        assert "/sync/upload" in {request.path for request in home.proxy.sent()}
        assert sent <= CARRIERS | UPLOADS


def test_no_room_of_the_mirror_names_an_upload():
    rooms = ("sources/ankiweb.py", "device.py", "mirror.py", "library.py")
    package = Path(anki_backup.__file__).parent
    assert not [room for room in rooms if "upload=True" in (package / room).read_text("utf-8")]


def test_a_refused_request_leaves_the_mirror_as_it_was(synced, phone):
    phone.add("later")
    phone.sync()
    synced.proxy.fail("/sync/finish", Fault(cut_before=True))
    with pytest.raises(AnkibakError):
        synced.sync()
    synced.proxy.fault = lambda path: None
    synced.proxy.seen.clear()
    assert isinstance(synced.sync(), Account)
    synced.agrees()
    assert "/sync/download" not in synced.proxy.paths
