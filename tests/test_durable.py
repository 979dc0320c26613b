"""What is written is there whole or not at all, in the right order, by one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anki_backup import durable, locks
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


def failing(number: int):
    """Return a function that refuses its work, and counts how often it was asked."""

    def call(*args, **kwargs):
        call.count += 1
        raise OSError(number, os.strerror(number))

    call.count = 0
    return call


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Note every sync and rename, by the name it is about, while it is really done."""
    seen: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(fd: int) -> None:
        seen.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
        fsync(fd)

    def noted_rename(old, new) -> None:
        seen.append(("rename", os.path.basename(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    return seen


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {"home"}


def test_a_written_file_is_whole_and_private_and_alone(tmp_path):
    path = tmp_path / "file"
    durable.write(path, b"one")
    durable.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == {"file"}


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_end(tmp_path, journal):
    durable.write(tmp_path / "file", b"bytes")
    assert journal == [("sync", "file.part"), ("rename", "file"), ("sync", tmp_path.name)]


def test_a_new_file_is_synced_and_replaces_nothing(tmp_path, journal):
    durable.write_new(tmp_path / "file", b"one")
    with pytest.raises(StorageError):
        durable.write_new(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert journal == [("sync", "file")]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_leaves_the_old_bytes(tmp_path, monkeypatch, call, number):
    path = tmp_path / "file"
    durable.write(path, b"old")
    with monkeypatch.context() as fault:
        fault.setattr(os, call, failing(number))
        with pytest.raises(StorageError):
            durable.write(path, b"new")
    assert path.read_bytes() == b"old"
    durable.write(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == {"file"}


def test_a_failed_sync_is_never_tried_again(tmp_path, monkeypatch):
    refusing = failing(errno.EIO)
    monkeypatch.setattr(os, "fsync", refusing)
    with pytest.raises(StorageError, match="input/output error"):
        durable.write(tmp_path / "file", b"new")
    assert refusing.count == 1
    assert not (tmp_path / "file").exists()


def test_a_link_planted_as_the_part_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "file.part").symlink_to("victim")
    durable.write(tmp_path / "file", b"bytes")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"bytes"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "input/output"),
        (errno.ELOOP, "symbolic link"),
        (errno.EMFILE, "too many open files"),
    ],
)
def test_a_refusal_names_the_path_and_says_what_to_do(tmp_path, number, words):
    with pytest.raises(StorageError, match=words) as caught, durable.storing(tmp_path / "file"):
        raise OSError(number, "whatever")
    assert str(tmp_path / "file") in caught.value.message
    assert caught.value.exit_code == 8
    assert caught.value.hint or number == errno.EMFILE


def test_a_directory_is_made_once_private_and_durable(tmp_path, journal):
    assert durable.make_directory(tmp_path / "folder")
    assert not durable.make_directory(tmp_path / "folder")
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    assert journal == [("sync", tmp_path.name)]


def test_the_first_line_makes_the_log_durable_and_later_ones_only_themselves(tmp_path, journal):
    durable.append(tmp_path / "log", b"one\n")
    durable.append(tmp_path / "log", b"two\n")
    durable.append(tmp_path / "log", b"of no concern after a power cut\n", sync=False)
    assert journal == [("sync", tmp_path.name), ("sync", "log"), ("sync", "log")]
    assert (tmp_path / "log").read_bytes().startswith(b"one\ntwo\nof")


def test_a_line_torn_by_a_crash_never_joins_the_next_one(tmp_path):
    (tmp_path / "log").write_bytes(b"one\ntw")
    durable.append(tmp_path / "log", b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntw\nthree\n"


def test_an_append_that_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    durable.append(tmp_path / "log", b"one\n")
    write, refuse = os.write, failing(errno.ENOSPC)
    monkeypatch.setattr(os, "write", lambda fd, data: refuse() if len(data) < 4 else write(fd, data[:2]))
    with pytest.raises(StorageError, match="full"):
        durable.append(tmp_path / "log", b"two\n")
    assert refuse.count == 1
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_a_link_in_place_of_the_log_is_refused(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious\n")
    (tmp_path / "log").symlink_to("victim")
    with pytest.raises(StorageError, match="symbolic link"):
        durable.append(tmp_path / "log", b"line\n")
    assert (tmp_path / "victim").read_bytes() == b"precious\n"


def filled(batch: durable.Batch, folder: Path, count: int) -> None:
    durable.make_directory(folder)
    batch.add_directory(folder)
    for number in range(count):
        (folder / str(number)).write_bytes(b"x")
        batch.add(folder / str(number))


def test_a_few_files_are_synced_one_by_one_with_their_directories(tmp_path, journal):
    batch = durable.Batch(tmp_path)
    filled(batch, tmp_path / "folder", 2)
    journal.clear()
    batch.flush()
    assert [name for _, name in journal] == ["0", "1", tmp_path.name, "folder"]
    journal.clear()
    batch.flush()
    assert journal == []


@pytest.mark.parametrize("at_once", [True, False])
def test_many_files_are_synced_at_once_where_that_can_be_done(tmp_path, journal, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr(durable, "_syncfs", lambda path: False)
    batch = durable.Batch(tmp_path)
    filled(batch, tmp_path / "folder", durable.FEW + 1)
    journal.clear()
    batch.flush()
    assert len(journal) == (0 if at_once else durable.FEW + 3)


def test_sweeping_removes_what_a_crash_left_and_nothing_else(tmp_path):
    folder = tmp_path / "folder"
    (folder / "half.part").mkdir(parents=True)
    (folder / "half.part" / "file").write_bytes(b"x")
    (folder / "new-1.part").write_bytes(b"x")
    (folder / "kept.part.json").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_bytes(b"x")
    (folder / "link.part").symlink_to(tmp_path / "elsewhere")
    assert durable.sweep(folder) == 3
    assert names(folder) == {"kept.part.json"}
    assert (tmp_path / "elsewhere" / "precious").exists()


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
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
    with locks.lock(tmp_path / "lock", "prune"):
        pass


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOTSUP))
    with pytest.raises(StorageError, match="can't lock"), locks.lock(tmp_path / "lock", "x"):
        raise AssertionError("locked without a lock")


@pytest.mark.parametrize("text", ["", "x", "-", "9" * 30, "\0", "4194305 run"])
def test_a_lock_file_that_names_nobody_alive_has_no_holder(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    assert locks.holder(tmp_path / "lock") is None
    assert locks.holder(tmp_path / "missing") is None
