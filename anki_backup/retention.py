"""Retention: which backups of a source stay, and why. Arithmetic only: nothing is read or removed here.

The words mean what restic means by them. `daily = 7` keeps the last backup of
each of the newest seven days that have one, in the zone of the user; weeks are
those of ISO 8601. `within` counts back from the newest backup, not from now, so a
source that rests for a year keeps what it has. A gap between two backups that is
longer than half of `within` counts as half of it: a clock that leaps ahead can't
empty a history.

Over every rule stand these: the newest backup, the newest good one, the active
one, pinned ones and those with an alarm always stay; and while an alarm of a
source is open, nothing of that source goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from msgspec import Struct

from anki_backup.errors import ClockError
from anki_backup.model import Backup
from anki_backup.settings import Retention
from anki_backup.values import duration

DEFAULT = Retention(within=duration("48h"), daily=90, weekly=52, monthly="all", yearly="all")


class Verdict(Struct, frozen=True, kw_only=True):
    """What becomes of one backup, and every reason for it."""

    backup: str
    keep: bool
    reasons: list[str]


def _hour(at: datetime) -> tuple[object, ...]:
    # With the offset: the hour that comes twice when summer ends is two.
    return at.date(), at.hour, at.utcoffset()


PERIODS: dict[str, Callable[[datetime], object]] = {
    "last": lambda at: object(),  # each is its own
    "hourly": _hour,
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}
SPANS = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}


def judge(
    backups: Sequence[Backup],
    policy: Retention,
    now: datetime,
    zone: tzinfo | None = None,
    *,
    active: Collection[str] = (),
    damaged: Collection[str] = (),
) -> list[Verdict]:
    """Return a verdict on every backup of one source, newest first; `zone` is the machine's when None.

    `active` are the backups that a source has now, `damaged` those that can't be
    got back whole. Raises ClockError when `now` is before the newest backup.
    """
    ordered = sorted(backups, key=lambda backup: (backup.created_at, backup.sequence), reverse=True)
    if not ordered:
        return []
    if now < ordered[0].created_at:
        raise ClockError(
            f"backup {ordered[0].id} is newer than now, {now:%Y-%m-%d %H:%M} UTC: nothing is removed",
            hint="Set the clock. If it is the backup's time that is wrong, take its folder out of backups/.",
        )
    local = {backup.id: backup.created_at.astimezone(zone) for backup in ordered}
    reasons: dict[str, list[str]] = {backup.id: [] for backup in ordered}
    for name, reason in _always(ordered, active, damaged):
        reasons[name].append(reason)
    if policy.within is not None:
        for backup, age in _ages(ordered, policy.within / 2):
            if age < policy.within:
                reasons[backup.id].append(f"within {policy.within.text or policy.within}")
    for rule, period in PERIODS.items():
        for name in _kept_by(getattr(policy, rule), period, local):
            reasons[name].append(rule)
    kept = {name for name, found in reasons.items() if found}
    standing = _standing(local, kept)
    return [
        Verdict(backup=name, keep=name in kept, reasons=found or [_why_not(name, local, standing)])
        for name, found in reasons.items()
    ]


def _always(
    ordered: Sequence[Backup], active: Collection[str], damaged: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield what stays whatever the rules say: (id, reason)."""
    by_sequence = sorted(ordered, key=lambda backup: backup.sequence, reverse=True)
    for name in dict.fromkeys([ordered[0].id, by_sequence[0].id]):
        yield name, "newest of its source"
    good = [backup.id for backup in by_sequence if backup.id not in damaged and not backup.alarm]
    if good and good[0] not in (ordered[0].id, by_sequence[0].id):
        yield good[0], "newest good one of its source"
    open_alarm = any(backup.alarm for backup in ordered)
    for backup in ordered:
        if backup.id in active:
            yield backup.id, "active"
        if backup.pinned:
            yield backup.id, "pinned"
        if backup.alarm:
            yield backup.id, "has an alarm"
        elif open_alarm:
            yield backup.id, "an alarm of its source is open"


def _ages(ordered: Sequence[Backup], longest: timedelta) -> Iterator[tuple[Backup, timedelta]]:
    """Yield each backup with its age below the newest; no gap counts as more than `longest`."""
    age, before = timedelta(), ordered[0].created_at
    for backup in ordered:
        age += min(before - backup.created_at, longest)
        before = backup.created_at
        yield backup, age


def _kept_by(
    count: int | str | None, period: Callable[[datetime], object], local: dict[str, datetime]
) -> Iterator[str]:
    """Yield the last backup of each of the newest `count` periods; `local` is newest first."""
    left = len(local) if count == "all" else int(count or 0)
    last: object = None
    for name, at in local.items():
        if left <= 0:
            return
        current = period(at)
        if current != last:
            last, left = current, left - 1
            yield name


def _standing(local: dict[str, datetime], kept: Collection[str]) -> dict[str, dict[object, str]]:
    """Return for each span which backup is the last of each day, week, month or year that stays."""
    found: dict[str, dict[object, str]] = {span: {} for span in SPANS}
    for name, at in local.items():
        if name in kept:
            for span, rule in SPANS.items():
                found[span].setdefault(PERIODS[rule](at), name)
    return found


def _why_not(name: str, local: dict[str, datetime], standing: dict[str, dict[object, str]]) -> str:
    """Say which later backup stands for one that goes: that of its day, week, month or year."""
    for span, rule in SPANS.items():
        other = standing[span].get(PERIODS[rule](local[name]))
        if other is not None and local[other] > local[name]:
            return f"{other} stays for its {span}"
    return "no rule keeps it"
