"""Home: are the cards safe, what is newest, how it grew. From the catalog and small documents alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from litestar import Request, Response, get
from markupsafe import Markup

from anki_backup import due, figures
from anki_backup.config import Config
from anki_backup.entries import Entry
from anki_backup.errors import DamageError
from anki_backup.model import Backup, Run
from anki_backup.safety import Safety
from anki_backup.web import charts, happened, house
from anki_backup.web.desk import Desk, now
from anki_backup.web.house import House

Asked = Request[Any, Any, Any]
NEWEST = 8
DAYS = 30
POINTS = 48
TOP_DECKS = 6
# Verified each week by the units as shipped; a month leaves room for a laptop that was away.
UNPROVED = timedelta(days=35)
# A worse outcome in an hour hides a better one.
RANK = ("unchanged", "saved", "warning", "failed")
OUTCOMES = {"created": "saved", "skipped": "unchanged", "failed": "failed", "interrupted": "warning"}


@get("/", include_in_schema=False)
async def show(request: Asked, source: str | None = None) -> Response[bytes]:
    """The sentence, the newest backups, and what became of the collection."""
    here = house.of(request)

    def build() -> Response[bytes]:
        try:
            return drawn()
        except DamageError as error:
            title = "It can't be told whether the cards are safe"
            return here.paper.page(request, "error", 422, title=title, error=error)

    def drawn() -> Response[bytes]:
        verdict = here.safety()
        care = (
            list(cautions(verdict, happened.began_at(here.desk), here.config, now())) if verdict.safe else []
        )
        known = here.desk.sources()
        here.desk.know(source or None)
        chosen = source or _main_source(here, known)
        values = here.desk.remembered(("home", chosen, _hour()), lambda: _values(here.desk, chosen))
        return here.paper.page(
            request,
            "home",
            verdict=verdict,
            care=care,
            advice=advice(verdict) or (care[0].advice if care else None),
            sources=known,
            source=chosen,
            **values,
        )

    return await here.desk.ask(build)


def advice(verdict: Safety) -> dict[str, str] | None:
    """Return the one thing to do: what it is, and where."""
    if verdict.safe:
        return None
    if verdict.alarms:
        found = verdict.alarms[0]
        if found.alarm.kind == "empty":  # the alarm is that of the last backup before
            return {"words": "Put it back", "path": f"/backups/{found.backup}/rollback"}
        return {"words": "See what is gone", "path": f"/compare?to={found.backup}"}
    if verdict.findings:
        return {"words": "See the backups", "path": "/backups"}
    return {"words": "See the runs", "path": "/runs"}


class Caution(NamedTuple):
    """What is not well though the cards are safe, and what to do."""

    words: str
    advice: dict[str, str]


def cautions(verdict: Safety, began_at: datetime | None, config: Config, at: datetime) -> Iterator[Caution]:
    """Yield what may become unsafe: a run that failed or left something out, nothing read again for long."""
    enabled = {name for name, source in config.sources.items() if source.enabled}
    for source in verdict.sources:
        run = source.last_run
        if run and run.outcome in ("failed", "interrupted") and source.source in enabled:
            told = f"failed: {run.error.message}" if run.error else f"was {run.outcome}"
            words = f"the last run of {source.source} {told}"
            yield Caution(words, {"words": "See the runs", "path": f"/runs?outcome={run.outcome}"})
        elif run and run.warning and source.source in enabled:
            words = f"the last run of {source.source} was incomplete: {run.warning}"
            yield Caution(words, {"words": "See the runs", "path": "/runs?outcome=warning"})
    since = verdict.proved_at or began_at
    if since and at - since > UNPROVED:
        days = figures.count((at - since).days)
        words = f"no backup was read again in full for {days} days"
        yield Caution(words, {"words": "Verify the newest", "path": "/backups/latest"})


def _main_source(here: House, known: list[str]) -> str | None:
    """Return the first source of the configuration that has backups: not one by turns."""
    entries = here.desk.entries()
    mine = [name for name in here.config.sources if here.desk.entries(name)]
    return mine[0] if mine else entries[-1].source if entries else known[0] if known else None


def _hour() -> str:
    return f"{now():%Y-%m-%dT%H}"


def _values(desk: Desk, source: str | None) -> dict[str, Any]:
    """Return what the page shows of one source; true until the repository changes or the hour ends."""
    entries = desk.entries(source)
    newest = desk.backups(entries[-NEWEST:][::-1])
    sampled = desk.sampled(source, POINTS) if source else []
    history = desk.backups(sampled)
    if source and history and (standing := desk.standing_of(source)).id != history[-1].id:
        history.append(standing)  # rolled back to, so it is what there is
    strip, counts = runs_strip(desk, source)
    return {
        "rows": with_changes(desk, newest),
        "tiles": _tiles(history),
        "strip": strip,
        "outcomes": counts,
        "growth": _growth(desk, source, sampled) if len(sampled) > 1 else None,
        "pointers": desk.pointers(),
    }


def with_changes(desk: Desk, backups: list[Backup]) -> list[dict[str, Any]]:
    """Return backups with what differs from the one before each, in figures."""
    places = desk.places()
    before_ids = [backup.previous for backup in backups if backup.previous in places]
    before = {one.id: one for one in desk.backups([places[name] for name in before_ids if name])}
    rows = []
    for backup in backups:
        old = before.get(backup.previous or "")
        change = {
            name: (getattr(backup.stats, name) or 0) - (getattr(old.stats, name) or 0) if old else 0
            for name in ("cards", "notes", "decks", "revlog")
        }
        change["media"] = backup.media_files - old.media_files if old else 0
        rows.append({"backup": backup, "change": change, "first": old is None})
    return rows


def _tiles(history: list[Backup]) -> list[dict[str, Any]]:
    if not history:
        return []
    last = history[-1]
    series = {
        "cards": [backup.stats.cards or 0 for backup in history],
        "notes": [backup.stats.notes or 0 for backup in history],
        "reviews": [backup.stats.revlog or 0 for backup in history],
        "decks": [backup.stats.decks or 0 for backup in history],
        "media files": [backup.media_files for backup in history],
    }
    since = history[0].created_at
    return [
        {
            "name": name,
            "value": values[-1],
            "change": values[-1] - values[0],
            "since": since,
            "spark": charts.spark(values, f"{name} since {since:%d %B %Y}: from {values[0]} to {values[-1]}"),
        }
        for name, values in series.items()
        if values[-1] or last.media_files
    ]


def word_of(run: Run, alarmed: set[str]) -> str:
    """Return the word for what a run came to; `alarmed` are the backups that raised an alarm."""
    is_emptied = run.outcome == "skipped" and run.reason not in (None, "unchanged")
    is_odd = is_emptied or run.warning or run.backup in alarmed
    return "warning" if is_odd and run.outcome != "failed" else OUTCOMES.get(run.outcome, "warning")


def runs_strip(desk: Desk, source: str | None) -> tuple[Markup, Counter[str]]:
    """Return thirty days of runs as a picture, and how many came to what."""
    zone = desk.zone
    today = now().astimezone(zone).date()
    days = [today - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    # To the hour, so that it is remembered.
    since = now().replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 1)
    found: dict[tuple[int, int], str] = {}
    counts: Counter[str] = Counter()
    alarmed = happened.alarmed(desk)
    for run in desk.runs(source, since, DAYS * 24 * 4):
        at = run.started_at.astimezone(zone)
        column = (at.date() - days[0]).days
        word = word_of(run, alarmed)
        if 0 <= column < DAYS:
            counts[word] += run.count
            place = (column, at.hour)
            if RANK.index(word) > RANK.index(found.get(place, RANK[0])) or place not in found:
                found[place] = word
    for place in _missed(desk, source, days):
        if place not in found:
            found[place], counts["missed"] = "missed", counts["missed"] + 1
    told = ", ".join(f"{number} {word}" for word, number in counts.most_common()) or "none"
    return charts.strip(found, days, f"Runs of the last {DAYS} days by hour: {told}"), counts


def _missed(desk: Desk, source: str | None, days: list[date]) -> Iterator[tuple[int, int]]:
    """Yield the hours that are over at which a source was due, as places of day and hour."""
    names = [source] if source else list(desk.config.sources)
    for name in names:
        settings, begun = desk.config.sources.get(name), happened.begun(desk, name)
        cron = desk.config.schedule_of(name).cron if settings and settings.enabled else None
        if cron is None or begun is None:
            continue
        first, last = (at.astimezone(desk.zone) for at in (begun, now() - timedelta(hours=1)))
        for column, day in enumerate(days):
            for hour in due.hours(cron, day):
                if (first.date(), first.hour) < (day, hour) <= (last.date(), last.hour - 1):
                    yield column, hour


def _growth(desk: Desk, source: str | None, sampled: list[Entry]) -> dict[str, Any] | None:
    """Return the cards of the largest top decks over time, with a flag for each rollback and alarm."""
    drawn = [(entry, desk.pictures(entry.id)) for entry in sampled]
    points = [
        (entry.created, {deck.name: deck.count for deck in each.decks}) for entry, each in drawn if each
    ]
    if len(points) < 2:
        return None
    largest: Counter[str] = Counter()
    for _, decks in points:
        for name, number in decks.items():
            largest[name] = max(largest[name], number)
    names = [name for name, _ in largest.most_common(TOP_DECKS)]
    series = [(name, [decks.get(name, 0) for _, decks in points]) for name in names]
    others = [sum(n for name, n in decks.items() if name not in names) for _, decks in points]
    if any(others):
        series.append(("all others", others))
    times = [float(time) for time, _ in points]
    first, last = (datetime.fromtimestamp(time, UTC) for time in (times[0], times[-1]))
    flags = _flags(desk, source, first)
    label = f"Cards by top deck from {first:%d %B %Y} to {last:%d %B %Y}: " + ", ".join(
        f"{name} from {values[0]} to {values[-1]}" for name, values in series
    )
    return {
        "picture": charts.growth(times, series, flags, label, _ticks(first, last)),
        "series": [(name, values[0], values[-1]) for name, values in series],
        "flags": [(datetime.fromtimestamp(time, UTC), kind, words) for time, kind, words in flags],
        "first": first,
        "last": last,
    }


def _flags(desk: Desk, source: str | None, first: datetime) -> list[tuple[float, str, str]]:
    flags = []
    for event in happened.rollbacks(desk):
        at = datetime.fromisoformat(event["at"])
        if event.get("source") == source and at >= first:
            back = figures.local(at, desk.zone)
            flags.append((at.timestamp(), "rolled", f"rolled back to {event.get('to')} on {back}"))
    for at, backup, alarm in happened.raised(desk):
        entry = desk.places().get(backup)
        if entry and entry.source == source and at >= first:
            shrunk = f"{alarm.kind} fell from {alarm.before:,} to {alarm.after:,}"
            words = {"empty": "the account was emptied", "deck": "decks were gone"}.get(alarm.kind, shrunk)
            flags.append((at.timestamp(), "shrunk", words))
    return sorted(flags)[-12:]


def _ticks(first: datetime, last: datetime) -> list[tuple[float, str]]:
    """Return up to eight times with their words: days, months or years, as the span asks for."""
    span = last - first
    if span < timedelta(days=3):
        step, form = timedelta(hours=6), "%H:%M"
    elif span < timedelta(days=60):
        step, form = max(timedelta(days=1), span / 7), "%d %b"
    elif span < timedelta(days=900):
        step, form = span / 7, "%b %Y"
    else:
        step, form = timedelta(days=366), "%Y"
    ticks: list[tuple[float, str]] = []
    at = first + step
    while at < last and len(ticks) < 12:
        ticks.append((at.timestamp(), at.strftime(form)))
        at += step
    return ticks


def day_of(text: str) -> date:
    """Return the day of a document of pictures."""
    return date.fromisoformat(text)
