"""What the event log tells the pages: rollbacks, alarms, and since when there is a record at all."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from anki_backup import events
from anki_backup.errors import DamageError
from anki_backup.model import Alarm, typed
from anki_backup.web.desk import Desk


class Raised(NamedTuple):
    """An alarm: when it was raised, by which backup, and why."""

    at: datetime
    backup: str
    alarm: Alarm


def rollbacks(desk: Desk) -> list[dict[str, Any]]:
    """Return the rollbacks, oldest first."""

    def make() -> list[dict[str, Any]]:
        lines = events.mentioning(desk.repository.history.log, b'"rollback"')
        return [line.event for line in lines if line.event and line.event["event"] == "rollback"]

    return desk.remembered("rollbacks", make)


def raised(desk: Desk) -> list[Raised]:
    """Return every alarm, whatever became of it, oldest first."""

    def make() -> list[Raised]:
        found = []
        for line in events.mentioning(desk.repository.history.log, b'"alarm"'):
            event = line.event or {}
            # Of a later program, or not as we write it.
            with suppress(KeyError, ValueError, OverflowError, DamageError):
                if event["event"] == "alarm":
                    at = datetime.fromisoformat(event["at"]).astimezone(UTC)
                    found.append(Raised(at, str(event["backup"]), typed(event["alarm"], Alarm, "an alarm")))
        return found

    return desk.remembered("raised", make)


def alarmed(desk: Desk) -> set[str]:
    """Return the backups that raised an alarm, whatever became of it."""
    # An account that was emptied has its alarm at the last backup before.
    return {found.backup for found in raised(desk) if found.alarm.kind != "empty"}


def began_at(desk: Desk) -> datetime | None:
    """Return when something was first recorded here, which imported backups may be older than."""
    first = next((line.event for line in events.read(desk.repository.history.log) if line.event), None)
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(first["at"]).astimezone(UTC) if first else None
    return None


def begun(desk: Desk, source: str) -> datetime | None:
    """Return since when a source is backed up here, as far as its backups tell; None without one."""
    began, entries = began_at(desk), desk.entries(source)
    if began is None or not entries:
        return None
    return max(began, datetime.fromtimestamp(entries[0].created, UTC))
