"""From the five fields of a crontab to systemd's calendar events.

The fields and their meaning are those of crontab(5) of Debian's cron (Vixie): numbers,
names of months and days, ranges, steps and lists; when both the day of the month and
the day of the week are restricted (neither begins with `*`), either may match. The
result is in the words of systemd.time(7).
"""

from __future__ import annotations

import re
from calendar import monthrange
from typing import NamedTuple

from anki_backup.errors import ConfigError

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d{1,3}))?", re.ASCII)
LEAP_YEAR = 2024


class Field(NamedTuple):
    """One of the five fields: what it is called, and what may stand in it."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, ("", *MONTHS)),
    Field("day of the week", 0, 7, tuple(day.lower() for day in DAYS)),
)


def of_cron(line: str) -> list[str]:
    """Return the calendar events of a cron line, one or two; ConfigError says what has none."""
    texts = line.split()
    minutes, hours, days, months, weekdays = fields(line)
    weekdays = {day % 7 for day in weekdays}
    if not any(day <= monthrange(LEAP_YEAR, month)[1] for month in months for day in days):
        raise ConfigError(f"cron {line!r} never comes: no such month has that day", hint=_HINT)
    time = f"{_list(hours, 24)}:{_list(minutes, 60)}:00"
    month = f"*-{_list(months, 12)}"
    of_month = f"{month}-{_list(days, 31)} {time}"
    of_week = ",".join(DAYS[day] for day in sorted(weekdays, key=lambda day: (day - 1) % 7))
    if texts[2].startswith("*") or texts[4].startswith("*"):
        return [of_month if len(weekdays) == 7 else f"{of_week} {of_month}"]
    # Cron's oldest surprise: two restricted days mean "either".
    any_day = f"{month}-* {time}"
    return [any_day] if len(weekdays) == 7 else [of_month, f"{of_week} {any_day}"]


_HINT = 'Five fields as in crontab(5), such as "0 * * * *"; or use calendar with systemd\'s words.'


def fields(line: str) -> list[set[int]]:
    """Return the values of each of the five fields; ConfigError where one has none."""
    texts = line.split()
    if len(texts) != len(FIELDS):
        raise ConfigError(f"cron {line!r} has {len(texts)} fields, not 5")
    return [_values(field, text, line) for field, text in zip(FIELDS, texts, strict=True)]


def _values(field: Field, text: str, line: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = PART.fullmatch(part)
        if not match:
            raise _refused(field, part, line, "means nothing that systemd could be told")
        first = field.least if match[1] is None else _number(field, match[1], line)
        # A single value with a step runs to the end; `*` begins at the least.
        open_end = match[1] is None or (match[3] and not match[2])
        last = field.most if open_end else _number(field, match[2] or match[1], line)
        step = int(match[3] or 1)
        if step == 0 or last < first:
            raise _refused(field, part, line, "names no time")
        if match[1] is None and field.most == 7:
            last = 6  # `*/n` counts each day once, and Sunday is both 0 and 7
        found.update(range(first, last + 1, step))
    return found


def _number(field: Field, text: str, line: str) -> int:
    if text.lower() in field.words:
        return field.words.index(text.lower())
    if text.isdecimal() and len(text) < 4 and field.least <= int(text) <= field.most:
        return int(text)
    raise _refused(field, text, line, f"is none of {field.least} to {field.most}")


def _refused(field: Field, part: str, line: str, why: str) -> ConfigError:
    return ConfigError(f"cron {line!r}: {part!r} as {field.name} {why}", hint=_HINT)


def _list(values: set[int], all_of_them: int) -> str:
    return "*" if len(values) == all_of_them else ",".join(f"{value:02}" for value in sorted(values))
