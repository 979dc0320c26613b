"""Where an account's password comes from: the first place that has one.

systemd's credential `<source>.password`, `password_file`, `password_command`, the
environment or the configuration, and, where somebody sits at a terminal, a prompt.
It is asked for once, exchanged for a host key, and kept nowhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from anki_backup.errors import ConfigError
from anki_backup.secrets import read_private
from anki_backup.values import Secret

COMMAND_S = 60


class Settings(Protocol):
    """What a source says of its password."""

    password_file: Path | None
    password_command: list[str] | str | None
    password: Secret | None


def password(name: str, settings: Settings, folder: Path | None) -> Secret | None:
    """Return the password that was provided for a source, None if none was.

    `folder` is systemd's for credentials. ConfigError when the place that is to have
    it can't be read, or can be read by others; a later place is not tried then.
    """
    if folder and (credential := folder / f"{name}.password").exists():
        # systemd's own folder: only the service sees it, whatever the mode says.
        return _secret(_text(credential, credential.read_bytes), str(credential))
    if path := settings.password_file:
        return _secret(_text(path, lambda: read_private(path, links=True)), str(path))
    if settings.password_command:
        return _secret(_output(name, settings.password_command), f"sources.{name}.password_command")
    return settings.password


def _text(path: Path, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as error:
        raise ConfigError(
            f"can't read the password in {path}: {(error.strerror or '').lower()}",
            hint="Give the file to the user that ankibak runs as, with mode 0600.",
        ) from error


def _output(name: str, command: list[str] | str) -> bytes:
    key = f"sources.{name}.password_command"
    try:
        done = subprocess.run(
            command,
            shell=isinstance(command, str),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{key} took longer than {COMMAND_S} seconds") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key} can't be started: {error}") from None
    if done.returncode:
        raise ConfigError(
            f"{key} ended with exit code {done.returncode}",
            hint="Try the command by hand: it must print the password.",
        )
    return done.stdout


def _secret(data: bytes, origin: str) -> Secret:
    """Return the first line as a secret; what follows may be a note of a password manager."""
    try:
        text = data.decode("utf-8").partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"the password from {origin} is not UTF-8") from None
    if not text or "\0" in text:
        raise ConfigError(f"the password from {origin} is empty")
    return Secret(text)


def ask(name: str, username: str) -> Secret | None:
    """Ask for the password at the terminal, unseen; None when nobody sits there."""
    import getpass  # only to ask

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    os.close(terminal)
    text = getpass.getpass(f"Password of {username} for {name}: ")
    return Secret(text) if text else None
