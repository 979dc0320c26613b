"""A prune that is killed, stopped or refused by the disk at any system call loses nothing that stays."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL, REFUSALS, hold, hold_recovery
from tests.faults.crashpoints import Campaign
from tests.faults.program import command
from tests.faults.pruning import PRUNE, Pruned

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

# It worked after all, some of the space comes back later, damage or a refusal of the disk was met.
CODES = {
    "error": frozenset({0, 3, 6, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}


def campaign(pruned: Pruned, modes: list[str], points: int) -> Campaign:
    """Return the faults of a prune, all of them or so many of each mode."""
    return Campaign(pruned.base, pruned.trial(), modes, max_points=0 if FULL else points, codes=CODES)


def test_a_killed_prune_keeps_what_stays_and_the_next_one_finishes(pruned: Pruned) -> None:
    hold(campaign(pruned, ["kill"], 14))


def test_a_stopped_prune_keeps_what_stays(pruned: Pruned) -> None:
    hold(campaign(pruned, ["term", "int"], 3))


def test_a_prune_that_the_disk_refuses_keeps_what_stays(pruned: Pruned) -> None:
    hold(campaign(pruned, REFUSALS, 2))


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(pruned: Pruned) -> None:
    """A crash while the next prune finishes."""
    hold_recovery(pruned.base, pruned.trial(), command(*PRUNE))
