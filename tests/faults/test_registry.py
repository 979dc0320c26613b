"""No command is forgotten: each reads only, or has a scenario in which it is killed and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from anki_backup.commands import COMMANDS
from tests.faults.conftest import FULL, State
from tests.faults.crashpoints import Campaign
from tests.faults.program import command
from tests.faults.registry import APART, READING, WRITING
from tests.faults.trial import Trial

pytestmark = pytest.mark.faults

SHOWN = [word for word in READING if word in COMMANDS]


def test_every_command_reads_only_or_has_a_scenario():
    known = [*READING, *WRITING, *APART]
    assert len(known) == len(set(known))
    assert COMMANDS.keys() - set(known) == set(), "put it into tests/faults/registry.py, with its scenario"


@pytest.mark.parametrize("word", [word for word in WRITING if word in COMMANDS])
def test_a_writing_command_is_faulted_where_the_registry_says(word):
    file = Path(__file__).with_name(WRITING[word])
    # The scenarios call it by its word: `command("run")`, or as the key of a table.
    assert f'"{word}"' in file.read_text() or f'"{word} ' in file.read_text()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("word", SHOWN if FULL else ["list", "show", "status", "diff"])
def test_a_reading_command_changes_no_file(word: str, changed: State) -> None:
    """Not one call that would: so there is no point at which a crash could harm."""
    trial = Trial(command(READING[word]), environment=changed.environment)
    found = Campaign(changed.base, trial, ["kill"], may_fail=True).list_points()
    assert [f"{point.id} {point.arguments}" for point in found] == []
