"""Are the cards safe? What `status` answers, and that it tells nothing new from nothing done."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from anki_backup import cli, events, overview, safety
from anki_backup.catalog import VERSION
from anki_backup.config import load
from anki_backup.overview import Overview
from anki_backup.repository import Repository
from tests.conftest import ROOT
from tests.test_commands import add
from tests.test_house import HEAVY, loaded_by

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(hours=26)


class Place:
    """A repository, what happened in it, and a configuration with the source `home`."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository.create(folder / "repository")
        self.file = folder / "config.toml"
        self.file.write_text(
            '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "User 1"\n'
        )

    def backup(self, hours: float, source: str = "home", cards: int | None = 1000) -> str:
        with self.repository.writing("test"):
            name = add(self.repository, source, NOW - timedelta(hours=hours), cards)
            self.repository.index()
        return name

    def ran(self, hours: float, outcome: str = "skipped", source: str = "home", **fields: object) -> None:
        at = (NOW - timedelta(hours=hours)).isoformat()
        with self.repository.writing("test"):
            number = self.repository.record("run_started", source=source)
            fields = {"reason": "unchanged" if outcome == "skipped" else None, **fields}
            self.repository.record("run", run=number, source=source, started_at=at, outcome=outcome, **fields)

    def record(self, event: str, at: datetime = NOW, **fields: object) -> None:
        with self.repository.writing("test"):
            events.append(self.repository.history.log, event, at, **fields)

    def alarm(self, backup: str, kind: str = "cards") -> None:
        alarm = {"kind": kind, "before": 1000, "after": 12, "since": NOW.isoformat()}
        self.record("alarm", backup=backup, alarm=alarm)

    def status(self, max_age: timedelta | None = None) -> safety.Safety:
        verdict = safety.status(self.repository, load(self.file, {}), NOW, max_age)
        # The catalog may lag, be missing or be broken: the figures are the same.
        assert overview.look(self.repository.history, ["home"]) == overview._by_files(
            self.repository.history, {"home"}
        )
        return verdict


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_backup_a_moment_ago_is_safe(place: Place) -> None:
    name = place.backup(2)
    verdict = place.status()
    assert verdict.safe and verdict.problems == []
    assert verdict.sentence == "The cards are safe: home was backed up 2 h ago with 1,000 cards."
    (source,) = verdict.sources
    assert (source.last_backup, source.age_s) == (name, 7200)
    assert source.last_success_at == NOW - timedelta(hours=2)


def test_nothing_new_for_months_is_safe_as_long_as_somebody_looked(place: Place) -> None:
    place.backup(24 * 90)
    place.ran(1)
    verdict = place.status()
    assert verdict.safe
    assert verdict.sentence == (
        "The cards are safe: home was unchanged 1 h ago; its newest backup is from 3 months ago"
        " with 1,000 cards."
    )


def test_no_successful_run_for_too_long_is_not_safe(place: Place) -> None:
    place.backup(24 * 3)
    error = {"code": "source", "message": "the login was refused", "hint": None}
    for hours in range(70, 0, -1):
        place.ran(hours, "failed", error=error)
    verdict = place.status()
    assert not verdict.safe
    assert verdict.sentence == (
        "The cards are NOT safe: home had no successful run since 3 days ago (allowed: 26 h);"
        " its last run failed: the login was refused."
    )
    assert place.status(timedelta(days=4)).safe


def test_one_failure_within_the_allowed_age_changes_nothing(place: Place) -> None:
    place.backup(3)
    place.ran(2, "failed", error={"code": "source", "message": "gone"})
    place.ran(1, "interrupted")
    verdict = place.status()
    assert verdict.safe and verdict.sources[0].last_run.outcome == "interrupted"
    assert verdict.sources[0].age_s == 3 * 3600


def test_what_was_never_backed_up_is_not_safe(place: Place) -> None:
    assert place.status().sentence == "The cards are NOT safe: home was never backed up."
    place.ran(1, "failed", error={"code": "source", "message": "gone"})
    assert place.status().problems == ["home was never backed up; its last run failed: gone"]


def test_a_run_that_lies_in_the_future_counts_for_nothing(place: Place) -> None:
    place.backup(-24 * 400)
    assert place.status().problems == ["the last run of home lies in the future: is the clock right?"]


def test_an_alarm_stays_until_it_is_acknowledged(place: Place) -> None:
    name = place.backup(1)
    place.alarm(name)
    verdict = place.status()
    assert not verdict.safe and [item.backup for item in verdict.alarms] == [name]
    assert verdict.problems == [
        f"the cards of home fell from 1,000 to 12 in backup {name};"
        f" if that was meant, or is mended: ankibak acknowledge {name}"
    ]
    with place.repository.writing("test"):
        place.repository.index()
    assert not place.status().safe
    place.record("acknowledge", backup=name)
    assert place.status().safe and place.status().alarms == []


def test_an_alarm_of_an_older_backup_stays_too(place: Place) -> None:
    name = place.backup(2)
    place.alarm(name)
    place.backup(1)
    place.repository.rebuild_catalog()
    assert [item.backup for item in place.status().alarms] == [name]


@pytest.mark.parametrize("kind", ["cards", "notes", "deck", "media", "empty"])
def test_every_kind_of_alarm_says_what_it_means(kind: str, place: Place) -> None:
    place.alarm(place.backup(1), kind)
    assert ("12" in place.status().sentence or kind in ("empty", "deck")) and not place.status().safe


def test_known_damage_is_not_safe(place: Place) -> None:
    name = place.backup(1)
    place.record("verified", findings=3)
    assert place.status().findings == 3 and not place.status().safe
    place.repository.rebuild_catalog()
    assert place.status().findings == 3
    place.record("verified", findings=0)
    assert place.status().safe
    (place.repository.history.folder(name) / "metadata.json").write_text("{}")
    verdict = safety.status(place.repository, load(place.file, {}), NOW)
    assert not verdict.safe and "damaged" in verdict.sentence


def test_what_verify_finds_is_known_until_it_reads_everything_and_finds_nothing(place: Place) -> None:
    place.backup(1)
    assert safety.note_damage(place.repository, 2, whole=False) and not place.status().safe
    lines = place.repository.history.log.read_bytes().count(b"\n")
    assert safety.note_damage(place.repository, 2, whole=True)
    assert place.repository.history.log.read_bytes().count(b"\n") == lines
    assert not safety.note_damage(place.repository, 0, whole=False) and not place.status().safe
    with place.repository.writing("test"):
        assert not safety.note_damage(place.repository, 0, whole=True)
    assert safety.note_damage(place.repository, 0, whole=True) and place.status().safe


def test_verify_tells_status_what_it_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.backup(1)
    with time_machine.travel(NOW, tick=False):
        assert cli.answer(["-c", str(place.file), "verify", "--restore"]) == 6
        assert cli.answer(["-c", str(place.file), "status"]) == 1
    assert "is damaged, see what is left: ankibak verify --read-data --restore --l" in capsys.readouterr().out


def test_what_is_seldom_due_may_be_older(place: Place) -> None:
    place.file.write_text(place.file.read_text() + '[schedule]\ncron = "0 3 * * 1"\ntimezone = "UTC"\n')
    place.backup(24 * 7)
    verdict = place.status()
    assert verdict.safe and verdict.sources[0].next_run_at == datetime(2026, 11, 23, 3, tzinfo=UTC)
    place.file.write_text(place.file.read_text().replace('"0 3 * * 1"', '"0 3 * * *"'))
    assert not place.status().safe


def test_the_sums_are_those_of_all_backups_whatever_the_catalog_lacks(place: Place) -> None:
    names = [place.backup(hours) for hours in (9, 8, 7)]
    whole = sum(backup.stored_bytes for backup in place.repository.backups())
    assert place.status().repository.stored_bytes == whole
    assert place.status().repository.logical_bytes == 3 * 4096
    shutil.rmtree(place.repository.history.folder(names[0]))
    assert place.status().repository.backups == 2 and place.status().repository.logical_bytes == 8192
    with place.repository.writing("test"):
        place.repository.index()
    assert place.status().repository.logical_bytes == 8192
    before = place.repository.history.open_catalog().content()
    place.repository.rebuild_catalog()
    assert place.repository.history.open_catalog().content() == before


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_catalog_of_a_version_before_is_taken_along(place: Place, version: int) -> None:
    place.backup(2)
    path = place.repository.history.catalog_path
    with sqlite3.connect(path) as db:
        db.execute("drop index backup_order")
        if version == 1:
            for name in ("size_bytes", "stored_bytes"):
                db.execute(f"drop trigger add_{name}")
                db.execute(f"drop trigger drop_{name}")
                db.execute("delete from mark where key = ?", [name])
            db.execute("drop index backup_newest")
            db.execute("drop index backup_told")
        db.execute(f"pragma user_version = {version}")
    assert place.status().repository.logical_bytes == 4096
    place.backup(1)
    assert place.status().repository.logical_bytes == 8192
    with sqlite3.connect(path) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION,)
        assert ("backup_order",) in db.execute("select name from sqlite_master").fetchall()


def test_the_last_proof_is_told(place: Place) -> None:
    first, second = place.backup(3), place.backup(2)
    place.record("proof", NOW - timedelta(days=2), backup=first)
    place.record("proof", NOW - timedelta(days=1), backup=second)
    verdict = place.status()
    assert (verdict.proved_at, verdict.proved_backup) == (NOW - timedelta(days=1), second)


def test_several_sources_are_told_in_one_sentence(place: Place) -> None:
    tables = '[sources.work]\nkind = "profile"\npath = "w"\n[sources.old]\nkind = "profile"\npath = "o"\n'
    place.file.write_text(place.file.read_text() + tables + "enabled = false\n")
    place.backup(2)
    place.backup(5, "work")
    place.backup(500, "old")
    verdict = place.status()
    assert verdict.sentence.endswith("since 5 h ago; home with 1,000 cards, work with 1,000 cards.")
    assert [source.source for source in verdict.sources] == ["home", "work", "old"]


def test_each_source_has_its_own_allowed_age(place: Place) -> None:
    place.file.write_text(place.file.read_text() + 'schedule = { max_age = "8d" }\n')
    place.backup(24 * 7)
    assert place.status().safe
    assert not place.status(timedelta(hours=26)).safe


def test_without_a_configuration_every_source_that_has_backups_is_judged(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup(2, "elsewhere")
    root = str(place.repository.root)
    with time_machine.travel(NOW, tick=False):
        assert cli.answer(["--repository", root, "-c", "/dev/null", "status"]) == 0
    assert capsys.readouterr().out.startswith("safe\tyes\tThe cards are safe: elsewhere was backed up")


def test_a_configuration_without_sources_is_not_safe(place: Place) -> None:
    empty = Overview(0, 0, 0, {}, {}, {}, {}, [], None, 0, [], {})
    verdict = safety.judge("x", empty, {}, NOW)
    assert verdict.sentence == ("The cards are NOT safe: no source is configured, so nothing is backed up.")


def test_the_command_exits_with_1_when_the_cards_are_not_safe(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup(24 * 3)
    with time_machine.travel(NOW, tick=False):
        assert cli.answer(["-c", str(place.file), "status"]) == 1
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [line[0] for line in lines] == ["safe", "source", "repository"] and lines[0][1] == "no"
        assert cli.answer(["-c", str(place.file), "status", "--max-age", "4d", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["schema"] == 1 and document["safe"] is True
        keys = "source last_success_at last_backup last_run age_s next_run_at"
        assert set(document["sources"][0]) == set(keys.split())
        assert set(document["repository"]) == {"id", "backups", "stored_bytes", "logical_bytes"}
        assert cli.answer(["-c", str(place.file), "status", "--max-age", "soon"]) == 2


def test_status_loads_nothing_heavy(place: Place) -> None:
    place.backup(0)
    code = "import sys, anki_backup.cli as cli; cli.answer(sys.argv[1:])"
    names = loaded_by("-c", code, "-c", str(place.file), "status")
    assert "anki_backup" in names and names & (HEAVY | {"apsw", "anki"}) <= {"apsw"}
    assert ROOT.is_dir()
