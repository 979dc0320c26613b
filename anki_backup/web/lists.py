"""The long lists: backups by day, runs, and the configuration as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from litestar import Request, Response, get

from anki_backup import figures
from anki_backup.config import Config
from anki_backup.entries import Entry, State
from anki_backup.errors import UsageError
from anki_backup.keys import keys
from anki_backup.model import Run
from anki_backup.values import REDACTED, Secret, duration
from anki_backup.web import happened, house
from anki_backup.web.desk import Desk, now
from anki_backup.web.home import runs_strip, with_changes, word_of
from anki_backup.web.house import House

Asked = Request[Any, Any, Any]
PER_PAGE = 40
RUNS_PER_PAGE = 60
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
ONLY: dict[str, Callable[[State], object]] = {
    "pinned": lambda state: state.pinned,
    "labelled": lambda state: state.label is not None,
    "alarmed": lambda state: state.alarm,
}
OUTCOMES = ("created", "skipped", "warning", "failed", "interrupted")


@get("/backups", include_in_schema=False)
async def backups(
    request: Asked,
    source: str | None = None,
    before: str | None = None,
    since: str | None = None,
    until: str | None = None,
    only: str | None = None,
) -> Response[bytes]:
    """Backups by day, with what each changed and cost."""
    here = house.of(request)

    def build() -> Response[bytes]:
        desk, known, chosen = here.desk, here.desk.sources(), source or None
        desk.know(chosen)
        if only and only not in ONLY:
            raise UsageError(f"there are no backups that are {only!r}", hint=f"Choose {' or '.join(ONLY)}.")
        first, last = _time(here, since), _time(here, until, end=True)
        entries = _chosen(desk, chosen, last, only or None)
        found, more = desk.page(chosen, first, before or None, PER_PAGE, entries)
        rows = with_changes(desk, found)
        days = [
            (day, list(some))
            for day, some in groupby(rows, lambda row: row["backup"].created_at.astimezone(desk.zone).date())
        ]
        return here.paper.page(
            request,
            "backups",
            days=days,
            quiet=_quiet(here, chosen, [day for day, _ in days]),
            sources=known,
            source=chosen,
            since=since or "",
            until=until or "",
            only=only or "",
            total=sum(first is None or entry.created >= first.timestamp() for entry in entries),
            more=more,
            pointers=desk.pointers(),
        )

    return await here.desk.ask(build)


def _chosen(desk: Desk, source: str | None, until: datetime | None, only: str | None) -> list[Entry]:
    """Return the backups up to a time, or those of them that are marked in one way."""
    entries = desk.entries(source)
    if until is not None:
        entries = [entry for entry in entries if entry.created < until.timestamp()]
    if only is not None:
        marked = desk.remembered("marked", lambda: desk.view().marked())
        names = {name for name, state in marked.items() if ONLY[only](state)}
        entries = [entry for entry in entries if entry.id in names]
    return entries


def _time(here: House, text: str | None, *, end: bool = False) -> datetime | None:
    """Return the time that a person means; of a day its begin, or its `end`."""
    if not text:
        return None
    try:
        return now() - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
        if end and DAY.fullmatch(text):
            at += timedelta(days=1)
        return figures.instant(at, here.desk.zone)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time", hint="Write a day, 2026-11-01, or how long ago: 7d."
        ) from None


def _quiet(here: House, source: str | None, days: list[date]) -> dict[date, int]:
    """Return how many runs of each day found nothing new."""
    if not days or now().astimezone(here.desk.zone).date() - min(days) > timedelta(days=120):
        return {}
    first = datetime.combine(min(days), datetime.min.time(), here.desk.zone).astimezone()
    found: dict[date, int] = {}
    for run in here.desk.runs(source, first, 3000):
        if run.outcome == "skipped":
            day = run.started_at.astimezone(here.desk.zone).date()
            found[day] = found.get(day, 0) + run.count
    return found


@get("/runs", include_in_schema=False)
async def runs(
    request: Asked, source: str | None = None, outcome: str | None = None, before: str | None = None
) -> Response[bytes]:
    """What was tried, and how it went."""
    here = house.of(request)

    def build() -> Response[bytes]:
        known, chosen = here.desk.sources(), source or None
        here.desk.know(chosen)
        if outcome and outcome not in OUTCOMES:
            raise UsageError(f"there is no outcome {outcome!r}", hint=f"Choose one of {', '.join(OUTCOMES)}.")
        start = house.whole(before, "before", 0, 10**9) or None
        alarmed = happened.alarmed(here.desk)
        found = here.desk.remembered(
            ("runs of", chosen, outcome, start), lambda: _some_runs(here.desk, chosen, outcome, start)
        )
        shown = [run for _, run in found[:RUNS_PER_PAGE]]
        strip, counts = runs_strip(here.desk, chosen)
        return here.paper.page(
            request,
            "runs",
            groups=[(run, count, word_of(run, alarmed)) for run, count in _folded(shown)],
            strip=strip,
            outcomes=counts,
            alarmed=alarmed,
            sources=known,
            source=chosen,
            outcome=outcome or "",
            more=found[RUNS_PER_PAGE - 1][0] if len(found) > RUNS_PER_PAGE else None,
            longest=max((run.duration_ms for run in shown), default=1) or 1,
        )

    return await here.desk.ask(build)


def _some_runs(
    desk: Desk, source: str | None, outcome: str | None, before: int | None
) -> list[tuple[int, Run]]:
    """Return a page of runs with their numbers, newest first, and the one behind it if there is one."""
    alarmed, wanted = happened.alarmed(desk), RUNS_PER_PAGE + 1
    odd = None if outcome in (None, "", "created", "skipped") else alarmed
    found: list[tuple[int, Run]] = []
    while len(found) < wanted:
        some = desk.view().numbered_runs(source, None, wanted, before, odd)
        found += [
            pair for pair in some if not outcome or outcome in (pair[1].outcome, word_of(pair[1], alarmed))
        ]
        if len(some) < wanted:
            break
        before = some[-1][0]
    return found[:wanted]


def _folded(runs: list[Run]) -> Iterator[tuple[Run, int]]:
    """Yield runs, those that found nothing new and follow each other as one."""

    def alike(run: Run) -> object:
        return (run.source, run.reason) if run.reason == "unchanged" and not run.warning else id(run)

    for _, some in groupby(runs, alike):
        group = list(some)
        yield group[0], sum(run.count for run in group)


@get("/config", include_in_schema=False)
async def config(request: Asked) -> Response[bytes]:
    """The configuration as it is, without its secrets."""
    here = house.of(request)
    rows = list(_settings(here.config))
    return here.paper.page(request, "config", rows=rows, file=here.config.file, root=here.desk.root)


def _settings(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield key, value and origin of each setting; a secret shows as stars."""
    names = [key for key in keys() if "<name>" not in key]
    for source in config.sources:
        names += [key.replace("<name>", source) for key in keys() if "<name>" in key]
    for name in names:
        try:
            value = _value(config, name)
        except (AttributeError, KeyError):
            continue
        origin = config.origin(name)
        if value is not None or origin != "default":
            yield name, _shown(name, value), origin


def _value(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
        if value is None:
            return None
    return value


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Secret) or name.endswith("password_command"):
        return REDACTED
    if isinstance(value, timedelta):
        return getattr(value, "text", "") or str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


HANDLERS = [backups, runs, config]
