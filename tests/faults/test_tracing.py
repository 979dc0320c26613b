"""What strace says is read right, also where it had to split a call between two lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults import modes
from tests.faults.crashpoints import Campaign
from tests.faults.tracing import Call, parse
from tests.faults.trial import Trial

LOG = """\
11 rename("\\x61", "\\x62" <unfinished ...>
12 fsync(3</x>) = 0
11 <... rename resumed>) = 0
12 unlink("\\x61" <unfinished ...>
"""


def test_a_call_that_was_split_is_whole_and_one_that_never_came_back_is_last():
    calls = [
        Call("12", "fsync", "3</x>) = 0"),
        Call("11", "rename", '"\\x61", "\\x62") = 0'),
        Call("12", "unlink", '"\\x61"'),
    ]
    assert list(parse(LOG)) == calls


@pytest.mark.faults
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("mode", ["kill", "term", "int", "eio"])
def test_a_fault_that_does_not_come_is_a_miss(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever the command ended with: a delay in the place of a signal or an error is none."""
    (tmp_path / "base").mkdir()
    making = f"{sys.executable} -c 'import os; os.makedirs(\"made\", exist_ok=True)'"
    campaign = Campaign(tmp_path / "base", Trial(making, recover=making, forbid="nothing"), [mode])
    assert [result.verdict for result in campaign.run()] == ["ok"]
    monkeypatch.setattr(modes, "injection", lambda mode, point, shift: f"{point.name}:delay_enter=1")
    assert [result.verdict for result in campaign.run()] == ["miss"]
    monkeypatch.setattr(campaign, "nested", 1)
    assert [result.verdict for result in campaign.run()] == ["miss", "miss"]


@pytest.mark.faults
@pytest.mark.usefixtures("traced")
def test_a_recovery_is_killed_at_every_call(tmp_path: Path):
    """After one kill at both calls of what recovers from it, however few the first campaign tries."""
    (tmp_path / "base").mkdir()
    making = f"{sys.executable} -c 'import os; os.makedirs(\"made/within\", exist_ok=True)'"
    campaign = Campaign(tmp_path / "base", Trial(making, recover=making), ["kill"], max_points=1, nested=1)
    assert [result.verdict for result in campaign.run()] == ["ok"] * 3
