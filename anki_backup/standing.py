"""Where each source stands: which backup it was last known to be equal to.

That is its newest one, but not after a rollback: then it is the one that was gone
back to, until the next backup is made. For an account only a rollback that was
pushed counts; one that was not changed no more than the copy beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anki_backup import events
from anki_backup.history import History


def rollbacks(history: History) -> Iterator[dict[str, Any]]:
    """Yield the events of the rollbacks that took place, oldest first; reads the whole log."""
    for line in events.mentioning(history.log, b'"rollback"'):
        if line.event and _took_place(line.event):
            yield line.event


def went_back(event: dict[str, Any]) -> bool:
    """Say whether an event left its source, not only a copy of it, in the state of another backup."""
    return _took_place(event) and bool(event.get("live"))


def _took_place(event: dict[str, Any]) -> bool:
    return event["event"] == "rollback" and event.get("outcome") == "done"


def left(history: History, newest: Mapping[str, str]) -> dict[str, str]:
    """Return source -> the backup that it was last known to be, given the newest of each."""
    found = dict(newest)
    for event in filter(went_back, rollbacks(history)):
        source, to = str(event.get("source")), str(event.get("to"))
        if source in newest:
            is_since = event.get("newest") == newest[source] and history.has(to)
            found[source] = to if is_since else newest[source]
    return found
