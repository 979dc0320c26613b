"""A server that says what is not so, or is not what it was: the mirror gets right, and sends nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests.accounts import home
from tests.sync_server import phone, sync_server

__all__ = ["home", "phone", "sync_server"]


def told(home, path, **fields):
    """Have the answers of a path say something else, from now on."""

    def spoil(asked, answer):
        if asked != path:
            return answer
        return answer.of(json.dumps(json.loads(answer.message) | fields).encode())

    home.proxy.spoil = spoil


def truthful(home):
    home.proxy.spoil = lambda path, answer: answer


def test_a_server_that_once_counted_too_far_loses_no_later_change(home, phone):
    note = phone.add("a note")
    phone.sync()
    home.sync()
    phone.add("one more")
    phone.sync()
    told(home, "/sync/meta", usn=10**6)
    home.sync()
    truthful(home)
    home.sync()
    home.agrees()
    phone.edit(note, "which would be missed: the server counts only how many there are")
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
