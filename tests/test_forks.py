"""Work is spread over forked processes, comes back in its order, and none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from anki_backup.errors import AnkibakError, StorageError
from anki_backup.forks import SLICE, spread
from tests.conftest import ROOT

ITEMS = range(5 * SLICE + 7)


def children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(file.read().split())


@pytest.fixture(autouse=True)
def others() -> Iterator[set[str]]:
    """Children that other tests keep, as the warm program; in the end there are no more."""
    before = children()
    yield before
    assert children() <= before


@pytest.mark.parametrize("processes", [1, 2, 3, 50])
def test_answers_come_in_the_order_of_the_items(processes):
    answers = list(spread(ITEMS, processes, lambda items: (os.getpid(), list(items))))
    assert [item for _, items in answers for item in items] == list(ITEMS)
    assert len({pid for pid, _ in answers}) == min(processes, 6)
    assert (os.getpid() in {pid for pid, _ in answers}) == (processes == 1)


def test_little_is_done_without_a_fork():
    assert list(spread(ITEMS[:SLICE], 2, lambda items: os.getpid())) == [os.getpid()]
    assert list(spread([], 2, len)) == []


def test_what_fails_there_is_raised_here():
    def work(items):
        raise StorageError("the disk is full", hint="Free some.")

    with pytest.raises(StorageError, match="the disk is full") as raised:
        list(spread(ITEMS, 2, work))
    assert raised.value.hint == "Free some."


def test_one_that_is_killed_is_told_of():
    def work(items):
        if items[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(items)

    with pytest.raises(AnkibakError, match="was killed"):
        list(spread(ITEMS, 2, work))


def test_who_wants_no_more_leaves_none_behind(others):
    with closing(spread(ITEMS, 2, lambda items: time.sleep(0.01))) as answers:
        next(answers)
        assert len(children() - others) == 2


PARENT = """
import os, sys, time
from anki_backup.forks import spread
def work(items):
    time.sleep(0.1)
    return os.getpid()
for pid in spread(range(100_000), 2, work):
    print(pid, flush=True)
"""


def test_forks_end_soon_after_their_parent_was_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        pids = {parent.stdout.readline().strip() for _ in range(2)}
        parent.kill()
    assert len(pids) == 2
    for _ in range(100):
        left = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and not is_dead(pid)]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {left}")


def is_dead(pid: str) -> bool:
    """Say whether only the entry is left, where nobody collects orphans."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
