"""When a cron line comes next; compared with what systemd says of the same line."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup import calendars
from anki_backup.due import following, longest_gap
from anki_backup.errors import ConfigError

NOW = datetime(2026, 11, 20, 11, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("cron", "next_at"),
    [
        ("0 * * * *", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("30 11 * * *", datetime(2026, 11, 21, 11, 30, tzinfo=UTC)),
        ("*/20 * * * *", datetime(2026, 11, 20, 11, 40, tzinfo=UTC)),
        ("0 3 * * 1", datetime(2026, 11, 23, 3, tzinfo=UTC)),
        ("0 3 * * 7", datetime(2026, 11, 22, 3, tzinfo=UTC)),
        ("0 3 1 * *", datetime(2026, 12, 1, 3, tzinfo=UTC)),
        ("0 3 1 * sun", datetime(2026, 11, 22, 3, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_the_next_time_of_a_line(cron, next_at):
    assert following(cron, NOW, UTC) == next_at


def test_the_clock_is_that_of_the_zone():
    berlin = ZoneInfo("Europe/Berlin")
    assert following("0 13 * * *", NOW, berlin) == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert following("0 13 * * *", datetime(2026, 7, 1, 11, tzinfo=UTC), berlin) == datetime(
        2026, 7, 2, 11, tzinfo=UTC
    )


def test_how_far_apart_the_times_are():
    assert longest_gap("0 * * * *", NOW) == timedelta(hours=1)
    assert longest_gap("0 3 * * *", NOW) == timedelta(days=1)
    assert longest_gap("0 9-17 * * 1-5", NOW) == timedelta(days=2, hours=16)
    assert longest_gap("0 3 * * 1", NOW) == timedelta(days=7)
    assert longest_gap("0 3 1 * *", NOW) == timedelta(days=31)
    assert longest_gap("0 8,20 * * *", NOW) == timedelta(hours=12)


def test_a_line_that_means_nothing_is_refused():
    with pytest.raises(ConfigError):
        following("0 25 * * *", NOW)


MINUTE, HOUR = st.integers(0, 59), st.integers(0, 23)
LINES = st.builds(
    "{} {} {} {} {}".format,
    st.sampled_from(["0", "*/15", "7,42"]) | MINUTE.map(str),
    st.sampled_from(["*", "*/6", "9-17"]) | HOUR.map(str),
    st.sampled_from(["*", "1", "13", "1-7", "*/10"]),
    st.sampled_from(["*", "2", "6-8"]),
    st.sampled_from(["*", "0", "1-5", "sat"]),
)


@settings(max_examples=25)
@given(LINES)
def test_systemd_says_the_same(cron):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    words = [f"{event} UTC" for event in calendars.of_cron(cron)]
    told = subprocess.run(
        ["systemd-analyze", "calendar", f"--base-time={NOW:%Y-%m-%d %H:%M:%S} UTC", *words],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.findall(r"(?:Next elapse|\(in UTC\)): \w+ (\S+ \S+) UTC", told)
    assert min(found) == f"{following(cron, NOW, UTC):%Y-%m-%d %H:%M:%S}"
