"""A rollback that is killed, stopped or refused by the disk at any call leaves the old state or the new."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, REFUSALS, SOURCE, hold, hold_recovery
from tests.faults.crashpoints import Campaign
from tests.faults.inspect_repository import step
from tests.faults.program import command
from tests.faults.sides import RolledBack
from tests.faults.trial import copy

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

CODES = {
    "error": frozenset({0, 3, 7, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
SETTLE_S = 2.1


def campaign(rolled_back: RolledBack, modes: list[str], points: int) -> Campaign:
    """Return the faults of a rollback, all of them or so many of each mode."""
    base, trial, points = rolled_back.base, rolled_back.trial(), 0 if FULL else points
    return Campaign(base, trial, modes, max_points=points, codes=CODES, settle_s=SETTLE_S)


def test_a_killed_rollback_leaves_the_old_state_or_the_new_one(rolled_back: RolledBack) -> None:
    """SIGKILL on entry of the call."""
    hold(campaign(rolled_back, ["kill"], 12))


def test_a_stopped_rollback_leaves_the_old_state_or_the_new_one(rolled_back: RolledBack) -> None:
    """SIGTERM and SIGINT, as a person or a shutdown sends them."""
    hold(campaign(rolled_back, ["term", "int"], 2))


def test_a_rollback_that_the_disk_refuses_leaves_the_old_state_or_the_new_one(
    rolled_back: RolledBack,
) -> None:
    """Errors from any call, once and for ever; exit 0 only if it was done."""
    hold(campaign(rolled_back, REFUSALS, 2))


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(rolled_back: RolledBack) -> None:
    """A crash while the next run finishes or reverses."""
    # That a recovery ended with 0 doesn't say to which side it went.
    either = step(lambda directory, facts: rolled_back.inspect(directory, {**facts, "CRASH_RC": ""}))
    trial = dataclasses.replace(rolled_back.trial(), inspect=either)
    hold_recovery(rolled_back.base, trial, command("run"))


def test_the_sides_tell_a_mixture(rolled_back: RolledBack, tmp_path: Path) -> None:
    """The judge itself: a new picture beside the old collection is a mixture."""
    base, trial = rolled_back.base, rolled_back.trial()
    mixed = copy(base, tmp_path / "mixed")
    (mixed / SOURCE / "collection.media" / "noise.jpg").write_bytes(b"?")
    assert callable(trial.check)
    assert trial.check(mixed, {}).output == "Broken: what is there is a mixture of old and new"
