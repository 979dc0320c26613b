"""Signals: the first one ends a command tidily, later ones wait, and none can be shut out."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.test_cli import start

SLEEPER = """
import time
def command():
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        {ending}
        print("tidy", flush=True)
"""
DEAF = """
import time
def command():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(30)
        except BaseException:
            pass
"""
LOADING = """
import sys, types
import anki_backup.__main__ as program
cli = sys.modules["anki_backup.cli"] = types.ModuleType("cli")
import time
cli.main = lambda: (print("ready", flush=True), time.sleep(30))
import anki_backup
anki_backup.cli = cli
program.main()
"""


def stop(body: str, *numbers: int) -> tuple[int, str, str]:
    """Send signals to the program, a moment apart, once it says that it is ready."""
    process = start(body, "list")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, ""),
        (signal.SIGTERM, 143, "ankibak: stopped by SIGTERM\n"),
        (signal.SIGHUP, 143, "ankibak: stopped by SIGHUP\n"),
    ],
)
def test_a_signal_ends_the_program_tidily(number, code, told):
    assert stop(SLEEPER.format(ending="pass"), number) == (code, "tidy\n", told)


def test_further_signals_do_not_disturb_the_tidying_up():
    body = SLEEPER.format(ending="time.sleep(1)")
    assert stop(body, signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[:2] == (143, "tidy\n")


def test_a_signal_that_is_swallowed_still_ends_the_program_in_five_seconds():
    began = time.monotonic()
    assert stop(DEAF, signal.SIGTERM)[0] == 143
    assert time.monotonic() - began < 6


def test_a_hangup_that_was_to_be_ignored_is():
    process = start(
        SLEEPER.format(ending="pass"), "list", preexec_fn=lambda: signal.signal(1, signal.SIG_IGN)
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_a_signal_while_the_program_loads_ends_it_without_a_trace():
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


def test_systemd_hears_how_a_run_goes(tmp_path, run_ankibak):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        (tmp_path / "c.toml").write_text('[sources.home]\nkind = "profile"\npath = "nowhere"\n')
        run_ankibak("-c", tmp_path / "c.toml", "run", env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert [systemd.recv(100) for _ in range(2)] == [b"STATUS=backing up home", b"STATUS=home: failed"]
