"""What every test gets: a home of its own, no way out to the network, real Anki files, the program."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.warm import Warm

ROOT = Path(__file__).resolve().parent.parent

# As an installed program is: or each of some thousand processes would compile it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Read before any test's environment is cleaned of ANKIBAK_*.
TEST_DATA = Path(os.environ.get("ANKIBAK_TEST_DATA") or ROOT.parent / "shared" / "data")

HOME_FOLDERS = {
    "HOME": "home",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "XDG_RUNTIME_DIR": "home/run",
    "XDG_CONFIG_DIRS": "etc/xdg",
    "XDG_DATA_DIRS": "usr/share",
}
# Where systemd and a terminal's owner would speak to the program.
OUTSIDE = (
    *("CACHE_DIRECTORY", "CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY", "LOGS_DIRECTORY"),
    *("RUNTIME_DIRECTORY", "STATE_DIRECTORY"),
    *("INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"),
    *("CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR"),
)
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
DEAD_END = "http://127.0.0.1:9"

RunAnkibak = Callable[..., subprocess.CompletedProcess[str]]

# The same examples each time. Two cores, shared: how long one takes says nothing about the code.
settings.register_profile("ankibak", deadline=None, derandomize=True)
settings.load_profile("ankibak")


def is_local(host: object) -> bool:
    """Say whether `host`, as given to a socket, is this machine (or nothing yet)."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def stay_home(event: str, args: tuple[Any, ...]) -> None:
    """Stop the tests' own process from naming or reaching another machine."""
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if not is_local(host):
        raise AssertionError(f"a test may only use the loopback network, not {host!r}")


sys.addaudithook(stay_home)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty home and a clean environment; return that home.

    Processes that a test starts inherit both. Those have no audit hook: their
    way out is a proxy that nobody answers.
    """
    for name in [name for name in os.environ if name.startswith("ANKIBAK_")]:
        monkeypatch.delenv(name)
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    for name, folder in HOME_FOLDERS.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in PROXIES:
        monkeypatch.setenv(name, DEAD_END)
        monkeypatch.setenv(name.lower(), DEAD_END)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,::1")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1,::1")
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real Anki files made by others; read them, never write them."""
    if not TEST_DATA.is_dir():
        pytest.skip("no folder of real Anki files; name it in ANKIBAK_TEST_DATA")
    return TEST_DATA


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a collection with a bit of everything; copy it, never write to it."""
    from tests.made_collections import make_varied  # and Anki's library, not for every test

    return make_varied(tmp_path_factory.mktemp("made") / "collection.anki2")


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Return what runs the program without loading it anew."""
    servers = Warm()
    yield servers
    servers.close()


@pytest.fixture
def typed(tmp_path: Path, made: Path, run_ankibak: RunAnkibak) -> Any:
    """Return a home with three backups, the second of which is pinned."""
    from tests.typed_home import Home

    return Home.with_history(tmp_path, run_ankibak, made)


@pytest.fixture
def run_ankibak(tmp_path: Path, warm: Warm) -> RunAnkibak:
    """Return a function that runs the program as a person would, and waits for its end.

    `env` is added to the test's environment, None takes a name away; `cwd` is
    the test's own folder unless told. Nobody sits at the keyboard: without
    `input`, stdin is empty. Output comes as text, byte for byte: encoding it with
    UTF-8 and surrogateescape gives back what was written.
    """

    def run(
        *args: str | os.PathLike[str],
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        input: str | bytes = b"",
        timeout: int = 120,
    ) -> subprocess.CompletedProcess[str]:
        merged = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        given = {name: value for name, value in merged.items() if value is not None}
        typed = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
        words = [os.fspath(word) for word in args]
        code, *said = warm(words, given, cwd or tmp_path, typed, timeout)
        stdout, stderr = (out.decode("utf-8", "surrogateescape") for out in said)
        command = [sys.executable, "-m", "anki_backup", *words]
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    return run
