"""Figures for Prometheus: the same names in a textfile and at the web view's `/metrics`.

Every name, its type and what it says stand in `NAMES`; a figure that is not known
is left out. Times are seconds since 1970, as Prometheus wants them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from anki_backup import __version__, durable, overview, safety
from anki_backup.config import Config
from anki_backup.entries import CatalogError
from anki_backup.model import Backup, Run
from anki_backup.overview import Overview
from anki_backup.repository import Repository
from anki_backup.safety import Safety

NAMES = {
    "ankibak_info": ("gauge", "The version of the program that wrote this; always 1."),
    "ankibak_safe": ("gauge", "1 if the cards are safe: the verdict of ankibak status."),
    "ankibak_last_success_timestamp_seconds": ("gauge", "When a run was last successful, changed or not."),
    "ankibak_allowed_age_seconds": ("gauge", "How old the last success may be."),
    "ankibak_next_run_timestamp_seconds": ("gauge", "When the schedule lets the next run begin."),
    "ankibak_last_run_timestamp_seconds": ("gauge", "When the last run began."),
    "ankibak_last_run_duration_seconds": ("gauge", "How long the last run took."),
    "ankibak_last_run_outcome": ("gauge", "1 for the outcome of the last run, 0 for the others."),
    "ankibak_last_backup_timestamp_seconds": ("gauge", "When the newest backup was made."),
    "ankibak_runs_total": ("counter", "Runs by outcome."),
    "ankibak_added_bytes_total": ("counter", "What runs added to the repository."),
    "ankibak_cards": ("gauge", "Cards in the newest backup."),
    "ankibak_notes": ("gauge", "Notes in the newest backup."),
    "ankibak_reviews": ("gauge", "Reviews in the newest backup."),
    "ankibak_decks": ("gauge", "Decks in the newest backup."),
    "ankibak_media_files": ("gauge", "Media files in the newest backup."),
    "ankibak_collection_bytes": ("gauge", "The collection's size in the newest backup."),
    "ankibak_media_bytes": ("gauge", "The media's size in the newest backup."),
    "ankibak_alarms": ("gauge", "Open alarms."),
    "ankibak_repository_backups": ("gauge", "Backups in the repository."),
    "ankibak_repository_stored_bytes": ("gauge", "What the repository holds, in bytes on disk."),
    "ankibak_repository_logical_bytes": ("gauge", "What these backups hold."),
    "ankibak_damage_findings": ("gauge", "Known damage in the repository."),
    "ankibak_verified_timestamp_seconds": ("gauge", "When a backup was last proved to restore."),
}
OUTCOMES = ("created", "failed", "interrupted", "skipped")
COUNTED = """
    select n, source, json_extract(cast(document as text), '$.outcome'),
    coalesce(json_extract(cast(document as text), '$.count'), 1),
    coalesce(json_extract(cast(document as text), '$.stored_bytes'), 0) from run where document is not null
"""


class Figure(NamedTuple):
    """One line: a name, its labels, its value."""

    name: str
    labels: dict[str, str]
    value: float


def text(repository: Repository, config: Config, now: datetime) -> str:
    """Return all figures in Prometheus's text format, version 0.0.4."""
    enabled = [name for name, source in config.sources.items() if source.enabled]
    view = overview.look(repository.history, enabled)
    verdict = safety.status(repository, config, now)
    return told(config, view, verdict, counters(repository), now)


def told(config: Config, view: Overview, verdict: Safety, counted: list[Figure], now: datetime) -> str:
    """Return the figures of what was looked at already; `counted` are the `counters`."""
    figures = [*_of_all(view, verdict)]
    for item in verdict.sources:
        figures += _of_source(view, item, safety.allowed_age(config, item.source, now).total_seconds())
    return render(figures + counted)


def render(figures: list[Figure]) -> str:
    """Return figures grouped by name, in the order of `NAMES`, each group with its help and type."""
    lines = []
    for name, (kind, about) in NAMES.items():
        group = [figure for figure in figures if figure.name == name]
        if group:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        for _, labels, value in group:
            told = ",".join(f'{label}="{_escaped(what)}"' for label, what in labels.items())
            lines.append(f"{name}{f'{{{told}}}' if told else ''} {value:.17g}")
    return "".join(line + "\n" for line in lines)


def write(path: Path, content: str) -> None:
    """Put the figures at `path`, whole or not at all, readable by the collector; StorageError if it can't."""
    with durable.part_file(path) as fd:
        durable.write_fully(fd, content.encode())
        os.fchmod(fd, 0o644)
    durable.publish(Path(f"{path}{durable.PART}"), path)


def _of_all(view: Overview, verdict: Safety) -> Iterator[Figure]:
    yield Figure("ankibak_info", {"version": __version__}, 1)
    yield Figure("ankibak_safe", {}, int(verdict.safe))
    yield Figure("ankibak_repository_backups", {}, view.backups)
    yield Figure("ankibak_repository_stored_bytes", {}, view.stored_bytes)
    yield Figure("ankibak_repository_logical_bytes", {}, view.logical_bytes)
    yield Figure("ankibak_damage_findings", {}, verdict.findings)
    if verdict.proved_at:
        yield Figure("ankibak_verified_timestamp_seconds", {}, verdict.proved_at.timestamp())


def _of_source(view: Overview, item: Any, allowed_s: float) -> Iterator[Figure]:
    labels = {"source": item.source}
    yield Figure("ankibak_allowed_age_seconds", labels, allowed_s)
    for name, at in (
        ("ankibak_last_success_timestamp_seconds", item.last_success_at),
        ("ankibak_next_run_timestamp_seconds", item.next_run_at),
    ):
        if at:
            yield Figure(name, labels, at.timestamp())
    open_alarms = sum(backup.source == item.source for backup in view.alarms)
    yield Figure("ankibak_alarms", labels, open_alarms)
    if run := item.last_run:
        yield from _of_run(run, labels)
    if backup := view.newest.get(item.source):
        yield from _of_backup(backup, labels)


def _of_run(run: Run, labels: dict[str, str]) -> Iterator[Figure]:
    yield Figure("ankibak_last_run_timestamp_seconds", labels, run.started_at.timestamp())
    yield Figure("ankibak_last_run_duration_seconds", labels, run.duration_ms / 1000)
    for outcome in OUTCOMES:
        yield Figure("ankibak_last_run_outcome", labels | {"outcome": outcome}, int(run.outcome == outcome))


def _of_backup(backup: Backup, labels: dict[str, str]) -> Iterator[Figure]:
    stats = backup.stats
    counts = {"cards": stats.cards, "notes": stats.notes, "reviews": stats.revlog, "decks": stats.decks}
    sizes = {"collection_bytes": backup.collection_bytes, "media_bytes": backup.media_bytes}
    for name, count in {**counts, "media_files": backup.media_files, **sizes}.items():
        if count is not None:
            yield Figure(f"ankibak_{name}", labels, count)
    yield Figure("ankibak_last_backup_timestamp_seconds", labels, backup.created_at.timestamp())


def counters(repository: Repository) -> list[Figure]:
    """Return what counts over all runs; folded ones count as many as they stand for, so none ever falls.

    Every run there ever was is looked at: who is asked often keeps them until the repository changes.
    """
    runs: dict[tuple[str, str], int] = {}
    added: dict[str, int] = {}
    for source, outcome, count, stored in _counted(repository):
        runs[source, outcome] = runs.get((source, outcome), 0) + count
        added[source] = added.get(source, 0) + stored
    found = []
    for source in sorted(added):
        for outcome in OUTCOMES:
            labels = {"source": source, "outcome": outcome}
            found.append(Figure("ankibak_runs_total", labels, runs.get((source, outcome), 0)))
        found.append(Figure("ankibak_added_bytes_total", {"source": source}, added[source]))
    return found


def _counted(repository: Repository) -> list[tuple[str, str, int, int]]:
    history = repository.history
    try:
        with history.catalog() as catalog:
            # In this order: a run that is indexed in between is counted once, and not never.
            late = overview.news(history, catalog)
            rows = catalog.rows(COUNTED)
            known = {row[0] for row in rows}
    except CatalogError:
        return [(run.source, run.outcome, run.count, run.stored_bytes) for run in repository.runs()]
    found = [(source, outcome, count, stored) for _, source, outcome, count, stored in rows]
    ended = [run for number, (_, _, run) in late.runs.items() if run and number not in known]
    return found + [(run.source, run.outcome, run.count, run.stored_bytes) for run in ended]


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
