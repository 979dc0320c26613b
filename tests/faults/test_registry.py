"""No command is forgotten: each reads only, or has a scenario in which it is killed and refused."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from keyword import iskeyword
from pathlib import Path

import pytest

from anki_backup.commands import COMMANDS
from tests.faults.conftest import FULL, State
from tests.faults.crashpoints import Campaign
from tests.faults.program import command
from tests.faults.registry import APART, READING, WRITING
from tests.faults.trial import Trial

pytestmark = pytest.mark.faults


def leaves() -> Iterator[str]:
    """Yield every command that can be typed, those of a group with their own word."""
    for word in COMMANDS:
        module = import_module(f"anki_backup.commands.{word.replace('-', '_')}{'_' * iskeyword(word)}")
        for each in module.app.registered_commands if hasattr(module, "app") else []:
            yield f"{word} {each.name or each.callback.__name__}"
        if not hasattr(module, "app"):
            yield word


def test_every_command_reads_only_or_has_a_scenario():
    known = [*READING, *WRITING, *APART]
    assert sorted(leaves()) == sorted(known), "put it into tests/faults/registry.py, with its scenario"


@pytest.mark.parametrize("word", WRITING)
def test_a_writing_command_is_faulted_where_the_registry_says(word):
    name, text = WRITING[word]
    assert text in Path(__file__).with_name(name).read_text()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("word", READING if FULL else ["list", "show", "status", "diff"])
def test_a_reading_command_changes_no_file(word: str, changed: State) -> None:
    """Not one call that would: so there is no point at which a crash could harm."""
    trial = Trial(command(READING[word]), environment=changed.environment)
    found = Campaign(changed.base, trial, ["kill"], may_fail=True).list_points()
    assert [f"{point.id} {point.arguments}" for point in found] == []
