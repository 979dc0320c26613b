"""What tests of the configuration get: files that only their owner can read."""

from __future__ import annotations

import pytest

from anki_backup import config as config_room
from anki_backup.config import load
from anki_backup.errors import ConfigError


@pytest.fixture(autouse=True)
def no_system_file(tmp_path, monkeypatch):
    """Keep a configuration of this machine out of the tests."""
    monkeypatch.setattr(config_room, "SYSTEM_FILE", tmp_path / "etc/ankibak/config.toml")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a private configuration file and returns its path."""

    def write(text, mode=0o600):
        file = tmp_path / "config.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        return file

    return write


@pytest.fixture
def read(write):
    """Return a function that loads a text, with an environment."""
    return lambda text, mode=0o600, **environ: load(write(text, mode), environ)


@pytest.fixture
def refused(write):
    """Return a function that returns what is said of a text that can't be used."""

    def refused(text, mode=0o600, **environ):
        with pytest.raises(ConfigError) as caught:
            load(write(text, mode), environ)
        assert caught.value.exit_code == 2
        return caught.value.message.replace(str(write(text, mode)), "FILE")

    return refused
