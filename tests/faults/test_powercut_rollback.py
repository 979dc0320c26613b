"""A power cut at any moment of a rollback leaves the old state or the new one, and all backups."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL
from tests.faults.powercut import Campaign, summary
from tests.faults.sides import RolledBack

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]


# So many states that a rollback which gives nothing a second name on disk is found out.
@pytest.mark.parametrize(("fs", "states"), [("posix", 260), ("ext4", 14)])
def test_a_power_cut_during_a_rollback_leaves_one_state_of_both(
    fs: str, states: int, rolled_back: RolledBack
) -> None:
    """After the next command there is one of them, whole; after exit 0 it is the new one."""
    campaign = Campaign(
        rolled_back.base, rolled_back.trial(), fs, max_states=0 if FULL else states, same_place=True
    )
    results = campaign.run()
    bad = [str(result) for result in results if result.why]
    print(summary(results, campaign.distinct)[1])
    assert not bad, "\n".join(bad)
