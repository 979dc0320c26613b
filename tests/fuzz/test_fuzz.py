"""The kept corpus of every target, and the same few hundred mangled inputs each time."""

from __future__ import annotations

import random

import pytest

from anki_backup.errors import DamageError
from tests.fuzz import Campaign, Target, corpus, mangled
from tests.fuzz.targets import TARGETS

# Of how many runs of a campaign one is made here.
SHARE = 2500


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_stands_the_corpus_and_what_is_made_of_it(name):
    target = TARGETS[name]
    campaign = Campaign(target)
    inputs = corpus(target)
    kept = inputs[len(target.seeds) :]
    assert kept
    if not target.rooms:  # a conversation: there are other tests that ask for each thing once
        inputs = [*target.seeds[::4], *kept]
    findings = campaign.begin(inputs)
    assert not findings, findings
    before = len(campaign.reached)
    finding = campaign.go(target.runs // SHARE)
    assert finding is None, finding
    assert before > 5
    finding, _ = campaign.end()
    assert finding is None, finding


def _weak(data: bytes) -> None:
    if not data.startswith(b"{"):
        raise DamageError("what is expected")
    if len(data) > 20:
        data.decode("ascii")


def test_the_harness_finds_what_it_is_for():
    """The judge itself: an error that is none of ours is found, and its input is told."""
    campaign = Campaign(Target("weak", _weak, (b'{"a": "some text"}',), ()))
    assert campaign.begin(campaign.target.seeds) == []
    finding = campaign.go(20_000)
    assert finding is not None
    assert finding.why.startswith("UnicodeDecodeError")
    with pytest.raises(UnicodeDecodeError):
        _weak(finding.data)


def test_what_reaches_new_lines_is_kept():
    campaign = Campaign(TARGETS["lookup"])
    campaign.begin([b"latest"])
    reached = len(campaign.reached)
    assert campaign.go(4000) is None
    assert len(campaign.kept) > 1
    assert len(campaign.reached) > reached


def test_what_is_answered_in_a_new_way_is_kept():
    campaign = Campaign(Target("conversation", lambda data: {data[:1]}, (b"hello",)))
    campaign.begin(campaign.target.seeds)
    assert campaign.go(200) is None
    assert len(campaign.kept) == len(campaign.reached) > 10


def test_what_holds_for_all_runs_together_is_asked_at_the_end():
    def end():
        raise AssertionError("9 descriptors are left open")

    finding, _ = Campaign(Target("leak", lambda _: set(), (b"",), end=end)).end()
    assert finding is not None
    assert "9 descriptors" in finding.why


def test_the_same_seed_makes_the_same_inputs():
    one, other = (
        [mangled(rnd, b"0123456789", [b"abc"]) for _ in range(99)]
        for rnd in (random.Random(7), random.Random(7))
    )
    assert one == other
    assert len(set(one)) > 60
