"""What must be there, told the true time: a plain model of backups, some of them with wrong times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from anki_backup.retention import DEFAULT, PERIODS
from anki_backup.settings import Retention
from anki_backup.values import duration

ZONE = ZoneInfo("Europe/Berlin")
POLICIES = {
    "": DEFAULT,
    'within = "2d"\ndaily = 3': Retention(within=duration("2d"), daily=3),
    "hourly = 5\nweekly = 2": Retention(hourly=5, weekly=2),
    "last = 4": Retention(last=4),
}


@dataclass
class Made:
    """What the model knows of a backup."""

    sha256: str
    created_at: datetime
    honest: bool
    pinned: bool = False


def must_not_be_gone(policy: Retention, there: Mapping[str, Made], active: str | None, gone: set[str]) -> str:
    """Return what is wrong if a prune took `gone` from `there` (oldest first); nothing if all is right."""
    stay = {max(there, key=lambda name: there[name].created_at), list(there)[-1], active}
    stay |= {name for name, made in there.items() if made.pinned}
    if gone & stay:
        return f"gone: {gone & stay}"
    honest = {name: made.created_at for name, made in there.items() if made.honest}
    amid = [
        made
        for made in there.values()
        if not made.honest and made.created_at <= max(honest.values(), default=made.created_at)
    ]
    kept = kept_by_a_right_clock(policy, honest, len(there) - len(honest))
    # One with a wrong time amid the others may stand for a day, a week, a month.
    if len(kept & gone) > len(amid) * sum(bool(getattr(policy, rule)) for rule in PERIODS):
        return f"gone, though a right clock keeps them: {kept & gone}"
    return ""


def kept_by_a_right_clock(policy: Retention, backups: Mapping[str, datetime], wrong: int) -> set[str]:
    """Return what the policy keeps of backups with true times, less the share of the wrong ones."""
    ordered = sorted(backups, key=lambda name: backups[name], reverse=True)
    kept: set[str] = set()
    if policy.within is not None:
        half, age = policy.within / 2, wrong * policy.within / 2
        for name, later in zip(ordered, [*ordered[:1], *ordered], strict=False):
            age += min(backups[later] - backups[name], half)
            kept |= {name} if age < policy.within else set()
    local = {name: backups[name].astimezone(ZONE) for name in ordered}
    for rule, period in PERIODS.items():
        count = getattr(policy, rule)
        most = len(ordered) if count == "all" else max(0, int(count or 0) - wrong)
        lasts = {period(local[name]): name for name in reversed(ordered)}
        kept |= set(sorted(lasts.values(), key=ordered.index)[:most])
    return kept
