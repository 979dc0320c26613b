"""One writer at a time, and everybody else is told who it is."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from anki_backup import locks
from anki_backup.errors import BusyError, StorageError
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from anki_backup import locks
with locks.lock(Path(sys.argv[1]), "holding"):
    print("held", flush=True)
    time.sleep(60)
"""


def refusing(number: int):
    """Return a function that refuses its work."""

    def call(*args):
        raise OSError(number, os.strerror(number))

    return call


def test_who_has_only_just_taken_the_lock_is_named_too(tmp_path):
    path = tmp_path / "lock"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        naming = threading.Timer(0.03, lambda: os.pwrite(file.fileno(), b"77 run home\n", 0))
        naming.start()
        with pytest.raises(BusyError, match=r"process 77 \(run home\)"), locks.lock(path, "prune"):
            pass
        naming.join()


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path):
    path = tmp_path / "lock"
    with locks.lock(path, "run home"):
        with pytest.raises(BusyError, match=f"process {os.getpid()} \\(run home\\)"), locks.lock(path, "x"):
            raise AssertionError("two hold the lock")
        assert locks.holder(path) == os.getpid()
    with locks.lock(path, "next"):
        pass
    assert path.exists()


def test_a_waiting_writer_gets_the_lock_when_it_is_free(tmp_path):
    path, free = tmp_path / "lock", threading.Event()
    with locks.lock(path, "first"):

        def wait() -> None:
            with locks.lock(path, "second", wait_s=30):
                free.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not free.wait(0.15)
    waiting.join(30)
    assert free.is_set()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="holding"), locks.lock(path, "x"):
            raise AssertionError("two hold the lock")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert locks.holder(path) is None
    with locks.lock(path, "x"):
        pass


def test_a_lock_file_that_was_replaced_meanwhile_is_not_believed(tmp_path, monkeypatch):
    path, flock = tmp_path / "lock", fcntl.flock
    path.touch()

    def replaced_first(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.rename(tmp_path / "aside")
        path.touch()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    with locks.lock(path, "x", wait_s=5), open(path) as file, pytest.raises(BlockingIOError):
        flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_full_disk_keeps_nobody_from_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pwrite", refusing(errno.ENOSPC))
    with locks.lock(tmp_path / "lock", "prune"):
        pass


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOTSUP))
    with pytest.raises(StorageError, match="can't lock"), locks.lock(tmp_path / "lock", "x"):
        raise AssertionError("locked without a lock")


@pytest.mark.parametrize("text", ["", "x", "-", "9" * 30, "\0", "4194305 run"])
def test_a_lock_file_that_names_nobody_alive_has_no_holder(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    assert locks.holder(tmp_path / "lock") is None
    assert locks.holder(tmp_path / "missing") is None
