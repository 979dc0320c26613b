"""A power cut at any moment of a run loses nothing that was promised."""

from __future__ import annotations

import pytest

from tests.faults.conftest import FULL, State
from tests.faults.powercut import Campaign, summary

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]


@pytest.mark.parametrize("fs", ["posix", "ext4"])
@pytest.mark.parametrize("name", ["first", "changed"])
def test_a_power_cut_keeps_every_backup_and_what_exit_0_promised(
    name: str, fs: str, request: pytest.FixtureRequest
) -> None:
    """Every backup from before is whole; after the run's end the new one is too."""
    state = request.getfixturevalue(name)
    assert isinstance(state, State)
    campaign = Campaign(state.base, state.trial(), fs, max_states=0 if FULL else 25)
    results = campaign.run()
    bad = [str(result) for result in results if result.why]
    print(summary(results, campaign.distinct)[1])
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("fs", ["posix", "ext4"])
def test_a_program_that_forgets_to_sync_is_found_out(fs: str, changed: State) -> None:
    """The model can fail: without a sync, some of what may be left is not what was promised."""
    results = Campaign(changed.base, changed.forgetful(), fs, max_states=12).run()
    assert any(result.why for result in results)
