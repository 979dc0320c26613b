"""Which backup a person means: an id, a prefix, `latest~2` or `@2026-11-01`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, tzinfo

from anki_backup import figures
from anki_backup.entries import Entry
from anki_backup.errors import NotFoundError
from anki_backup.model import ID_PATTERN

SOURCE = re.compile(r"([a-z][a-z0-9_-]*):(.+)")
LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
DAY = re.compile(r"@(\d{4}-\d\d-\d\d)")
SHOWN = 3


def resolve(text: str, entries: Sequence[Entry], zone: tzinfo | None = None) -> Entry:
    """Return the one backup that `text` names among `entries`, which are oldest first.

    An exact id wins over a prefix, and a whole id is none: what it once named is gone,
    and what was made in the same second is another backup. `@DAY` is the last one up to the end of that
    day in `zone`, the machine's when None. NotFoundError when there is none, or
    when a prefix fits several.
    """
    wanted = text
    if match := SOURCE.fullmatch(text):
        wanted = match[2]
        entries = [entry for entry in entries if entry.source == match[1]]
        if not entries:
            raise NotFoundError(f"there is no backup of source {match[1]}", hint="See them all: ankibak list")
    if match := LATEST.fullmatch(wanted):
        return _nth(text, entries, int(match[1] or 0))
    if match := DAY.fullmatch(wanted):
        return _up_to(text, entries, match[1], zone)
    found = [entry for entry in entries if entry.id == wanted]
    whole = ID_PATTERN.fullmatch(wanted)
    if wanted and not found and (not whole or whole[2] == "1"):  # which no id ends in: they count from 2
        found = [entry for entry in entries if entry.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"there is no backup {text}", hint="See them all: ankibak list --all")
    some = ", ".join(entry.id for entry in found[-SHOWN:])
    raise NotFoundError(f"{text} fits {len(found)} backups, {some} among them", hint="Type more of the id.")


def _nth(text: str, entries: Sequence[Entry], back: int) -> Entry:
    if back >= len(entries):
        raise NotFoundError(
            f"there is no backup {text}: there are {len(entries)}", hint="See them: ankibak list"
        )
    return entries[-1 - back]


def _up_to(text: str, entries: Sequence[Entry], day: str, zone: tzinfo | None) -> Entry:
    try:
        midnight = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time())
    except (ValueError, OverflowError) as error:
        raise NotFoundError(f"{text} is no day", hint="Write it so: @2026-11-01") from error
    end = figures.instant(midnight, zone).timestamp()
    found = [entry for entry in entries if entry.created < end]
    if not found:
        raise NotFoundError(f"there is no backup up to the end of {day}", hint="See them: ankibak list --all")
    return max(found, key=lambda entry: (entry.created, entry.sequence))
