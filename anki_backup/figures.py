"""How times, sizes and durations are written, for programs and for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


def utc(at: datetime) -> str:
    """Return a time as every program gets it: `2026-11-20T11:05:49Z`."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def instant(at: datetime, zone: tzinfo | None) -> datetime:
    """Return in UTC what a clock in `zone` shows, the machine's when None; an offset in `at` goes before it.

    ValueError or OverflowError where no calendar reaches.
    """
    if at.tzinfo is None and zone:
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)


def local(at: datetime, zone: tzinfo | None = None) -> str:
    """Return a time as a clock in `zone` shows it; None is the machine's own zone."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def ago(at: datetime, now: datetime) -> str:
    """Return the distance between two times in one unit: `3 h ago`, `in 2 days`."""
    seconds = int((now - at).total_seconds())
    text = _distance(abs(seconds))
    if text is None:
        return "just now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def span(length: timedelta) -> str:
    """Return a length of time in one unit, as far as it is whole: `26 h`, `3 days`, `90 min`, `5 s`."""
    minutes = int(length.total_seconds()) // 60
    if not minutes:
        return f"{int(length.total_seconds())} s"
    if minutes % 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 or hours % 24 else f"{hours // 24} days"


def size(number: int | None) -> str:
    """Return bytes in the unit that leaves few digits: `93.4 MiB`."""
    if number is None:
        return "?"
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 100 else f"{value:.0f} {unit}"


def count(number: int | None) -> str:
    """Return a number with its thousands apart: `12 345`; `?` for one that is not known."""
    return "?" if number is None else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int | None, noun: str) -> str:
    """Return a number with the noun that it counts: `1 card`, `12 345 cards`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def duration(milliseconds: int) -> str:
    """Return how long something took, to two digits or so: `4.2 s`, `3 min 5 s`."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _distance(seconds: int) -> str | None:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 1:
        return None
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h"
    if days < 60:
        return f"{days} days"
    return f"{days // 30} months" if days < 730 else f"{days // 365} years"
