"""What is made from the settings: the list of keys, and the example."""

from __future__ import annotations

from anki_backup.commands.config import example_file
from anki_backup.config import load
from anki_backup.keys import KIND, NAME, keys, known, tables
from anki_backup.settings import Retention
from tests.conftest import ROOT


def test_every_key_has_one_line_that_explains_it():
    for path, table in tables():
        for key in known(table).values():
            assert key.description.endswith("."), (path, key.name)
            assert len(key.description) < 100
            assert "\n" not in key.description
    assert KIND.description


def test_the_keys_are_listed_with_a_placeholder_for_sources():
    found = keys()
    assert len(found) == len(set(found))
    assert {
        "storage.root",
        "sources.<name>.kind",
        "sources.<name>.path",
        "sources.<name>.retention.daily",
    } <= {*found}


def test_the_example_is_made_from_the_schema():
    assert (ROOT / "docs/config.example.toml").read_text("utf-8") == example_file()


def test_the_example_loads_and_changes_no_default(write):
    found, bare = load(write(example_file(), 0o644), {}), load(None, {})
    assert set(found.sources) == {"desktop", "ankiweb"}
    for name in ("storage", "retention", "schedule", "server", "security", "run"):
        assert getattr(found, name) == getattr(bare, name)


def test_every_line_of_the_example_can_be_used(write):
    lines = [
        line if line.startswith("# ") else line.removeprefix("#")
        for line in example_file().split("\n")
        if not line.startswith(("#retention_days", "#calendar"))
    ]
    text = "\n".join(lines)
    found = load(write(text), {})
    assert found.sources["desktop"].retention == Retention(daily=14)
    general = {key for key in keys() if NAME not in key} - {"storage.retention_days", "schedule.calendar"}
    assert general <= set(found.origins)
