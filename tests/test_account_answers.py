"""Every answer of a server has its own sentence; after each, the mirror is trusted and gets current."""

from __future__ import annotations

import shutil
import socket
import time

import pytest
import zstandard
from anki.errors import SyncError

from anki_backup import library
from anki_backup.answers import refusal, refused_by_disk
from anki_backup.device import Device
from anki_backup.errors import AnkibakError, ConfigError, EmptiedError
from anki_backup.values import Secret, duration
from tests.accounts import home
from tests.sync_proxy import Fault, SyncProxy
from tests.sync_server import PASSWORD, USER, phone, sync_server

__all__ = ["home", "phone", "sync_server"]

STATUS = {
    400: "sync_refused",
    401: "proxy_login",
    403: "login_refused",
    404: "no_sync_server",
    407: "proxy_login",
    409: "sync_conflict",
    413: "too_large",
    418: "server_refused",
    429: "rate_limited",
    500: "server_failed",
    501: "client_too_old",
    502: "server_failed",
    503: "server_failed",
    504: "server_failed",
    507: "server_failed",
}
COLLECTION = ["/sync/meta", "/sync/start", "/sync/applyChanges", "/sync/chunk", "/sync/applyChunk"]
COLLECTION += ["/sync/sanityCheck2", "/sync/finish"]
MEDIA = ["/msync/begin", "/msync/mediaChanges", "/msync/downloadFiles", "/msync/mediaSanity"]


def changed(phone, number):
    phone.add(f"new {number}")
    phone.picture(f"new {number}.jpg", b"new")
    phone.sync()


def refused(home, **more):
    with pytest.raises(AnkibakError) as failure:
        home.sync(**more)
    error = failure.value
    assert (error.exit_code, bool(error.hint), "\n" in error.message) == (7, True, False)
    assert "{" not in error.message + error.hint
    return error


def fine(home):
    home.proxy.fault = lambda path: None
    home.sync()
    home.agrees()


@pytest.mark.parametrize("status", STATUS)
def test_every_status_has_its_own_word(status, home, phone):
    home.sync(retries=0)
    home.proxy.fail("/sync/meta", Fault(status=status, body=b"no"))
    if status == 403:
        with pytest.raises(AnkibakError, match="refused the login"):
            home.account(password=None).look()
    else:
        assert refused(home).code == STATUS[status]
    fine(home)


def test_a_server_that_dies_in_the_middle_of_any_request(home, phone):
    home.sync()
    for number, path in enumerate([*COLLECTION, *MEDIA]):
        changed(phone, number)
        # Before it has answered, or within its answer.
        home.proxy.fail(path, Fault(cut_after=9) if number % 2 else Fault(cut_before=True))
        home.proxy.seen.clear()
        assert refused(home).code in ("network", "not_a_sync_server", "server_refused", "timeout"), path
        home.proxy.seen.clear()
        fine(home)
        assert "/sync/download" not in home.proxy.paths, path


@pytest.mark.parametrize("path", ["/sync/hostKey", "/sync/meta", "/sync/download", *MEDIA])
def test_a_first_sync_that_breaks_off_goes_on(home, phone, path):
    home.proxy.fail(path, Fault(cut_after=9))
    refused(home)
    fine(home)


def test_a_download_that_is_no_collection_is_refused(home, phone):
    body = zstandard.compress(b"SQLite format 3\0" + b"\1" * 5000)
    headers = (("anki-original-size", "5016"),)
    home.proxy.fail("/sync/download", Fault(status=200, body=body, headers=headers))
    refused(home)
    fine(home)


def test_a_failed_sanity_check_leads_to_a_fresh_download(home, phone):
    home.sync()
    changed(phone, 1)
    said = b'{"status":"bad","c":null,"s":null}'
    answer = Fault(
        status=200, body=zstandard.compress(said), headers=(("anki-original-size", str(len(said))),)
    )
    home.proxy.fail("/sync/sanityCheck2", answer)
    home.proxy.seen.clear()
    home.sync()
    home.agrees()
    assert "/sync/download" in home.proxy.paths


def test_a_login_page_of_a_hotel_is_told_as_such(home, phone):
    home.sync()
    home.proxy.fail("/sync/meta", Fault(status=200, body=b"<html>Room number?</html>"))
    assert refused(home).code == "not_a_sync_server"
    fine(home)


def test_a_redirect_is_followed_and_kept(home, phone, sync_server):
    home.sync()
    with SyncProxy(sync_server.url) as other:
        home.proxy.fail("/sync/meta", Fault(status=308, headers=(("location", other.url),)))
        changed(phone, 1)
        home.sync()
        home.agrees()
        assert {"/sync/meta", "/sync/start"} <= set(other.paths)
        home.proxy.seen.clear()
        other.seen.clear()
        home.sync()
        assert (home.proxy.paths, other.paths) == ([], ["/sync/meta"])


def test_an_encrypted_server_is_not_left_for_an_open_one(home):
    account = home.account(endpoint="https://sync.example.org/")
    device = Device(account._mirror, account._server, "key", None)
    with pytest.raises(AnkibakError, match="without encryption"):
        device._follow("http://sync.example.org/")
    device._follow("https://sync7.example.org/")
    assert device.endpoint == "https://sync7.example.org/"


def test_a_password_that_was_changed(home, phone, sync_server, monkeypatch):
    home.sync()
    sync_server.users[USER] = "another password"
    sync_server.restart()
    home.proxy.seen.clear()
    error = refused(home)  # the key is refused, then the password that is provided
    assert (error.code, home.proxy.paths) == ("login_refused", ["/sync/meta", "/sync/hostKey"])
    home.proxy.seen.clear()
    refused(home)  # which is not tried again
    assert home.proxy.paths == ["/sync/meta"]
    home.sync(password=Secret("another password"))
    home.sync(password=None)
    home.agrees()


def test_a_wrong_password_is_tried_once(home, phone):
    for _ in range(3):
        assert refused(home, password=Secret("wrong")).code == "login_refused"
    assert home.proxy.paths == ["/sync/hostKey"]
    home.sync(password=Secret(PASSWORD))


def test_without_a_key_and_a_password_the_way_is_told(home):
    error = refused(home, password=None)
    assert (error.code, "ankibak login home" in error.hint) == ("login_needed", True)


def test_nobody_listens(home, phone):
    home.sync()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    home.proxy.url, url = f"http://127.0.0.1:{free}/", home.proxy.url
    assert refused(home).code == "network"  # another address is another account: the login fails
    home.proxy.url = url
    fine(home)


@pytest.mark.parametrize("url", ["https://127.0.0.1:{port}/", "http://name.invalid/"])
def test_an_address_that_leads_nowhere(home, url):
    assert refused(home, endpoint=url.format(port=home.proxy.port)).code == "network"


def test_an_address_with_a_path_keeps_it(home, phone):
    assert refused(home, endpoint=home.proxy.url + "anki").code == "no_sync_server"
    assert home.proxy.paths == ["/anki/sync/hostKey"]


def test_a_server_that_stalls(home, phone):
    home.sync()
    home.proxy.fail("/sync/meta", Fault(stall_s=4))
    started = time.monotonic()
    assert refused(home, timeout=duration("1s")).code == "timeout"
    assert time.monotonic() - started < 3
    assert refused(home, time_limit=duration("1s")).code == "time_limit"
    fine(home)


def test_what_may_pass_is_tried_again(home, phone, monkeypatch):
    monkeypatch.setattr("anki_backup.sources.ankiweb.PAUSE_S", 0.01)
    home.sync()
    home.proxy.seen.clear()
    home.proxy.fail("/sync/meta", Fault(status=503), times=2)
    home.sync(retries=2)
    assert home.proxy.paths == ["/sync/meta"] * 3
    home.proxy.seen.clear()
    home.proxy.fail("/sync/meta", Fault(status=429))
    with pytest.raises(AnkibakError):
        home.sync(retries=2)
    assert home.proxy.paths == ["/sync/meta"]


def test_a_server_that_is_started_again_during_the_day(home, phone, sync_server):
    home.sync()
    changed(phone, 1)
    sync_server.restart()
    home.sync()
    home.agrees()


def test_a_mirror_that_anki_has_open_is_left_alone(home, phone):
    home.sync()
    with library.opened(home.mirror / "collection.anki2"):
        assert refused(home).code == "mirror_busy"
    home.sync()
    home.agrees()


def test_an_account_that_was_emptied_and_refilled_with_fewer_media(home, phone, sync_server, monkeypatch):
    monkeypatch.setattr("anki_backup.sources.ankiweb.PAUSE_S", 0.01)
    changed(phone, 1)
    home.sync()
    shutil.rmtree(sync_server.folder)
    sync_server.restart()
    with pytest.raises(EmptiedError):
        home.sync()
    phone.remove_picture("new 1.jpg")
    with pytest.raises(SyncError, match="sync again"):
        phone.upload()
    phone.sync_media()
    home.sync(retries=1)
    home.agrees()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("Please upgrade to the latest Anki version.", "server_message"),
        ("Unable to sync - your clock is not set to the correct time.", "clock"),
        ('DbError { info: "database disk image is malformed" }', "damaged_download"),
        (
            "corrupt: *** in database main *** Tree 7 page 3: btreeInitPage() returns error",
            "damaged_download",
        ),
        ('JsonError { info: "invalid type: integer `429`, expected a string" }', "server_refused"),
        ("invalid Zip archive: Could not find EOCD", "server_refused"),
        ("Failed to write '/m/.tmp': Is a directory (os error 21)", "server_refused"),
    ],
)
def test_what_the_library_says_has_a_word(said, word):
    error = refusal(said, "AnkiWeb", "home")
    assert (error.code, error.exit_code) == (word, 7)
    assert error.message.startswith("AnkiWeb ")


def test_a_place_for_the_password_that_fails_is_a_mistake_of_the_configuration(home, tmp_path):
    with pytest.raises(ConfigError):
        home.sync(password_file=tmp_path / "none")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Failed to write '/m/.tmp': No space left on device (os error 28)", "the disk is full"),
        ('DbError { info: "database or disk is full" }', "the disk is full"),
        ("Failed to write '/m/.tmp': Read-only file system (os error 30)", "the file system is read-only"),
        ("error sending request: Connection refused (os error 111)", None),
        ("Please upgrade to the latest Anki version.", None),
    ],
)
def test_what_the_disk_refused_is_not_blamed_on_the_server(said, told):
    error = refused_by_disk(said, "home")
    assert (error and (error.message, error.exit_code)) == (
        told and (f"can't write the mirror of home: {told}", 8)
    )
