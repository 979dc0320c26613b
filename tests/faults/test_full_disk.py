"""Disks of every size from full on, without inodes, and read-only: real ones, in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, State
from tests.faults.inspect_repository import ask, backups, check, inspect
from tests.faults.registry import READING
from tests.faults.trial import copy

pytestmark = pytest.mark.faults

PLENTY = "size=64m,nr_inodes=100000"
STEP = 4096
STORAGE, AFTERWARDS, SOURCE_REFUSED = 8, 3, 7
# In CI a few sizes; else every one, until three in a row were enough.
STEPS = range(400) if FULL else (0, 1, 3, 9, 20, 60)


def mount(*words: str) -> str:
    """Call mount or umount; return what it says against it."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr.strip()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory; skips, with the reason, where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if reason := mount("mount", "-t", "tmpfs", "-o", PLENTY, "tmpfs", str(place)):
        pytest.skip(f"no file system can be mounted here: {reason}")
    yield place
    mount("umount", "-l", str(place))


@contextmanager
def limited(disk: Path, options: str) -> Iterator[None]:
    """Give the disk other limits for a while."""
    assert not mount("mount", "-o", f"remount,{options}", str(disk))
    yield
    assert not mount("mount", "-o", f"remount,rw,{PLENTY}", str(disk))


def pages(disk: Path, spare: int) -> str:
    """Return the option that leaves so many pages free."""
    found = os.statvfs(disk)
    return f"size={(found.f_blocks - found.f_bfree) * found.f_bsize + spare * STEP}"


def inodes(disk: Path, spare: int) -> str:
    """Return the option that leaves so many inodes free."""
    found = os.statvfs(disk)
    return f"nr_inodes={found.f_files - found.f_ffree + spare}"


@pytest.mark.parametrize("limit", [pages, inodes], ids=["bytes", "inodes"])
def test_a_run_on_a_disk_of_any_size_keeps_every_backup(
    limit: Callable[[Path, int], str], changed: State, disk: Path
) -> None:
    """It says that the disk is full, or makes its backup; with space again the next run works."""
    enough = tried = 0
    for spare in STEPS:
        state = copy(changed.base, disk / "state")
        with limited(disk, limit(disk, spare)):
            answer = changed.program(state, "run")
            assert answer.code in (0, AFTERWARDS, STORAGE), (spare, answer)
            assert "Traceback" not in answer.stderr
            assert answer.code == 0 or "disk is full" in answer.stderr, (spare, answer)
            # What could not be done after saving is said, and the backup is there.
            saved = answer.code in (0, AFTERWARDS)
            inspect(changed.program, state, changed.expected, {"CRASH_RC": "0" if saved else "8"})
        ask(changed.program, state, "run")
        check(changed.program, state, changed.expected)
        subprocess.run(["rm", "-rf", str(state)], check=True)
        tried += 1
        enough = enough + 1 if answer.code == 0 else 0
        if enough == 3:
            break
    assert tried > enough > 0


def test_with_no_byte_free_all_can_be_read_and_space_be_made(
    changed: State, disk: Path, tmp_path: Path
) -> None:
    """Reading needs no space, and pruning gives some back."""
    state = copy(changed.base, disk / "state")
    (state / "config.toml").write_text((state / "config.toml").read_text() + "\n[retention]\nlast = 1\n")
    assert changed.program(state, "run").code == 0
    assert len(backups(changed.program, state)) == 3
    with limited(disk, pages(disk, 0)):
        assert os.statvfs(disk).f_bavail == 0
        reading(changed, state, tmp_path)
        told = ask(changed.program, state, "prune", "--yes")
        assert "Traceback" not in told.stderr
        assert os.statvfs(disk).f_bavail > 0
        ask(changed.program, state, "verify", "--read-data")
    assert 0 < len(backups(changed.program, state)) < 3
    ask(changed.program, state, "run")


def reading(changed: State, state: Path, tmp_path: Path) -> None:
    """Type every command that reads, and every kind of export."""
    for word, words in READING.items():
        ask(changed.program, state, *words.split(), codes=(0, 1) if word in ("status", "doctor") else (0,))
    ask(changed.program, state, "list", "--json")
    ask(changed.program, state, "verify", "--read-data")
    for form in ("anki2", "dir", "colpkg", "apkg", "tar.zst", "zip"):
        ask(changed.program, state, "export", "latest", "--format", form, "-o", str(tmp_path / f"out.{form}"))


# What would write -> how it ends where nothing can be written. A proof is one, though not on record; what
# goes back into a profile is refused by its own disk before ours is asked.
REFUSED = {
    "run": STORAGE,
    "pin latest": STORAGE,
    "unpin latest": STORAGE,
    "acknowledge latest": STORAGE,
    "prune --yes": STORAGE,
    "catalog rebuild": STORAGE,
    "token add phone": STORAGE,
    "import profile": STORAGE,
    "verify --restore": AFTERWARDS,
    "rollback latest --yes": SOURCE_REFUSED,
    "restore-notes latest --search deck:Deck::1 --into desktop --yes": SOURCE_REFUSED,
}


def test_a_repository_that_can_not_be_written_can_be_read(changed: State, disk: Path, tmp_path: Path) -> None:
    """Reading works; what would write says that it can't, and names the place."""
    state = copy(changed.base, disk / "state")
    with limited(disk, "ro"):
        reading(changed, state, tmp_path)
        for words, code in REFUSED.items():
            told = ask(changed.program, state, *words.split(), codes=(code,))
            assert str(state.name) in told.stderr and "Traceback" not in told.stderr, told
    inspect(changed.program, state, changed.expected, {"CRASH_RC": "8"})
