"""What is written is there whole or not at all, in the right order."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from anki_backup import durable
from anki_backup.errors import StorageError


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


@pytest.mark.parametrize("torn", [b"one\ntw", b"o"])
def test_a_line_torn_by_a_crash_never_joins_the_next_one(tmp_path, torn):
    (tmp_path / "log").write_bytes(torn)
    durable.append(tmp_path / "log", b"three\n")
    assert (tmp_path / "log").read_bytes() == torn + b"\nthree\n"


def test_an_append_that_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    durable.append(tmp_path / "log", b"one\n")
    write, refuse = os.write, failing(errno.ENOSPC)
    monkeypatch.setattr(os, "write", lambda fd, data: refuse() if len(data) < 4 else write(fd, data[:2]))
    with pytest.raises(StorageError, match="full"):
        durable.append(tmp_path / "log", b"two\n")
    assert refuse.count == 1
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_an_append_that_can_not_be_taken_back_either_is_told_by_its_first_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"can't write {tmp_path / 'log'}: the disk is full"):
        durable.append(tmp_path / "log", b"one\n")


def test_what_is_written_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        durable.write(tmp_path / "written", b"x")
        durable.write_new(tmp_path / "new", b"x")
        durable.append(tmp_path / "log", b"x\n")
        durable.make_directory(tmp_path / "folder")
    finally:
        os.umask(before)
    modes = {
        name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("written", "new", "log", "folder")
    }
    assert modes == {"written": 0o600, "new": 0o600, "log": 0o600, "folder": 0o700}


def test_a_link_in_place_of_the_log_is_refused(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious\n")
    (tmp_path / "log").symlink_to("victim")
    with pytest.raises(StorageError, match="symbolic link"):
        durable.append(tmp_path / "log", b"line\n")
    assert (tmp_path / "victim").read_bytes() == b"precious\n"


@pytest.mark.parametrize("slice", [1, 3, 100])
def test_all_is_written_however_the_kernel_slices_it(tmp_path, monkeypatch, slice):
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:slice]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:slice], at))
    with durable.part_file(tmp_path / "file") as fd:
        durable.write_fully(fd, b"one two three")
        durable.pwrite_fully(fd, b"TWO THREE FOUR", 4)
    assert (tmp_path / "file.part").read_bytes() == b"one TWO THREE FOUR"


def test_what_does_not_fit_in_the_middle_of_a_file_is_told(tmp_path, monkeypatch):
    pwrite, refuse = os.pwrite, failing(errno.ENOSPC)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: refuse() if at == 6 else pwrite(fd, data[:2], at))
    with pytest.raises(StorageError, match="full"), durable.part_file(tmp_path / "file") as fd:
        durable.pwrite_fully(fd, b"bytes", 4)
    assert refuse.count == 1
    assert names(tmp_path) == set()


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


def test_what_can_not_be_swept_away_is_told(tmp_path, monkeypatch):
    (tmp_path / "new-1.part").write_bytes(b"x")
    monkeypatch.setattr(os, "unlink", failing(errno.EROFS))
    with pytest.raises(StorageError, match=f"can't write {tmp_path}: the file system is read-only"):
        durable.sweep(tmp_path)


@pytest.mark.parametrize("make", ["make_directory", "write_new", "write", "append", "publish_synced"])
def test_where_no_folder_is_the_path_is_named(tmp_path, make):
    path = tmp_path / "missing" / "file"
    given = {"make_directory": [path], "publish_synced": [tmp_path / "no", path]}
    with pytest.raises(StorageError, match=f"^can't write {path}(.part)?: no such file or directory$"):
        getattr(durable, make)(*given.get(make, [path, b"x"]))


def test_a_folder_is_emptied_but_not_what_a_link_leads_to(tmp_path):
    for name in ("ours", "theirs"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "file").touch()
    (tmp_path / "link").symlink_to("theirs")
    (tmp_path / "ours" / "link").symlink_to("../theirs")
    durable.empty(tmp_path / "link")
    durable.empty(tmp_path / "ours")
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["file", "inner"]
    assert list((tmp_path / "ours").iterdir()) == []
