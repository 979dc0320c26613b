"""Passwords come from one place, keys are kept where only their owner reads them."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest

from anki_backup import credentials
from anki_backup.errors import ConfigError
from anki_backup.hostkeys import HostKey, HostKeys
from anki_backup.secrets import Secrets
from anki_backup.values import Secret


def said(**more):
    return SimpleNamespace(**{"password_file": None, "password_command": None, "password": None, **more})


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def given(settings, folder=None):
    found = credentials.password("home", settings, folder)
    return found.reveal() if found else None


def test_the_first_place_that_has_a_password_counts(tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "home.password").write_text("of systemd\n")
    settings = {
        "password_file": private(tmp_path / "file", "of the file\n"),
        "password_command": "echo of the command",
        "password": Secret("of the configuration"),
    }
    assert given(said(**settings), folder) == "of systemd"
    assert given(said(**settings), tmp_path) == "of the file"
    del settings["password_file"]
    assert given(said(**settings)) == "of the command"
    assert given(said(password=settings["password"])) == "of the configuration"
    assert given(said()) is None


@pytest.mark.parametrize("command", ["printf 'secret\\nnote\\n'", ["printf", "secret\\r\\n"]])
def test_a_command_gives_its_first_line(command):
    assert given(said(password_command=command)) == "secret"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    path = private(tmp_path / "file", "secret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others can read it"):
        given(said(password_file=path))


@pytest.mark.parametrize("command", ["exit 3", "true", ["/nonexistent"], "printf '\\377'", "printf 'a\\0b'"])
def test_a_command_that_gives_nothing_useful_is_told_without_its_output(command):
    with pytest.raises(ConfigError, match=r"password_command"):
        given(said(password_command=command))


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="can't read the password in"):
        given(said(password_file=tmp_path / "none"))
    with pytest.raises(ConfigError, match="no regular file"):
        given(said(password_file=tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        given(said(password_file=tmp_path / "fifo"))


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path / "secrets")


def test_a_secret_is_kept_for_its_owner_only(secrets):
    secrets.write("home.key", b"secret")
    assert secrets.read("home.key") == b"secret"
    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((secrets.folder / "home.key").stat().st_mode) == 0o600
    assert [secrets.forget("home.key"), secrets.forget("home.key")] == [True, False]
    assert secrets.read("home.key") is None


def test_a_secret_that_others_could_read_is_not_used(secrets):
    secrets.write("home.key", b"secret")
    (secrets.folder / "home.key").chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        secrets.read("home.key")


def test_a_link_in_place_of_a_secret_is_not_followed(secrets, tmp_path):
    secrets.write("other", b"secret")
    (secrets.folder / "home.key").symlink_to("other")
    with pytest.raises(ConfigError):
        secrets.read("home.key")


def test_a_key_counts_for_its_account_only(secrets):
    key = HostKey("0123", "https://elsewhere/")
    HostKeys(secrets, "home", "ann at A").keep(key)
    assert HostKeys(secrets, "home", "ann at A").read() == key
    assert HostKeys(secrets, "home", "ann at B").read() is None
    assert HostKeys(secrets, "work", "ann at A").read() is None
    assert HostKeys(secrets, "home", "ann at A").forget()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b'{"account": "ann at A"}', b"\xff"])
def test_a_damaged_key_is_none(secrets, data):
    secrets.write("home.key", data)
    assert HostKeys(secrets, "home", "ann at A").read() is None


def test_a_refused_password_is_known_again_and_not_kept(secrets):
    keys = HostKeys(secrets, "home", "ann at A")
    assert not keys.was_refused(Secret("wrong"))
    keys.note_refused(Secret("wrong"))
    assert keys.was_refused(Secret("wrong"))
    assert not keys.was_refused(Secret("right"))
    assert b"wrong" not in (secrets.folder / "home.refused").read_bytes()
    keys.clear_refused()
    assert not keys.was_refused(Secret("wrong"))
