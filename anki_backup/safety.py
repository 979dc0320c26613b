"""Are the cards safe? One sentence, then the figures that it stands on.

Safe means: every enabled source had a successful run within its allowed age, no
alarm is open, no damage is known. That nothing had changed is a success; that no
run succeeded is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from anki_backup import due, figures, overview
from anki_backup.config import Config
from anki_backup.errors import BusyError, ConfigError, DamageError, StorageError
from anki_backup.model import Alarm, Backup, Run
from anki_backup.overview import Overview
from anki_backup.repository import Repository

DEFAULT_AGE = timedelta(hours=26)
GRACE = timedelta(hours=2)
WAIT_S = 60.0
# What a clock may be ahead of the one that wrote a time, before its word counts for nothing.
SKEW = timedelta(hours=1)


class SourceSafety(Struct, frozen=True, kw_only=True):
    """One source: when it was last known to be safe, and what is newest of it."""

    source: str
    last_success_at: datetime | None = None
    last_backup: str | None = None
    last_run: Run | None = None
    age_s: int | None = None
    next_run_at: datetime | None = None


class RepositoryFigures(Struct, frozen=True, kw_only=True):
    """What the whole repository holds: backups, what they took on disk, what they stand for."""

    id: str
    backups: int
    stored_bytes: int
    logical_bytes: int


class OpenAlarm(Struct, frozen=True, kw_only=True):
    """A backup whose alarm nobody acknowledged."""

    source: str
    backup: str
    alarm: Alarm


class Safety(Struct, frozen=True, kw_only=True):
    """The verdict, as `status --json`, the web view and the metrics have it."""

    safe: bool
    sentence: str
    problems: list[str]
    sources: list[SourceSafety]
    repository: RepositoryFigures
    alarms: list[OpenAlarm]
    findings: int
    proved_at: datetime | None
    proved_backup: str | None


def status(repository: Repository, config: Config, now: datetime, max_age: timedelta | None = None) -> Safety:
    """Return the verdict on a repository: quick, reading only, and the same whoever asks.

    The sources judged are the enabled ones of the configuration, those that have
    backups where none is configured. `max_age` goes over each one's own allowed age.
    """
    enabled = [name for name, source in config.sources.items() if source.enabled]
    view = overview.look(repository.history, enabled)
    return verdict(repository.id, view, config, now, max_age)


def verdict(
    identity: str, view: Overview, config: Config, now: datetime, max_age: timedelta | None = None
) -> Safety:
    """Return what `status` says of figures that were looked up already."""
    enabled = [name for name, source in config.sources.items() if source.enabled]
    judged = enabled or ([] if config.sources else sorted(view.newest))
    ages = {name: max_age or allowed_age(config, name, now) for name in judged}
    return judge(identity, view, ages, now, {name: _due(config, name, now) for name in enabled})


def allowed_age(config: Config, name: str, now: datetime) -> timedelta:
    """Return how old the last success of a source may be: more than a day where it is seldom due."""
    schedule = config.schedule_of(name) if name in config.sources else config.schedule
    if schedule.max_age or not schedule.cron:
        return schedule.max_age or DEFAULT_AGE
    try:
        return max(DEFAULT_AGE, due.longest_gap(schedule.cron, now) + GRACE)
    except ConfigError:  # such a line never starts anything
        return DEFAULT_AGE


def _due(config: Config, name: str, now: datetime) -> datetime | None:
    """Return when the schedule lets the next run begin, as far as it is a cron line."""
    from zoneinfo import ZoneInfo  # 4 ms, not for those who never ask

    schedule = config.schedule_of(name)
    try:
        zone = ZoneInfo(schedule.timezone) if schedule.timezone else None
        return due.following(schedule.cron, now, zone) if schedule.cron else None
    except ConfigError:
        return None


def note_damage(repository: Repository, findings: int, *, whole: bool) -> bool:
    """Remember what `verify` found, so that `status` tells of it; say whether it is known now.

    Damage is known until `verify` has read everything (`whole`) and found none. A
    repository that stays in use, or can't be written, is left as it is.
    """
    known = overview.look(repository.history).findings
    if findings == known or (not findings and not whole):
        return findings == known
    try:
        with repository.writing("verify", WAIT_S):
            repository.record("verified", findings=findings)
    except (BusyError, StorageError, DamageError):
        return False
    return True


def judge(
    identity: str,
    view: Overview,
    ages: Mapping[str, timedelta],
    now: datetime,
    next_runs: Mapping[str, datetime | None] | None = None,
) -> Safety:
    """Return the verdict on what was seen; `ages` has each source that has to be fresh."""
    problems = [problem for name, age in ages.items() for problem in _staleness(view, name, age, now)]
    problems += [alarm_sentence(backup) for backup in view.alarms]
    problems += _damage(view)
    if not ages:
        problems.insert(0, "no source is configured, so nothing is backed up")
    sentence = (
        f"The cards are NOT safe: {'; '.join(problems)}."
        if problems
        else _all_is_well(view, ages, now) + _but(view, ages)
    )
    return Safety(
        safe=not problems,
        sentence=sentence,
        problems=problems,
        sources=[_source(view, name, now, (next_runs or {}).get(name)) for name in _named(view, ages)],
        repository=RepositoryFigures(
            id=identity,
            backups=view.backups,
            stored_bytes=view.stored_bytes,
            logical_bytes=view.logical_bytes,
        ),
        alarms=[OpenAlarm(source=b.source, backup=b.id, alarm=b.alarm) for b in view.alarms if b.alarm],
        findings=view.findings + len(view.unreadable),
        proved_at=view.proved.verified_at if view.proved else None,
        proved_backup=view.proved.id if view.proved else None,
    )


def alarm_sentence(backup: Backup) -> str:
    """Return what an open alarm means, and how it is ended."""
    alarm = backup.alarm
    assert alarm is not None
    shrunk = f"from {alarm.before:,} to {alarm.after:,}"
    what = {
        "empty": f"the account of {backup.source} was emptied after backup {backup.id}",
        "deck": f"decks of {backup.source} are gone with {alarm.before - alarm.after:,} cards",
        "media": f"the media files of {backup.source} fell {shrunk}",
    }.get(alarm.kind, f"the {alarm.kind} of {backup.source} fell {shrunk}")
    where = "" if alarm.kind == "empty" else f" in backup {backup.id}"
    return f"{what}{where}; if that was meant, or is mended: ankibak acknowledge {backup.id}"


def _staleness(view: Overview, name: str, allowed: timedelta, now: datetime) -> Iterator[str]:
    """Yield why a source is not fresh; nothing when it is."""
    good, last = view.last_success.get(name), view.last_run.get(name)
    newest = view.newest.get(name)
    if name in view.lost:
        yield f"backup {view.lost[name]} of {name} vanished, see what is left: ankibak verify"
    elif good and good.reason == "unchanged" and not newest:
        yield f"no backup of {name} is there any more, see what is lost: ankibak verify"
    if good and good.started_at > now + SKEW:
        yield f"the last run of {name} lies in the future: is the clock right?"
        return
    if good and now - good.started_at <= allowed:
        return
    told = f"; its last run was {last.outcome}" if last and last is not good else ""
    if last and last.error:
        told = f"; its last run failed: {last.error.message}"
    if good is None and newest:
        made = figures.ago(newest.created_at, now)
        yield f"no run of {name} is known since its newest backup, {made}{told}"
        return
    if good is None:
        yield f"{name} was never backed up{told}"
        return
    limit = figures.span(allowed)
    yield f"{name} had no successful run since {figures.ago(good.started_at, now)} (allowed: {limit}){told}"


def _damage(view: Overview) -> Iterator[str]:
    if view.unreadable:
        yield f"the repository is damaged, {view.unreadable[0]}"
    elif view.findings:
        yield "the repository is damaged, see what is left: ankibak verify --read-data --restore --limit 1"


def _all_is_well(view: Overview, ages: Mapping[str, timedelta], now: datetime) -> str:
    oldest = min(view.last_success[name].started_at for name in ages)
    if len(ages) > 1:
        held = [(name, view.standing.get(name, view.newest.get(name))) for name in ages]
        each = ", ".join(name + _cards(backup) for name, backup in held if backup)
        return (
            f"The cards are safe: all {len(ages)} sources had a successful run"
            f" since {figures.ago(oldest, now)}; {each}."
        )
    (name,) = ages
    when = figures.ago(oldest, now)
    newest = view.newest.get(name)
    if newest is None:
        return f"The cards are safe: {name} had nothing to back up {when}."
    if view.last_success[name].outcome == "created":
        return f"The cards are safe: {name} was backed up {when}{_cards(newest)}."
    backup = view.standing.get(name, newest)
    which = "its newest backup" if backup is newest else "the backup that it was rolled back to"
    made = figures.ago(backup.created_at, now)
    return f"The cards are safe: {name} was unchanged {when}; {which} is from {made}{_cards(backup)}."


def _but(view: Overview, ages: Iterable[str]) -> str:
    """Return what failed since the runs that are good enough."""
    failed = [name for name in ages if (run := view.last_run.get(name)) and run.outcome == "failed"]
    errors = [f"{name} ({error.message})" for name in failed if (error := view.last_run[name].error)]
    return f" But the last run failed: {'; '.join(errors)}." if errors else ""


def _cards(backup: Backup) -> str:
    return "" if backup.stats.cards is None else f" with {backup.stats.cards:,} cards"


def _named(view: Overview, ages: Iterable[str]) -> list[str]:
    """Return the judged sources in their order, then those that only have backups."""
    return [*ages, *sorted(set(view.newest).difference(ages))]


def _source(view: Overview, name: str, now: datetime, next_run: datetime | None) -> SourceSafety:
    good, newest = view.last_success.get(name), view.newest.get(name)
    return SourceSafety(
        source=name,
        last_success_at=good.started_at if good else None,
        last_backup=newest.id if newest else None,
        last_run=view.last_run.get(name),
        age_s=int((now - good.started_at).total_seconds()) if good else None,
        next_run_at=next_run,
    )
