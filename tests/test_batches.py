"""The new files of a run are made durable together, before anything names them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from anki_backup import durable
from anki_backup.errors import StorageError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the name of every file and directory that is synced, while it is really done."""
    seen: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return seen


def filled(batch: durable.Batch, folder: Path, count: int) -> None:
    durable.make_directory(folder)
    batch.add_directory(folder)
    for number in range(count):
        (folder / str(number)).write_bytes(b"x")
        batch.add(folder / str(number))


def test_what_is_no_directory_or_no_file_is_not_taken_for_synced(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for sync, name in ((durable.sync_directory, "file"), (durable.sync_file, "link")):
        with pytest.raises(OSError):
            sync(tmp_path / name)
    batch = durable.Batch(tmp_path / "file")
    filled(batch, tmp_path / "folder", durable.FEW + 1)
    with pytest.raises(StorageError, match="file: not a directory"):
        batch.flush()


@pytest.mark.parametrize("count", [2, durable.FEW])
def test_a_few_files_are_synced_one_by_one_with_their_directories(tmp_path, synced, count):
    batch = durable.Batch(tmp_path)
    filled(batch, tmp_path / "folder", count)
    synced.clear()
    batch.flush()
    assert synced == [*map(str, range(count)), tmp_path.name, "folder"]
    synced.clear()
    batch.flush()
    assert synced == []


@pytest.mark.parametrize("at_once", [True, False])
def test_many_files_are_synced_at_once_where_that_can_be_done(tmp_path, synced, monkeypatch, at_once):
    if not at_once:  # a C library without syncfs
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    batch = durable.Batch(tmp_path)
    filled(batch, tmp_path / "folder", durable.FEW + 1)
    synced.clear()
    batch.flush()
    assert len(synced) == (0 if at_once else durable.FEW + 3)
    synced.clear()
    batch.flush()
    assert synced == []


def test_it_is_the_file_system_of_the_repository_that_is_synced(tmp_path, monkeypatch):
    class Library:
        @staticmethod
        def syncfs(fd: int) -> int:
            whole.append(os.readlink(f"/proc/self/fd/{fd}"))
            return 0

    whole: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
    batch = durable.Batch(tmp_path)
    filled(batch, tmp_path / "folder", durable.FEW + 1)
    batch.flush()
    assert whole == [str(tmp_path)]


def test_a_file_system_that_could_not_be_synced_makes_nothing_durable(tmp_path, monkeypatch):
    real = ctypes.CDLL

    class Refusing:
        def __init__(self, *args, **kwargs) -> None:
            self.syncfs = lambda fd: real(*args, **kwargs).syncfs(-1)

    ctypes.set_errno(0)
    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    batch, before = durable.Batch(tmp_path), len(os.listdir("/proc/self/fd"))
    filled(batch, tmp_path / "folder", durable.FEW + 1)
    with pytest.raises(StorageError, match=f"can't write {tmp_path}: bad file descriptor") as caught:
        batch.flush()
    assert str(caught.value.__cause__) == "[Errno 9] Bad file descriptor"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_of_the_working_directory_is_synced_with_it(tmp_path, synced, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    batch = durable.Batch(tmp_path)
    batch.add("file")
    batch.flush()
    assert synced == ["file", tmp_path.name]
