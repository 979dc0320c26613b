"""Which base the next delta of a collection gets."""

from __future__ import annotations

import hashlib

import pytest

from anki_backup import chains
from tests.histories import HOUR, Histories

MUCH, LITTLE = 900, 3


def kept(histories: Histories, answers: list[int]) -> list[bytes]:
    """Keep a backup after each number of answers; return what each holds."""
    states = []
    for count in answers:
        histories.now += HOUR
        histories.back_up(answers=count)
        states.append(bytes(histories.sources["home"].pages))
    return states


@pytest.mark.parametrize(
    ("answers", "bases"),
    [
        ([LITTLE] * 5, [None, 0, 1, 2, 0]),
        # Too much for one delta lies between 0 and 4, but not between 3 and 4; 8 stands on 4 again.
        ([MUCH] * 5 + [LITTLE] * 4, [None, 0, 1, 2, 3, 4, 5, 6, 4]),
    ],
)
def test_where_too_much_lies_between_the_newest_is_the_base(
    tmp_path, monkeypatch, answers: list[int], bases: list[int | None]
) -> None:
    monkeypatch.setattr(chains, "SKIPS", (4,))
    histories = Histories(tmp_path / "repository", units=100)
    states = kept(histories, answers)
    names = [hashlib.sha256(state).hexdigest() for state in states]
    store = histories.repository.store
    found = [store.info(name).base for name in names]
    assert [names.index(base) if base else None for base in found] == bases
    assert [store.info(name).position for name in names] == list(range(len(answers)))
    assert [chains.read(store, name) for name in names] == states
