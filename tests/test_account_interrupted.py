"""A sync that is broken off leaves a whole mirror and goes on where it was; other devices notice nothing."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from anki_backup.errors import AnkibakError
from tests.accounts import home
from tests.sync_proxy import Fault
from tests.sync_server import Client, phone, sync_server

__all__ = ["home", "phone", "sync_server"]


def test_a_sync_that_is_interrupted_leaves_the_mirror_whole(home, phone):
    home.sync()
    phone.add("new")
    phone.sync()
    home.proxy.fail("/sync/chunk", Fault(stall_s=4))
    account = home.account()

    def interrupt():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        account.look()
    assert time.monotonic() - started < 3
    home.proxy.seen.clear()
    home.proxy.fault = lambda path: None
    home.sync()
    home.agrees()
    assert "/sync/download" not in home.proxy.paths


def test_a_first_media_sync_goes_on_where_it_was(home, phone):
    for number in range(1200):
        phone.picture(f"{number}.jpg", b"%d" % number)
    phone.sync()
    left = 44

    def after_some(path):
        nonlocal left
        left -= path == "/msync/downloadFiles"
        return Fault(cut_before=True) if left < 0 else None

    home.proxy.fault = after_some
    with pytest.raises(AnkibakError, match="can't be reached"):
        home.sync()
    before = len(list((home.mirror / "collection.media").iterdir()))
    assert before == 1000  # the library notes what it has, so many at a time
    home.proxy.seen.clear()
    home.proxy.fault = lambda path: None
    home.sync()
    home.agrees()
    asked = [
        name
        for request in home.proxy.seen
        if request.path == "/msync/downloadFiles"
        for name in request.said["files"]
    ]
    assert len(asked) == 1201 - before


def test_the_other_device_is_not_disturbed(home, phone, tmp_path, sync_server):
    home.sync()
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        for number in range(3):
            desktop.sync()
            desktop.add(f"of the desktop {number}")
            time.sleep(0.01)  # an id is a millisecond
            phone.add(f"of the phone {number}")
            phone.sync()
            home.sync()
            desktop.sync()
            home.sync()
            phone.sync()
        assert desktop.col.note_count() == phone.col.note_count() == 16
    home.sync()
    home.agrees()
