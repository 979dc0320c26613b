"""Where a configuration comes from, and what it gives."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from anki_backup import config as config_room
from anki_backup.config import load
from anki_backup.errors import ConfigError

PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'


def test_without_a_file_the_defaults_hold(isolated_home):
    found = load(None, {})
    assert found.file is None
    assert found.sources == {}
    assert found.storage.root == isolated_home / ".local/share/ankibak"
    assert (found.schedule.cron, found.schedule.calendar) == ("0 * * * *", None)
    assert found.schedule.jitter == timedelta(minutes=2)
    assert found.server.listen == "127.0.0.1:8088"
    assert (found.security.auth_enabled, found.security.public_read) == (True, False)
    assert found.security.rollback_cooldown == timedelta(minutes=10)
    assert (found.run.threads, found.run.hot_tries) == (0, 5)
    assert found.retention_of("home") is None


@pytest.mark.parametrize("address", ["localhost:0", "0.0.0.0:65535", "[::1]:8088", "unix:/run/a b.sock"])
def test_where_a_server_can_listen_is_taken_as_it_is(tmp_path, address):
    (tmp_path / "config.toml").write_text(f'[server]\nlisten = "{address}"\n')
    assert load(tmp_path / "config.toml", {}).server.listen == address


def test_the_first_file_found_is_the_only_one_read(tmp_path, isolated_home, monkeypatch):
    named, by_variable, system = (tmp_path / name / "config.toml" for name in ("named", "variable", "system"))
    users = isolated_home / ".config/ankibak/config.toml"
    monkeypatch.setattr(config_room, "SYSTEM_FILE", system)
    for threads, file in enumerate((system, users, by_variable, named)):
        file.parent.mkdir(parents=True)
        file.write_text(f"[run]\nthreads = {threads}\n")
    environ = {"ANKIBAK_CONFIG": str(by_variable)}
    assert (load(named, environ).run.threads, load(named, environ).file) == (3, named)
    assert load(None, environ).run.threads == 2
    assert load(None, {"ANKIBAK_CONFIG": ""}).run.threads == 1
    users.unlink()
    assert load(None, {}).run.threads == 0


@pytest.mark.parametrize("environ", [{}, {"ANKIBAK_CONFIG": "/nowhere/config.toml"}])
def test_a_file_that_was_named_must_be_there(environ):
    named = None if environ else Path("/nowhere/config.toml")
    with pytest.raises(ConfigError, match=r"can't read /nowhere/config\.toml: no such file"):
        load(named, environ)


def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(isolated_home):
    file = isolated_home / ".config/ankibak/config.toml"
    file.parent.mkdir(parents=True)
    file.symlink_to("gone.toml")
    with pytest.raises(ConfigError, match="no such file"):
        load(None, {})


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, {})


def test_nothing_can_be_named_on_purpose():
    assert load(Path("/dev/null"), {}).sources == {}


def test_the_repository_is_the_first_state_directory_of_systemd():
    found = load(None, {"STATE_DIRECTORY": "/var/lib/ankibak:/var/lib/other"})
    assert found.storage.root == Path("/var/lib/ankibak")
    assert found.origin("storage.root") == "environment STATE_DIRECTORY"


def test_a_configured_repository_goes_before_that_of_systemd(read):
    assert read('[storage]\nroot = "/r"\n', STATE_DIRECTORY="/s").storage.root == Path("/r")


def test_a_relative_path_counts_from_the_folder_of_the_file(read, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    found = read('[storage]\nroot = "repo"\n' + PROFILE.replace("/p", "../Anki 2"))
    assert found.storage.root == tmp_path / "repo"
    assert found.sources["home"].path == tmp_path / "../Anki 2"


def test_a_file_named_relatively_gives_absolute_paths(write, monkeypatch, tmp_path):
    write('[storage]\nroot = "repo"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("config.toml"), {}).storage.root == tmp_path / "repo"


def test_a_tilde_is_the_home_of_the_environment(read):
    assert read(PROFILE.replace("/p", "~/User 1"), HOME="/h").sources["home"].path == Path("/h/User 1")
    assert read('[storage]\nroot = "~"\n', HOME="/h").storage.root == Path("/h")


def test_a_tilde_of_nobody_is_refused(refused):
    assert "no such user" in refused('[storage]\nroot = "~nobody-of-that-name/x"\n')


def test_the_folder_of_credentials_is_known():
    assert load(None, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}).credentials == Path(
        "/run/credentials/x"
    )
    assert load(None, {}).credentials is None
