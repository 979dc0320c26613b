"""What the time of a backup went into: measured by every run, kept in the manifest, and no more than that."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from anki_backup import laps
from anki_backup.laps import Laps
from anki_backup.model import BackupManifest, Step, seal, unseal
from tests.homes import Home
from tests.made_collections import make_changeable

ALL = ["look", "capture", "compare", "media", "read", "store", "flush"]
EDIT = "UPDATE notes SET flds = 'edit ' || flds WHERE id = (SELECT min(id) FROM notes)"


@pytest.fixture
def clock(monkeypatch):
    """Return what sets the clock, in milliseconds."""
    at = [100.0]
    monkeypatch.setattr(laps.time, "monotonic", lambda: at[0])

    def go(milliseconds: float) -> None:
        at[0] += milliseconds / 1000

    return go


@pytest.mark.parametrize("threads", [1, 2])
def test_every_backup_says_what_its_time_went_into(threads, tmp_path):
    home = Home(tmp_path, make_changeable(tmp_path / "made.anki2"))
    for statements in ((), (EDIT,)):
        backup = home.run(*statements, threads=threads).backup
        manifest = home.repository.manifest(backup.id)
        assert [step.name for step in manifest.steps] == ALL
        assert sum(step.ms for step in manifest.steps) == backup.duration_ms.total > 0
    document = json.loads((home.repository.history.folder(backup.id) / "metadata.json").read_bytes())
    assert [name for name, _ in document["steps"]] == ALL
    assert home.is_sound()


def test_laps_follow_each_other_and_what_is_tried_again_counts_to_its_step(clock):
    laps = Laps()
    for name, milliseconds in (
        ("look", 3.6),
        ("capture", 10),
        ("compare", 5.2),
        ("capture", 20),
        ("read", 0),
    ):
        clock(milliseconds)
        laps.end(name)
    assert laps.steps(0) == [Step("look", 4), Step("capture", 30), Step("compare", 5), Step("read", 0)]
    assert laps.total == 39, "parts of a millisecond do not add up to another whole"


@pytest.mark.parametrize(("sync_ms", "split"), [(0, [("look", 50)]), (40, [("sync", 40), ("look", 10)])])
def test_an_account_is_synced_as_it_is_looked_at(clock, sync_ms, split):
    laps = Laps()
    clock(50)
    laps.end("look")
    assert laps.steps(sync_ms) == [Step(*each) for each in split]
    assert laps.steps(60) == [Step("sync", 50), Step("look", 0)], "however the clocks were read"


def test_a_manifest_of_before_has_no_steps(tmp_path):
    home = Home(tmp_path, make_changeable(tmp_path / "made.anki2"))
    backup = home.run().backup
    document = structs.asdict(home.repository.manifest(backup.id))
    del document["steps"]
    assert unseal(seal(document), BackupManifest, "it").steps == []
    (home.repository.history.folder(backup.id) / "metadata.json").write_bytes(seal(document))
    assert home.repository.manifest(backup.id).steps == [] and home.is_sound()
