"""The event log that years of hourly runs leave, made out of the backups that they are said to have made.

Each backup has the start and the end of its run. In the hours between two backups
nothing had changed: such runs stand singly for 35 days and are folded to a line a day
before that. Now and then a run failed, a backup was pinned, proved, or rolled back to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from anki_backup import events
from anki_backup.events import KEPT_SINGLY
from anki_backup.model import Alarm, BackupManifest

HOUR = timedelta(hours=1)
TOOK = timedelta(seconds=1)
FAILED_EVERY, PINNED_EVERY, PROVED_EVERY, ROLLED_EVERY = 200, 700, 100, 9_000
ERROR = {
    "code": "source",
    "message": "~/.local/share/Anki2/User 1/collection.anki2 kept changing while it was read, 5 times",
    "hint": "Close Anki, or give it time: ankibak run --wait 10m",
}


def lines(backups: Sequence[BackupManifest], now: datetime, lost: int | None) -> Iterator[bytes]:
    """Yield the lines of the log of these backups, oldest first; at place `lost` cards were lost."""
    log = _Log()
    for place, (before, backup) in enumerate(pairwise((None, *backups))):
        assert backup is not None
        if before:
            yield from log.quiet(backup.source, before.created_at + HOUR, backup.created_at, now)
        if place % FAILED_EVERY == FAILED_EVERY - 1:
            yield from log.run(backup.source, backup.created_at - HOUR / 2, outcome="failed", error=ERROR)
        made = {"outcome": "created", "backup": backup.id, "stored_bytes": backup.stored_bytes}
        yield from log.run(backup.source, backup.created_at, **made)
        yield from log.told(place, backups, alarmed=place == lost)


class _Log:
    def __init__(self) -> None:
        self.number = 0

    def line(self, at: datetime, event: str, **fields: Any) -> bytes:
        self.number += 1
        return events.encode({"n": self.number, "at": at, "event": event, **fields})

    def run(self, source: str, at: datetime, **fields: Any) -> Iterator[bytes]:
        """Yield the two lines of a run."""
        yield self.line(at - TOOK, "run_started", source=source)
        yield self.line(at, "run", **_run(self.number, source, at) | fields)

    def quiet(self, source: str, first: datetime, end: datetime, now: datetime) -> Iterator[bytes]:
        """Yield the hours in which nothing had changed."""
        hours = [first + number * HOUR for number in range(round((end - first) / HOUR))]
        for day, some in groupby((at for at in hours if at < now - KEPT_SINGLY), lambda at: at.date()):
            *others, last = some
            yield self.line(last, "folded", source=source, day=f"{day}", count=len(others) + 1)
        for at in hours:
            if at >= now - KEPT_SINGLY:
                yield from self.run(source, at, outcome="skipped", reason="unchanged")

    def told(self, place: int, backups: Sequence[BackupManifest], *, alarmed: bool) -> Iterator[bytes]:
        """Yield what happened after a backup was made, besides runs."""
        backup = backups[place]
        at, before = backup.created_at + TOOK, backups[place - 1]
        if alarmed:
            cards = [each.stats.cards or 0 for each in (before, backup)]
            alarm = Alarm(kind="cards", before=cards[0], after=cards[1], since=at)
            yield self.line(at, "alarm", backup=backup.id, alarm=alarm)
            yield self.line(at, "pin", backup=before.id, label=f"before the alarm of {backup.id}")
            yield self.line(at, "acknowledge", backup=backup.id)
        if place % PROVED_EVERY == PROVED_EVERY // 2:
            yield self.line(at, "proof", backup=backup.id)
            yield self.line(at, "verified", findings=0)
        if place % PINNED_EVERY == PINNED_EVERY // 2:
            yield self.line(at, "pin", backup=backup.id, label=f"the course of {at:%B %Y}")
        if place % ROLLED_EVERY == ROLLED_EVERY // 2:
            fields = {"from": backup.id, "to": before.id, "safety": backup.id, "newest": backup.id}
            kept = {"source": backup.source, "who": "somebody", "live": True, "started_at": at, "kept": None}
            done = {"outcome": "done", "pushed": False, "undo": False}
            yield self.line(at, "rollback", **fields, **kept, **done)


def _run(number: int, source: str, at: datetime) -> dict[str, Any]:
    ended = {"run": number, "source": source, "started_at": at - TOOK, "duration_ms": 800}
    return ended | {
        "reason": None,
        "backup": None,
        "error": None,
        "stored_bytes": 0,
        "count": 1,
        "live": True,
    }
