"""What the end of the event log tells a repository: who died, what a source was left with, what is active."""

from __future__ import annotations

from datetime import timedelta, timezone
from pathlib import Path

import pytest

from anki_backup import events
from anki_backup.model import now
from anki_backup.repository import Repository
from anki_backup.view import View
from tests.committed import AT, add, written


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return written(tmp_path / "repository")


def test_a_run_whose_writer_died_is_recorded_as_interrupted_by_the_next_writer(repository):
    with repository.writing("run"):
        number = repository.record("run_started", source="home")
    for _ in range(2):
        with repository.writing("run"):
            pass
    lines = (repository.root / "state" / "events.jsonl").read_bytes().splitlines()
    assert len(lines) == 2
    assert b'"event":"run",' in lines[1] and b'"run":%d,' % number in lines[1]
    (run,) = repository.runs()
    assert (run.source, run.outcome) == ("home", "interrupted")


def test_runs_come_newest_first_of_a_source_from_a_time_on_as_many_as_asked_for(repository):
    for n in range(4):
        source, at = "home" if n % 2 else "work", AT + n * timedelta(hours=1)
        number = repository.record("run_started", source=source)
        fields = {"run": number, "source": source, "started_at": at, "outcome": "skipped"}
        repository.record("run", **fields)

    def hours(*args):
        return [(run.started_at - AT) / timedelta(hours=1) for run in repository.runs(*args)]

    assert hours() == [3, 2, 1, 0]
    assert hours("home") == [3, 1]
    assert hours(None, AT + timedelta(hours=2)) == [3, 2]
    assert hours(None, None, 1) == [3]
    repository.index()
    for ahead in (-11, 0, 13):
        there = timezone(timedelta(hours=ahead))
        assert hours(None, (AT + timedelta(hours=2)).astimezone(there)) == [3, 2]
    assert hours("work", AT, 1) == [2]


def test_runs_come_in_pages_each_from_behind_the_last_of_the_one_before(repository):
    def pages(source=None):
        before, sizes, found = None, [], []
        while page := View(repository.history).numbered_runs(source, None, 2, before):
            sizes.append(len(page))
            found += page
            before = page[-1][0]
        return sizes, found

    with repository.writing("run"):  # so the newest is alive
        for n in range(8):
            source = "work" if n % 2 else "home"
            number = repository.record("run_started", source=source)
            if n not in (1, 7):
                repository.record("run", run=number, source=source, started_at=AT, outcome="skipped")
        for _ in ("by the files", "by the catalog"):
            sizes, found = pages()
            assert sizes == [2, 2, 2, 1] and [run for _, run in found] == repository.runs()
            assert [run.outcome for _, run in found].count("interrupted") == 1
            assert pages("work")[1] == [each for each in found if each[1].source == "work"]
            assert pages("home")[1] == [each for each in found if each[1].source == "home"]
            repository.index()


def test_what_a_source_was_left_with_is_told_by_the_end_of_the_log(repository):
    one, two = (add(repository, AT + n * timedelta(hours=1)).id for n in range(2))

    def left_with(*names):
        return [repository.is_newest_of("home", name) for name in names]

    assert left_with(one, two, "2026-01-09T12-00-00Z") == [True, True, False]  # nothing was told
    repository.record("run", source="home", outcome="created", backup=one)
    assert left_with(one, two) == [True, False]
    repository.record("run", source="work", outcome="created", backup=two)
    repository.record("run", source="home", outcome="skipped", backup=None)
    repository.record("pin", source="home", backup=two)
    assert left_with(one, two) == [True, False]
    repository.record("run", source="home", outcome="created", backup=two)
    for outcome, live in (("reversed", True), ("done", False)):
        repository.record("rollback", source="home", to=one, outcome=outcome, live=live)
        assert left_with(one, two) == [False, True]
    repository.record("rollback", source="home", to=one, outcome="done", live=True)
    assert left_with(one, two) == [True, False]
    repository.record("run", source="home", outcome="interrupted")
    assert left_with(one, two) == [False, False]
    repository.record("run", source="home", outcome="skipped")
    assert left_with(one, two) == [True, False]


def test_the_newest_rollback_is_the_last_that_took_place(repository):
    assert repository.last_rollback() is None
    for source, to, outcome in (
        ("home", "one", "done"),
        ("home", "two", "done"),
        ("home", "three", "reversed"),
        ("work", "four", "done"),
    ):
        repository.record("rollback", source=source, to=to, outcome=outcome)
    repository.record("run", source="home", outcome="done", reason="rollback")
    with open(repository.history.log, "ab") as log:
        log.write(b'{"n":9,"event":"rollback","outcome":"done","to":"torn"}\n')
    assert [repository.last_rollback(source)["to"] for source in (None, "home", "work")] == [
        "four",
        "two",
        "four",
    ]
    assert repository.last_rollback("other") is None


def test_which_backup_is_active_is_noted_for_each_source(repository):
    assert repository.pointers() == {}
    repository.point("home", "one")
    repository.point("work", "two")
    repository.point("home", "three")
    assert Repository.open(repository.root).pointers() == {"home": "three", "work": "two"}


def test_old_unchanged_runs_are_folded_where_the_catalog_is_brought_up_to_date(repository):
    log, backup = repository.history.log, add(repository)
    repository.index()
    long_ago = (now() - timedelta(days=100)).replace(hour=12)
    for n in range(1, 6):
        at = long_ago + timedelta(minutes=n)
        fields = {"run": n, "source": "home", "started_at": at, "outcome": "skipped", "reason": "unchanged"}
        events.append(log, "run", at, **fields)
    repository.index()
    assert [line.event["event"] for line in events.read(log)] == ["folded"]
    assert [found.id for found in Repository.open(repository.root).backups()] == [backup.id]
    with repository.history.catalog() as catalog:
        assert catalog.mark("offset") == log.stat().st_size
