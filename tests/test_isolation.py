"""No test may touch the real home or the network: here that promise is itself tested."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import DEAD_END, OUTSIDE, ROOT, RunAnkibak, is_local

REAL_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
ELSEWHERE = "192.0.2.1"  # RFC 5737: documentation, nobody's address


@pytest.mark.parametrize(
    "folder",
    [
        Path.home,
        lambda: Path("~/x").expanduser(),
        lambda: Path(os.path.expandvars("$HOME/x")),
        lambda: platformdirs.user_config_path("ankibak"),
        lambda: platformdirs.user_data_path("ankibak"),
        lambda: platformdirs.user_state_path("ankibak"),
        lambda: platformdirs.user_cache_path("ankibak"),
        lambda: platformdirs.user_runtime_path("ankibak"),
        lambda: platformdirs.site_config_path("ankibak"),
        lambda: platformdirs.site_data_path("ankibak"),
    ],
)
def test_every_way_home_ends_in_the_tests_own_folder(folder, tmp_path):
    assert folder().is_relative_to(tmp_path)
    assert not folder().is_relative_to(REAL_HOME) or tmp_path.is_relative_to(REAL_HOME)


def test_the_home_is_there_and_empty(isolated_home):
    assert Path.home() == isolated_home
    assert list(isolated_home.iterdir()) == []


def test_a_process_that_a_test_starts_has_the_same_home(isolated_home):
    code = "import os, pathlib; print(pathlib.Path.home()); print(os.environ['XDG_CONFIG_HOME'])"
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines == [str(isolated_home), str(isolated_home / ".config")]


def test_nothing_of_the_outside_leaks_in():
    assert [name for name in os.environ if name.startswith("ANKIBAK_") or name in OUTSIDE] == []


def test_settings_and_homes_from_outside_stop_at_the_door(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    planted = {
        "ANKIBAK_CONFIG": str(outside / "config.toml"),
        "ANKIBAK_STORAGE__ROOT": str(outside / "repository"),
        "CREDENTIALS_DIRECTORY": str(outside),
        "STATE_DIRECTORY": str(outside),
        "NO_COLOR": "1",
        "HOME": str(outside),
        "XDG_CONFIG_HOME": str(outside / ".config"),
        "XDG_DATA_HOME": str(outside / ".local/share"),
    }
    inner = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("-k", "nothing_of_the_outside or every_way_home or same_home", str(Path(__file__))),
        ],
        cwd=ROOT,
        env={**os.environ, **planted, "PYTEST_ADDOPTS": f"--basetemp={tmp_path / 'inner'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert inner.returncode == 0, inner.stdout + inner.stderr
    assert list(outside.iterdir()) == []


@given(st.integers())
def test_a_property_has_the_same_home_in_every_example(number):
    assert Path.home() != REAL_HOME


def test_another_machine_can_be_neither_reached_nor_named():
    with socket.socket() as stream, pytest.raises(AssertionError, match="loopback"):
        stream.connect((ELSEWHERE, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, pytest.raises(AssertionError, match="loopback"):
        datagram.sendto(b"x", (ELSEWHERE, 9))
    with pytest.raises(AssertionError, match="loopback"):
        socket.getaddrinfo("example.org", 443)


def test_loopback_and_unix_sockets_stay_open(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    near, far = socket.socketpair()
    with near, far:
        near.sendall(b"x")
        assert far.recv(1) == b"x"
    assert socket.getaddrinfo("localhost", 80)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        (b"localhost", True),
        ("", True),
        (None, True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost.example.org", False),
        (b"sync.example.org", False),
    ],
)
def test_local_is_this_machine_and_nothing_else(host, local):
    assert is_local(host) is local


def test_a_started_process_has_a_dead_end_for_a_proxy():
    assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == DEAD_END
    assert "127.0.0.1" in os.environ["no_proxy"]


def test_run_ankibak_is_the_program_with_an_empty_stdin(run_ankibak: RunAnkibak, tmp_path):
    done = run_ankibak("--version")
    assert done.returncode == 0, done.stderr
    assert done.args[1:] == ["-m", "anki_backup", "--version"]
    assert done.stdout.strip()
    assert not any((tmp_path / "home").iterdir())
