"""The long lists: backups by day, runs, and the configuration as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

from litestar import Request, Response, get

from anki_backup.config import Config
from anki_backup.errors import UsageError
from anki_backup.keys import keys
from anki_backup.model import Run
from anki_backup.values import REDACTED, Secret, duration
from anki_backup.web import happened, house
from anki_backup.web.desk import now
from anki_backup.web.home import runs_strip, with_changes, word_of
from anki_backup.web.house import House

Asked = Request[Any, Any, Any]
PER_PAGE = 40
RUNS_PER_PAGE = 60
OUTCOMES = ("created", "skipped", "warning", "failed", "interrupted")


@get("/backups", include_in_schema=False)
async def backups(
    request: Asked, source: str | None = None, before: str | None = None, since: str | None = None
) -> Response[bytes]:
    """Backups by day, with what each changed and cost."""
    here = house.of(request)

    def build() -> Response[bytes]:
        known, chosen = here.desk.sources(), source or None
        here.desk.know(chosen)
        start = _since(here, since)
        found, more = here.desk.page(chosen, start, before or None, PER_PAGE)
        rows = with_changes(here.desk, found)
        days = [
            (day, list(some))
            for day, some in groupby(
                rows, lambda row: row["backup"].created_at.astimezone(here.desk.zone).date()
            )
        ]
        quiet = _quiet(here, chosen, [day for day, _ in days])
        return here.paper.page(
            request,
            "backups",
            days=days,
            quiet=quiet,
            sources=known,
            source=chosen,
            since=since or "",
            total=len(here.desk.entries(chosen)),
            more=more,
            pointers=here.desk.pointers(),
        )

    return await here.desk.ask(build)


def _since(here: House, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return now() - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=here.desk.zone) if here.desk.zone else at.astimezone()
        return at.astimezone(UTC)
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
    request: Asked, source: str | None = None, outcome: str | None = None, page: str | None = None
) -> Response[bytes]:
    """What was tried, and how it went."""
    here = house.of(request)

    def build() -> Response[bytes]:
        known, chosen = here.desk.sources(), source or None
        here.desk.know(chosen)
        if outcome and outcome not in OUTCOMES:
            raise UsageError(f"there is no outcome {outcome!r}", hint=f"Choose one of {', '.join(OUTCOMES)}.")
        number = house.whole(page, "page", 1, 1000)
        found = here.desk.runs(chosen, None, RUNS_PER_PAGE * number * (8 if outcome else 1) + 1)
        alarmed = happened.alarmed(here.desk)
        kept = [run for run in found if not outcome or outcome in (run.outcome, word_of(run, alarmed))]
        shown = kept[(number - 1) * RUNS_PER_PAGE : number * RUNS_PER_PAGE]
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
            page=number,
            more=len(kept) > number * RUNS_PER_PAGE,
            longest=max((run.duration_ms for run in shown), default=1) or 1,
        )

    return await here.desk.ask(build)


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
