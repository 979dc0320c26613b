"""A prune that is killed, stopped or refused by the disk at any system call loses nothing that stays."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL, REFUSALS, recovered
from tests.faults.crashpoints import Campaign, summary
from tests.faults.program import command
from tests.faults.pruning import PRUNE, Pruned

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

# It worked after all, some of the space comes back later, damage or a refusal of the disk was met.
CODES = {
    "error": frozenset({0, 3, 6, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}


def hold(pruned: Pruned, modes: list[str], points: int) -> None:
    campaign = Campaign(pruned.base, pruned.trial(), modes, max_points=0 if FULL else points, codes=CODES)
    results = campaign.run()
    bad = [str(result) for result in results if result.verdict != "ok"]
    print(summary(results)[1])
    assert not bad, "\n".join(bad)


def test_a_killed_prune_keeps_what_stays_and_the_next_one_finishes(pruned: Pruned) -> None:
    hold(pruned, ["kill"], 14)


def test_a_stopped_prune_keeps_what_stays(pruned: Pruned) -> None:
    hold(pruned, ["term", "int"], 3)


def test_a_prune_that_the_disk_refuses_keeps_what_stays(pruned: Pruned) -> None:
    hold(pruned, REFUSALS, 2)


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(pruned: Pruned) -> None:
    """A crash while the next prune finishes."""
    recovered(pruned.base, pruned.trial(), command(*PRUNE))
