"""A power cut at any moment of a prune loses nothing that stays."""

from __future__ import annotations

import os

import pytest

from tests.faults.conftest import FULL
from tests.faults.powercut import END, Campaign, Cut, summary
from tests.faults.program import Program
from tests.faults.pruning import Pruned

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]


@pytest.fixture(scope="module")
def pruned(
    tmp_path_factory: pytest.TempPathFactory, program: Program, surroundings: dict[str, str]
) -> Pruned:
    """A small one: each name that goes doubles what a cut may leave."""
    return Pruned(tmp_path_factory.mktemp("pruned"), program, surroundings, backups=7)


def between_two_forms(cuts: list[Cut], pruned: Pruned) -> list[str]:
    """Return when an object that was there would be neither as it was nor as it is to be."""
    objects = (pruned.base / "repository" / "objects").glob("??/*")
    old = {bytes(path.relative_to(pruned.base)): path.read_bytes() for path in objects}
    new = next(cut.tree for cut in cuts if cut.moment == END)
    changed = {path for path, data in old.items() if path in new and new[path].content != data}
    assert changed, "no object takes a new form"
    return [
        f"{cut.moment}, {cut.arrived}: {os.fsdecode(path)}"
        for cut in cuts
        for path in changed & cut.tree.keys()
        if cut.tree[path].content not in (old[path], new[path].content)
    ]


@pytest.mark.parametrize("fs", ["posix", "ext4"])
def test_a_power_cut_during_a_prune_keeps_what_stays(fs: str, pruned: Pruned) -> None:
    """Every backup that stays is whole, and the next prune finishes."""
    torn: list[str] = []
    campaign = Campaign(
        pruned.base,
        pruned.trial(),
        fs,
        max_states=0 if FULL else 12,
        on_cuts=lambda cuts: torn.extend(between_two_forms(cuts, pruned)),
    )
    results = campaign.run()
    # Of all states, not only of those that are built.
    assert not torn, "\n".join(torn)
    bad = [str(result) for result in results if result.why]
    print(summary(results, campaign.distinct)[1])
    assert not bad, "\n".join(bad)
