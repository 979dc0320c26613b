"""When a cron line comes next, and how far apart its times are at most; pure, told the time and the zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import NamedTuple

from anki_backup import figures
from anki_backup.calendars import fields

HORIZON_DAYS = 366 * 9  # a 29 February may be eight years away
YEAR_DAYS = 366


class _Line(NamedTuple):
    times: list[time]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    either: bool

    def fits(self, day: date) -> bool:
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        chosen = (of_month or of_week) if self.either else (of_month and of_week)
        return chosen and day.month in self.months


def following(cron: str, after: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return the first time after `after` at which a cron line comes, in UTC; None if that is years away.

    Its clock is that of `zone`, the machine's when None. ConfigError for a line that means nothing.
    """
    line = _line(cron)
    today = after.astimezone(zone).date()
    for day in _days(line, today, HORIZON_DAYS):
        for at in line.times:
            found = figures.instant(datetime.combine(day, at), zone)
            if found > after:
                return found
    return None


def hours(cron: str, day: date) -> list[int]:
    """Return the hours of a day at which a cron line comes, as a clock on the wall has them."""
    line = _line(cron)
    return sorted({at.hour for at in line.times}) if line.fits(day) else []


def longest_gap(cron: str, after: datetime) -> timedelta:
    """Return the longest time between two of the times of a year, as a clock on the wall counts it."""
    line = _line(cron)
    found = [datetime.combine(day, line.times[0]) for day in _days(line, after.date(), YEAR_DAYS)]
    last_of_day = datetime.combine(date.min, line.times[-1]) - datetime.combine(date.min, line.times[0])
    between = [later - earlier - last_of_day for earlier, later in pairwise(found)]
    within = [
        datetime.combine(date.min, later) - datetime.combine(date.min, earlier)
        for earlier, later in pairwise(line.times)
    ]
    return max([*between, *within], default=timedelta(days=YEAR_DAYS))


def _line(cron: str) -> _Line:
    minutes, hours, days, months, weekdays = fields(cron)
    texts = cron.split()
    # Cron's oldest surprise: two restricted days mean "either".
    either = not texts[2].startswith("*") and not texts[4].startswith("*")
    times = [time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)]
    return _Line(times, days, months, {day % 7 for day in weekdays}, either)


def _days(line: _Line, first: date, count: int) -> Iterator[date]:
    return (day for day in (first + timedelta(days=n) for n in range(count)) if line.fits(day))
