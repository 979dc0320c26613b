"""What the catalog tells, in words that do not need it and the 17 ms that peewee takes to load."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from msgspec import structs

from anki_backup.model import Alarm, Backup

SUMMED = ("size_bytes", "stored_bytes")


class CatalogError(Exception):
    """The catalog can't be used; the files still can."""


class State(NamedTuple):
    """What events say of one backup."""

    pinned: bool = False
    label: str | None = None
    alarm: Alarm | None = None
    verified_at: datetime | None = None


class Entry(NamedTuple):
    """One backup in order: what sorts it, which it is and where it came from."""

    sequence: int
    created: int
    id: str
    source: str


def sequence_at(entries: Iterable[Entry], created: int) -> int:
    """Return the sequence of a backup from elsewhere, made at that second, among all others, oldest first.

    It stands right before the first one that is newer, and so never after one that
    it is older than; it shares the sequence of the one before it, 0 if there is none.
    """
    older = takewhile(lambda entry: entry.created <= created, entries)
    return max((entry.sequence for entry in older), default=0)


def state_of(backup: Backup) -> State:
    """Return the part of a backup that events decide."""
    return State(backup.pinned, backup.label, backup.alarm, backup.verified_at)


def with_state(backup: Backup, state: State) -> Backup:
    """Return a backup with what events say of it."""
    return structs.replace(backup, **state._asdict())
