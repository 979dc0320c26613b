"""Cron lines become calendar events that systemd reads and that come at the same times."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup.calendars import DAYS, MONTHS, of_cron
from anki_backup.errors import ConfigError

BASE = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = re.compile(r"(?:Next elapse|Iter\. #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
TIMES = 6
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


def fires(events):
    """Return the next times of calendar events, as systemd reckons them."""
    found = set()
    for event in events:
        words = ["systemd-analyze", "calendar", f"--iterations={TIMES}", f"{event} UTC"]
        done = subprocess.run(
            [*words, "--base-time", f"{BASE:%Y-%m-%d %H:%M:%S} UTC"],
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
        found.update(NEXT.findall(done.stdout))
    return sorted(found)[:TIMES]


def number(least, most):
    return st.integers(least, most).map(str)


def field(least, most, words=()):
    single = number(least, most) | (st.sampled_from(words) if words else st.nothing())
    spans = (
        st.tuples(st.integers(least, most), st.integers(least, most))
        .filter(lambda ends: ends[0] != ends[1])
        .map(sorted)
    )
    span = spans.map(lambda ends: f"{ends[0]}-{ends[1]}")
    stepped = st.tuples(st.just("*") | span, st.integers(1, most)).map(lambda it: f"{it[0]}/{it[1]}")
    lists = st.lists(single | span | stepped, min_size=1, max_size=3).map(",".join)
    return st.just("*") | lists


LINES = st.tuples(
    field(0, 59),
    field(0, 23),
    field(1, 28),
    field(1, 12, MONTHS),
    field(0, 6, [day.lower() for day in DAYS]),
).map(" ".join)


@needs_systemd
@settings(max_examples=40)
@given(LINES)
def test_a_timer_comes_when_the_cron_line_says(line):
    simulated = CronSim(line, BASE.replace(tzinfo=None))
    expected = [f"{next(simulated):%Y-%m-%d %H:%M:%S}" for _ in range(TIMES)]
    # systemd reckons from after its base, as cron does.
    assert fires(of_cron(line)) == expected


@pytest.mark.parametrize(
    ("line", "events"),
    {
        "0 * * * *": ["*-*-* *:00:00"],
        "30 3 * * *": ["*-*-* 03:30:00"],
        "*/15 8-18 * * mon-fri": ["Mon,Tue,Wed,Thu,Fri *-*-* "
                                  "08,09,10,11,12,13,14,15,16,17,18:00,15,30,45:00"],
        "0 0 * * 7": ["Sun *-*-* 00:00:00"],
        "0 0 13 * fri": ["*-*-13 00:00:00", "Fri *-*-* 00:00:00"],
        "0 0 29 2 *": ["*-02-29 00:00:00"],
        "0 0 1 * 0-6": ["*-*-* 00:00:00"],
    }.items(),
)  # fmt: skip
def test_the_words_are_those_that_a_person_would_choose(line, events):
    assert of_cron(line) == events


@pytest.mark.parametrize(
    "line",
    """0 0 30 2 *, 60 * * * *, 0 24 * * *, 0 0 0 * *, 0 0 * 13 *, 0 0 * * 8, 5-1 * * * *, */0 * * * *
    0 0 L * *, 0 0 ? * *, H * * * *, 0 0 * * mon#2, 0 0 * * * *, @daily, -1 * * * *, ٣ * * * *
    0 0 1W * *, 1,, * * * *""".replace("\n   ", ",").split(", "),
)
def test_what_has_no_calendar_event_is_refused_with_the_reason(line):
    with pytest.raises(ConfigError) as refused:
        of_cron(line)
    assert line in refused.value.message and "\n" not in refused.value.message
