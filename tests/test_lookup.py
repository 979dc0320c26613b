"""A few letters name the backup that a person means, or it is said why not."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup.entries import Entry
from anki_backup.errors import NotFoundError
from anki_backup.lookup import resolve

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
KIRITIMATI = ZoneInfo("Pacific/Kiritimati")


def entry(sequence: int, backup_id: str, source: str = "home") -> Entry:
    created = datetime.strptime(backup_id[:20], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    return Entry(sequence, int(created.timestamp()), backup_id, source)


ENTRIES = [
    entry(1, "2026-10-30T08-00-00Z"),
    entry(2, "2026-10-31T22-30-00Z"),
    entry(3, "2026-10-31T23-30-00Z", "work"),
    entry(4, "2026-11-01T10-00-00Z"),
    entry(5, "2026-11-01T10-00-00Z-2", "work"),
    entry(6, "2026-11-01T10-00-00Z-10"),
    entry(7, "2026-11-02T04-59-59Z"),
]
NO_BACKUPS = ["", " ", "x", ":", "home:", "latest~", "latest~-1", "latest~x", "LATEST", "latest~9999999999"]
NO_DAYS = [
    "@",
    "@2026-02-30",
    "@2026-13-01",
    "@0000-01-01",
    "@0001-01-01",
    "@9999-12-31",
    "@today",
    "@2026-11",
]
NO_IDS = ["../../etc", "2026-11-01T10-00-00Z\n", "2026-11-01T10-00-00Z-02", "%", "2026*", "\0"]


def found(text: str, zone: timezone | ZoneInfo = UTC, entries: list[Entry] = ENTRIES) -> int:
    return resolve(text, entries, zone).sequence


def test_an_exact_id_wins_over_a_prefix():
    assert found("2026-11-01T10-00-00Z") == 4
    assert found("2026-11-01T10-00-00Z-2") == 5


def test_a_whole_id_that_is_gone_never_names_what_was_made_in_the_same_second():
    left = [each for each in ENTRIES if each.id != "2026-11-01T10-00-00Z" and each.sequence != 6]
    with pytest.raises(NotFoundError, match="there is no backup 2026-11-01T10-00-00Z"):
        resolve("2026-11-01T10-00-00Z", left)
    assert resolve("2026-11-01T10-00-0", left).sequence == 5


def test_a_prefix_is_enough_where_it_fits_one():
    assert found("2026-10-30") == 1
    assert found("2026-11-01T10-00-00Z-1") == 6


def test_a_prefix_that_fits_several_names_some_of_them():
    with pytest.raises(NotFoundError, match="fits 3 backups") as caught:
        found("2026-11-01")
    assert "2026-11-01T10-00-00Z-10" in caught.value.message
    assert caught.value.exit_code == 5


def test_latest_counts_back_over_all_sources():
    assert [found(text) for text in ("latest", "latest~0", "latest~1", "latest~6")] == [7, 7, 6, 1]
    with pytest.raises(NotFoundError, match="there are 7"):
        found("latest~7")


def test_latest_is_by_sequence_whatever_the_clock_said():
    entries = [entry(1, "2036-01-01T00-00-00Z"), entry(2, "2026-01-01T00-00-00Z")]
    assert found("latest", entries=entries) == 2


def test_a_source_in_front_leaves_only_its_own():
    assert found("work:latest") == 5
    assert found("work:latest~1") == 3
    assert found("home:latest~1") == 6
    assert found("work:2026-11") == 5
    assert found("work:@2026-11-01") == 5
    with pytest.raises(NotFoundError, match="there is no backup of source nowhere"):
        found("nowhere:latest")
    with pytest.raises(NotFoundError, match="work:2026-10-30"):
        found("work:2026-10-30")


def test_a_day_means_the_last_one_up_to_its_end():
    assert found("@2026-11-01") == 6
    assert found("@2026-11-20") == 7
    assert found("@2026-10-30") == 1
    with pytest.raises(NotFoundError, match="up to the end of 2026-10-29"):
        found("@2026-10-29")


def test_a_day_ends_where_its_clock_says():
    # The end of October: 23:00 UTC in Berlin, 04:00 UTC of November in New York.
    assert found("@2026-10-31", UTC) == 3
    assert found("@2026-10-31", BERLIN) == 2
    assert found("@2026-10-31", NEW_YORK) == 3
    # New York put its clocks back on 1 November: that day ends at 05:00 UTC.
    assert found("@2026-11-01", NEW_YORK) == 7
    assert found("@2026-11-01", timezone(-timedelta(hours=4))) == 6
    assert found("@2026-11-02", KIRITIMATI) == 7
    assert found("@2026-11-01", KIRITIMATI) == 3


def test_the_machine_has_a_zone_too(monkeypatch):
    for name, sequence in (("Europe/Berlin", 2), ("UTC", 3)):
        try:
            with monkeypatch.context() as clock:
                clock.setenv("TZ", name)
                time.tzset()
                assert resolve("@2026-10-31", ENTRIES).sequence == sequence
        finally:
            time.tzset()


def test_of_a_day_the_latest_by_the_clock_is_meant():
    entries = [entry(1, "2026-05-01T12-00-00Z"), entry(2, "2026-05-01T09-00-00Z")]
    assert found("@2026-05-01", entries=entries) == 1


@pytest.mark.parametrize("text", [*NO_BACKUPS, *NO_DAYS, *NO_IDS], ids=repr)
@pytest.mark.parametrize("zone", [UTC, KIRITIMATI, NEW_YORK, None], ids=str)
def test_what_names_no_backup_is_said_so(text, zone):
    with pytest.raises(NotFoundError):
        resolve(text, ENTRIES, zone)


def test_in_an_empty_repository_there_is_nothing_to_name():
    for text in ("latest", "@2026-11-01", "2026", "home:latest"):
        with pytest.raises(NotFoundError):
            resolve(text, [], UTC)


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=30))
def test_any_text_names_a_backup_or_none(text):
    try:
        entry = resolve(text, ENTRIES, UTC)
    except NotFoundError:
        return
    assert entry in ENTRIES


@settings(derandomize=True, max_examples=100)
@given(st.integers(0, 6), st.integers(1, 25))
def test_a_prefix_never_names_another_backup(number, length):
    prefix = ENTRIES[number].id[:length]
    fitting = [entry for entry in ENTRIES if entry.id.startswith(prefix)]
    fitting = [entry for entry in fitting if not re.fullmatch(".*Z(-[02-9])?", prefix) or entry.id == prefix]
    exact = [entry for entry in fitting if entry.id == prefix]
    if len(exact or fitting) == 1:
        assert resolve(prefix, ENTRIES, UTC) == (exact or fitting)[0]
    else:
        with pytest.raises(NotFoundError):
            resolve(prefix, ENTRIES, UTC)
