"""A power cut at any moment of a prune loses nothing that stays."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL
from tests.faults.powercut import Campaign, summary
from tests.faults.program import Program
from tests.faults.pruning import Pruned

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]


@pytest.fixture(scope="module")
def pruned(
    tmp_path_factory: pytest.TempPathFactory, program: Program, surroundings: dict[str, str]
) -> Pruned:
    """A small one: each name that goes doubles what a cut may leave."""
    return Pruned(tmp_path_factory.mktemp("pruned"), program, surroundings, backups=7)


@pytest.mark.parametrize("fs", ["posix", "ext4"])
def test_a_power_cut_during_a_prune_keeps_what_stays(fs: str, pruned: Pruned) -> None:
    """Every backup that stays is whole, and the next prune finishes."""
    campaign = Campaign(pruned.base, pruned.trial(), fs, max_states=0 if FULL else 12)
    results = campaign.run()
    bad = [str(result) for result in results if result.why]
    assert not bad, "\n".join([*bad, summary(results, campaign.distinct)[1]])
