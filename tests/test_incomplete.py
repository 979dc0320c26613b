"""A run that left something out: its record says so, and says it as long as the log is kept."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from anki_backup import events, media, watch
from anki_backup.events import KEPT_SINGLY
from anki_backup.model import Run
from anki_backup.runs import Result
from tests.homes import Home
from tests.made_collections import make_changeable, sql

EDIT = "UPDATE notes SET flds = 'edit ' || flds WHERE id = (SELECT min(id) FROM notes)"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    made = make_changeable(tmp_path / "made.anki2")
    return Home(tmp_path, made)


def ends(home):
    """Return the ends of runs as the log has them."""
    return [each.event for each in events.read(home.repository.history.log) if each.event["event"] == "run"]


def content(home):
    with closing(home.repository.history.open_catalog()) as catalog:
        return catalog.content()


def test_what_was_left_out_is_recorded_with_the_run_and_nothing_where_all_was_saved(home):
    folder = home.folder / "collection.media"
    assert home.run().run.warning is None
    (folder / "link.jpg").symlink_to("cat.jpg")
    linked = home.run(EDIT)
    assert linked.warnings and linked.run.warning is None, "a link is told of, and is no file"
    sql(home.collection, "UPDATE notes SET flds = '<img src=cat.jpg>' || flds")
    shutil.rmtree(folder)
    gone, still = home.run(), home.run()
    assert [each.run.outcome for each in (gone, still)] == ["created", "skipped"]
    assert [each.run.warning for each in (gone, still)] == [gone.warnings[0], still.warnings[0]]
    assert ["warning" in event for event in ends(home)] == [False, False, True, True]
    told = [run.warning for run in home.repository.runs()]
    assert told == [still.run.warning, gone.run.warning, None, None] and "is missing" in told[0]
    grown = content(home)
    home.repository.rebuild_catalog()
    assert content(home) == grown
    assert [run.warning for run in home.repository.runs()] == told


def test_a_row_of_the_catalog_is_what_it_was_before_runs_had_warnings(home):
    home.run()
    (row,) = (row for row in content(home) if row[0] == "_RunRow")
    fields = "source started_at outcome reason backup error stored_bytes duration_ms count"
    assert list(json.loads(row[3])) == fields.split()


def test_the_warning_is_one_line_however_much_was_left_out(home, monkeypatch):
    for number in range(1233):
        (home.folder / "collection.media" / f"{number:04}.mp3").write_bytes(b"a sound")
    monkeypatch.setattr(
        media.Collector, "_keep", lambda self, folder, entry: media._left_out(entry, "is odd")
    )
    told = home.run().run.warning
    assert told == "media file 0000.mp3 could not be read: is odd, and 1,233 more"
    assert len(home.run().run.warning) < 100


def test_a_run_that_left_something_out_is_not_folded(tmp_path):
    log, first = tmp_path / "events.jsonl", NOW - KEPT_SINGLY - timedelta(days=9)
    for hour in range(4):
        at = first + timedelta(hours=hour)
        number = events.append(log, "run_started", at, source="home")
        warning = {"warning": "media file a.png could not be read"} if hour == 1 else {}
        told = {"run": number, "source": "home", "started_at": at, "outcome": "skipped"}
        events.append(log, "run", at, **told, reason="unchanged", **warning)
    assert events.fold(log, NOW)
    left = [each.event for each in events.read(log)]
    assert [event["event"] for event in left] == ["run_started", "run", "folded"]
    assert left[1]["warning"] == "media file a.png could not be read" and left[2]["count"] == 3


def test_a_secret_does_not_come_out_in_it():
    run = Run(source="home", started_at=NOW, outcome="created", warning="can't write hunter2")
    assert watch._redacted(Result(run), ["hunter2"]).run.warning == "can't write ********"


def test_runs_says_what_was_left_out(home, run_ankibak):
    sql(home.collection, "UPDATE notes SET flds = '<img src=cat.jpg>' || flds")
    shutil.rmtree(home.folder / "collection.media")
    told = home.run().run.warning
    done = run_ankibak("-c", home.config, "runs")
    assert done.stdout.rstrip("\n").split("\t")[-1] == told
    done = run_ankibak("-c", home.config, "runs", "--json")
    assert json.loads(done.stdout)["results"][0]["warning"] == told
