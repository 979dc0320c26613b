"""A run that is killed, stopped or refused by the disk at any system call loses nothing."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL, REFUSALS, State, hold, hold_recovery
from tests.faults.crashpoints import Campaign
from tests.faults.program import command

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

# What a refused run may say: it worked after all, saved but incomplete, the source
# could not be read, the repository could not be written. Never 1, which is a bug.
CODES = {
    "error": frozenset({0, 3, 7, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
# A run only believes in the times of files that are older; younger ones hide a wrong mark.
SETTLE_S = 2.1


def campaign(state: State, modes: list[str], points: int) -> Campaign:
    """Return the faults of a run, all of them or so many of each mode."""
    points = 0 if FULL else points
    return Campaign(state.base, state.trial(), modes, max_points=points, codes=CODES, settle_s=SETTLE_S)


@pytest.fixture(params=["first", "changed"])
def state(request: pytest.FixtureRequest) -> State:
    """The very first run, and one with earlier backups."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, State)
    return found


def test_a_killed_run_keeps_every_backup_and_the_next_run_works(state: State) -> None:
    """SIGKILL on entry of the call."""
    hold(campaign(state, ["kill"], 12))


def test_a_stopped_run_leaves_no_half_backup(state: State) -> None:
    """SIGTERM and SIGINT, as systemd and Ctrl-C send them."""
    hold(campaign(state, ["term", "int"], 2))


def test_a_run_that_the_disk_refuses_keeps_every_backup(state: State) -> None:
    """Errors from any call, once and for ever; exit 0 only if the backup is there."""
    hold(campaign(state, REFUSALS, 1))


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(changed: State) -> None:
    """A crash during the run after a crash."""
    hold_recovery(changed.base, changed.trial(), command("run"))
