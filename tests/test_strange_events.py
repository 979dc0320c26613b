"""Event lines whose checksum is right, but which are not as we write them, say nothing and harm nothing."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anki_backup import events
from anki_backup.repository import Repository
from anki_backup.view import View

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.mark.parametrize(
    "event",
    [
        {"n": True},
        {"n": 1 << 63},
        {"n": 0},
        {"at": 5},
        {"event": ["run"]},
    ],
    ids=str,
)
def test_an_event_without_a_number_a_time_and_a_word_is_none(event):
    whole = {"n": 1, "at": "2026-01-01T12:00:00Z", "event": "pin"}
    assert events.decode(events.encode(whole)) == whole
    assert events.decode(events.encode(whole | event)) is None


@pytest.mark.parametrize(
    "other", [{"run": None}, {"run": []}, {"source": 5}, {"at": "then"}, {"at": "2026-01-01"}]
)
def test_folding_leaves_what_is_not_written_as_we_do(log, other):
    run = {
        "n": 1,
        "at": "2020-01-01T12:00:00Z",
        "event": "run",
        "run": 1,
        "source": "home",
        "reason": "unchanged",
    }
    log.write_bytes(events.encode({key: value for key, value in (run | other).items() if value is not None}))
    before = log.read_bytes()
    assert not events.fold(log, NOW)
    assert log.read_bytes() == before


def test_numbers_that_no_program_can_hold_say_nothing(tmp_path):
    root = tmp_path / "repository"
    repository = Repository.create(root)
    with repository.writing("test"):
        at = {"at": "2026-01-01T12:00:00Z"}
        lines = [
            {"n": 1, **at, "event": "run_started", "source": "home"},
            {"n": 2, **at, "event": "folded", "run": 1 << 70, "source": "home", "count": 1},
        ]
        log = repository.history.log
        # JSON has no infinity, but 1e999 is one.
        body = b'{"n":3,"at":"2026-01-01T12:00:00Z","event":"verified","findings":1e999'
        sealed = b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))
        log.write_bytes(b"".join(map(events.encode, lines)) + sealed)
        assert repository.rebuild_catalog() == 0
    view = View(Repository.open(root).history)
    assert (view.findings, view.runs()) == (0, [])
