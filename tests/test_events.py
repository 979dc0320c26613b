"""The event log keeps what was written, passes over what was torn, and folds what is old."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup import events
from anki_backup.errors import DamageError, StorageError
from anki_backup.repository import Repository

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
repeatable = settings(derandomize=True, max_examples=60)

fields = st.dictionaries(
    st.sampled_from(["backup", "label", "source", "count"]),
    st.one_of(st.none(), st.integers(-(1 << 40), 1 << 40), st.booleans(), st.text(max_size=20)),
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def read(log: Path) -> list[dict[str, Any] | None]:
    return [line.event for line in events.read(log)]


def numbers(log: Path) -> list[int | None]:
    return [event and event["n"] for event in read(log)]


def pin(log: Path, label: str = "exam") -> int:
    return events.append(log, "pin", NOW, backup="2026-11-20T12-00-00Z", label=label)


@repeatable
@given(fields)
def test_an_event_comes_back_as_it_was(found):
    event = {"n": 1, "at": "2026-11-20T12:00:00Z", "event": "pin"} | found
    assert events.decode(events.encode(event)) == event


def test_a_line_is_plain_json_sealed_by_its_own_crc(log):
    pin(log, 'a "label" \udc80 ü,"crc32":"00000000"}')
    line = log.read_bytes()
    body, seal = line[: -len(',"crc32":"00000000"}\n')], json.loads(line)["crc32"]
    assert line == b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))
    assert seal == f"{zlib.crc32(body):08x}"
    assert json.loads(line) | {"crc32": 0} == {
        "n": 1,
        "at": "2026-11-20T12:00:00Z",
        "event": "pin",
        "backup": "2026-11-20T12-00-00Z",
        "label": 'a "label" \udc80 ü,"crc32":"00000000"}',
        "crc32": 0,
    }


def test_numbers_count_up_by_one(log):
    assert events.last(log) is None
    assert [pin(log) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert numbers(log) == [1, 2, 3, 4, 5]
    assert events.last(log)["n"] == 5


def test_lines_tell_where_they_lie(log):
    for _ in range(3):
        pin(log)
    lines = list(events.read(log))
    data = log.read_bytes()
    assert [events.decode(data[line.start : line.end]) for line in lines] == read(log)
    later = list(events.read(log, lines[1].start))
    assert [(line.start, line.raw) for line in later] == [(line.start, line.raw) for line in lines[1:]]
    assert lines[-1].end == events.size(log)


@pytest.mark.parametrize(
    "torn", [b'{"n":3,"at', b'{"n":3,"at":"x","event":"pin","crc32":"00000000"}', b"\0\0"]
)
def test_a_torn_end_is_passed_over_and_never_joined(log, torn):
    pin(log), pin(log)
    with open(log, "ab") as file:
        file.write(torn)
    assert numbers(log) == [1, 2]
    assert events.last(log)["n"] == 2
    assert pin(log) == 3
    assert numbers(log) == [1, 2, None, 3]


def test_every_changed_byte_of_a_line_is_noticed(log):
    for _ in range(3):
        pin(log)
    data = log.read_bytes()
    second = next(line for line in events.read(log) if line.event["n"] == 2)
    for at in range(second.start, second.end - 1):
        for change in (0x01, 0x20, 0x80):
            log.write_bytes(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])
            found = numbers(log)
            assert found[0] == 1 and found[-1] == 3
            assert 2 not in found


def test_a_line_cut_anywhere_is_no_event(log):
    pin(log)
    line = log.read_bytes()
    assert all(events.decode(line[:length]) is None for length in range(len(line)))


@repeatable
@given(st.binary(max_size=80))
def test_any_bytes_are_an_event_or_none(data):
    assert events.decode(data + b"\n") is None


@pytest.mark.parametrize(
    "body", [b"[1", b'{"n":"1"', b'{"at":1', b'{"n":1,"n":2', b'{"n":NaN', b'{"n":' + b"[" * 99999]
)
def test_a_sealed_line_that_is_no_event_is_none(body):
    assert events.decode(b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))) is None


def test_a_log_that_cannot_be_read_is_damage(log):
    log.mkdir()
    with pytest.raises(DamageError, match=r"events\.jsonl"):
        list(events.read(log))


def test_no_log_is_an_empty_one(log):
    assert read(log) == []
    assert events.size(log) == 0
    assert not events.fold(log, NOW)


def test_the_newest_event_is_found_without_reading_all(log):
    for _ in range(50):
        pin(log, "x" * 3000)
    assert log.stat().st_size > 2 * events.TAIL
    assert events.last(log)["n"] == 50


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n", b"\nexa"])
def test_the_lines_that_mention_a_word_are_found_wherever_pieces_end(log, monkeypatch, block, end):
    lines = [b"exam", b"", b"no", b"an exam and an exam", b"exa", b"m", b"the exam"]
    log.write_bytes(b"\n".join(lines) + end)
    monkeypatch.setattr(events, "BLOCK", block)
    found = [(line.raw, line.start, line.end) for line in events.mentioning(log, b"exam")]
    assert found == [(line.raw, line.start, line.end) for line in events.read(log) if b"exam" in line.raw]
    assert len(found) == (3 if end else 2)  # what has no end is no line


def test_a_word_is_looked_for_in_no_log_and_in_none_that_can_be_read(log):
    assert list(events.mentioning(log, b"exam")) == []
    log.mkdir()
    with pytest.raises(DamageError, match=r"events\.jsonl"):
        list(events.mentioning(log, b"exam"))


def test_an_event_of_any_length_is_counted(log):
    pin(log), pin(log, "x" * 2 * events.TAIL)
    assert pin(log) == 3


def run(log: Path, at: datetime, source: str = "home", reason: str | None = "unchanged") -> None:
    """Write what a run writes."""
    number = events.append(log, "run_started", at, source=source)
    outcome = "skipped" if reason else "created"
    events.append(log, "run", at, run=number, source=source, started_at=at, outcome=outcome, reason=reason)


def hourly(log: Path, first: datetime, count: int, source: str = "home") -> None:
    for number in range(count):
        run(log, first + number * HOUR, source)


def test_unchanged_runs_of_a_day_become_one_line(log):
    hourly(log, NOW - 50 * DAY, 30)
    run(log, NOW - 50 * DAY + 30 * HOUR, "work")
    pin(log)
    assert events.fold(log, NOW)
    found = [event for event in read(log) if event["event"] == "folded"]
    assert [(event["source"], event["day"], event["count"]) for event in found] == [
        ("home", "2026-10-01", 12),
        ("home", "2026-10-02", 18),
        ("work", "2026-10-02", 1),
    ]
    assert [event["event"] for event in read(log)] == ["folded"] * 3 + ["pin"]


def test_what_is_young_or_tells_something_is_kept_as_it_was(log):
    run(log, NOW - 60 * DAY, reason=None)
    events.append(log, "run_started", NOW - 60 * DAY, source="home")
    run(log, NOW - 60 * DAY)
    pin(log)
    run(log, NOW - 35 * DAY)
    run(log, NOW)
    before = read(log)
    assert events.fold(log, NOW)
    folded = [event for event in read(log) if event["event"] == "folded"]
    assert [event for event in read(log) if event not in folded] == before[:3] + before[5:]
    assert len(folded) == 1


def test_numbers_keep_their_order_and_go_on_after_a_fold(log):
    hourly(log, NOW - 50 * DAY, 40)
    pin(log)
    assert events.fold(log, NOW)
    assert numbers(log) == sorted(set(numbers(log)))
    assert pin(log) == 82


def test_folding_waits_until_a_week_has_come_together(log):
    hourly(log, NOW - 42 * DAY + HOUR, 24 * 7)
    before = log.read_bytes()
    assert not events.fold(log, NOW)
    assert log.read_bytes() == before
    assert events.fold(log, NOW + HOUR)
    assert not events.fold(log, NOW + HOUR)


def test_a_fold_that_fails_leaves_the_log_as_it_was(log, monkeypatch):
    hourly(log, NOW - 50 * DAY, 30)
    before = log.read_bytes()
    with monkeypatch.context() as fault, pytest.raises(StorageError):
        fault.setattr(os, "rename", lambda *paths: (_ for _ in ()).throw(OSError(5, "EIO")))
        events.fold(log, NOW)
    assert log.read_bytes() == before
    assert events.fold(log, NOW)


def test_a_damaged_log_is_not_folded_until_that_is_accepted(log):
    hourly(log, NOW - 50 * DAY, 30)
    log.write_bytes(log.read_bytes().replace(b'"n":3,', b'"n":4,', 1))
    assert not events.fold(log, NOW)
    events.append(log, "accepted", NOW, backups=[])
    assert events.fold(log, NOW)
    assert None not in read(log)


def tear(log: Path) -> None:
    with open(log, "ab") as file:
        file.write(b'{"n":')


def test_what_a_crash_tore_is_no_damage_and_what_else_is_lost_is(log):
    pin(log), tear(log)
    assert list(events.damaged(log)) == []
    pin(log), pin(log)
    assert list(events.damaged(log)) == []
    log.write_bytes(log.read_bytes().replace(b'"n":2,', b'"n":7,'))
    assert [line.start for line in events.damaged(log)] == [line.start for line in events.read(log)][1:3]


def test_what_a_crash_tore_is_no_damage_after_a_fold_either(log):
    hourly(log, NOW - 50 * DAY, 10)
    tear(log)
    hourly(log, NOW - 49 * DAY, 10)
    assert events.fold(log, NOW)
    assert list(events.damaged(log)) == []


def content(repository: Repository) -> list[tuple[Any, ...]]:
    with closing(repository.history.open_catalog()) as catalog:
        return catalog.content()


@settings(derandomize=True, max_examples=12)
@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["unchanged", None, "media"])), max_size=25))
def test_a_folded_log_tells_the_same_runs_and_rebuilds_to_the_same_catalog(tmp_path_factory, drawn):
    repository = Repository.create(tmp_path_factory.mktemp("fold") / "repository")
    for days, reason in sorted(drawn, key=str):
        run(repository.history.log, NOW - days * DAY, "home" if days % 3 else "work", reason)
    pin(repository.history.log)
    repository.history.open_catalog().close()
    before = repository.runs()
    if events.fold(repository.history.log, NOW):
        repository.rebuild_catalog()
    after = repository.runs()
    incremental = content(repository)
    repository.rebuild_catalog()
    assert content(repository) == incremental
    assert sum(found.count for found in after) == len(before) == len(drawn)
    assert [found for found in before if found.reason != "unchanged"] == [
        found for found in after if found.reason != "unchanged"
    ]
    for source in ("home", "work"):
        counts = [sum(found.count for found in runs if found.source == source) for runs in (before, after)]
        assert counts[0] == counts[1]
