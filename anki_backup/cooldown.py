"""How long another rollback has to wait, on a terminal and in the web view alike."""

from __future__ import annotations

from datetime import datetime, timedelta


def left_after(last: datetime, least: timedelta, now: datetime) -> timedelta:
    """Return what is left of a cooldown that began at `last`.

    Nothing where that is yet to come: a clock that was set back would begin it anew
    at each question, and lock everybody out for as long as it is behind.
    """
    return timedelta() if now < last else max(least - (now - last), timedelta())
