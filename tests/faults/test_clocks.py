"""Clocks that stand, leap, and come back: nothing is lost, and nothing is called safe that is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from anki_backup.settings import Retention
from anki_backup.values import duration
from tests.faults import clocks
from tests.faults.clock_life import BEGIN, DAY, Life
from tests.faults.clock_model import Made, must_not_be_gone
from tests.faults.clocks import Clock
from tests.faults.conftest import FULL, State
from tests.faults.program import Warm
from tests.faults.trial import copy, scratch

pytestmark = pytest.mark.faults

# In CI a handful of lives, drawn so that every command is typed; each is told by its number.
LIVES, STEPS = (200, 24) if FULL else (3, 6)


DAYS = {f"{day}": BEGIN + day * DAY for day in range(4)}


def backups(days: dict[str, datetime], *wrong: str) -> dict[str, Made]:
    return {name: Made("", at, name not in wrong) for name, at in days.items()}


def test_the_model_knows_what_a_right_clock_would_keep():
    daily = Retention(daily=3)
    assert "gone" not in must_not_be_gone(daily, backups(DAYS), None, {"0"})
    assert "a right clock" in must_not_be_gone(daily, backups(DAYS), None, {"0", "1"})
    assert must_not_be_gone(daily, backups(DAYS), None, {"3"}) == "gone: {'3'}"
    assert must_not_be_gone(daily, backups(DAYS), "0", {"0"}) == "gone: {'0'}"


def test_the_model_lets_a_wrong_time_cost_one_place_and_no_more():
    ahead = {**DAYS, "ahead": BEGIN + 4000 * DAY}
    assert not must_not_be_gone(Retention(daily=3), backups(ahead, "ahead"), None, {"0", "1"})
    assert must_not_be_gone(Retention(daily=3), backups(ahead, "ahead"), None, {"0", "1", "2"})
    within = Retention(within=duration("6d"))
    assert not must_not_be_gone(within, backups(ahead, "ahead"), None, {"0"})
    assert must_not_be_gone(within, backups(ahead, "ahead"), None, {"0", "1"})


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock for the program alone; skips, with the reason, where there is none."""
    if clocks.library() is None:
        pytest.skip("faketime is not installed, so the program's clock can't be set")
    return Clock(tmp_path)


@pytest.fixture
def clocked(clock: Clock, surroundings: dict[str, str]) -> Iterator[Warm]:
    """The program, warm, under that clock, in Berlin; begun anew, as its looks are counted from there on."""
    warm = Warm({**surroundings, **clock.environment(), "TZ": "Europe/Berlin"}, clock.begun_with())
    yield warm
    warm.close()


@pytest.mark.parametrize("seed", range(LIVES))
def test_whatever_the_clock_says_nothing_is_lost(
    seed: int, first: State, clock: Clock, clocked: Warm
) -> None:
    """Commands and leaps, one after the other, each life beside its model."""
    with tempfile.TemporaryDirectory(prefix="clock.", dir=scratch()) as folder:
        Life(seed, copy(first.base, Path(folder, "state")), clock, clocked).live(STEPS)
