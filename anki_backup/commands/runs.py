"""`ankibak runs`: what was tried, and how it went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from anki_backup import figures, terminal
from anki_backup.commands import Context, known_source
from anki_backup.model import Run
from anki_backup.terminal import Cell, Column

COLUMNS = (
    Column("Began", above=90),
    Column("Age", right=True),
    Column("Source"),
    Column("Outcome"),
    Column("Took", right=True),
    Column("Stored", right=True),
    Column("Backup or reason", wraps=True),
)
STYLE = {"created": "green", "skipped": "dim", "failed": "bold red", "interrupted": "yellow"}


def command(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this source.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-11-01, 12h, 2d.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List runs, newest first: created, skipped, failed or interrupted, and why.

    Into a pipe a line each, with tabs between: started_at, source, outcome,
    reason, backup, stored_bytes, duration_ms, error, count, warning.
    """
    context: Context = ctx.obj
    repository = context.repository()
    found = repository.runs(source, context.since(since), None if everything else limit + 1)
    if source and not found:
        known_source(context, repository, source)
    shown = found if everything else found[:limit]
    if as_json:
        terminal.print_json({"results": shown})
    elif terminal.is_terminal() and shown:
        now = datetime.now(UTC)
        terminal.print_table(COLUMNS, (_row(run, context, now) for run in shown), context.color)
    else:
        terminal.print_rows(map(_fields, shown))
    if terminal.is_terminal() and not as_json and len(found) > len(shown):
        context.say(f"these are the newest {limit}; see all of them: ankibak runs --all")


def _fields(run: Run) -> list[object]:
    error = run.error.code if run.error else None
    figures_of_it = [run.stored_bytes, run.duration_ms, error, run.count, run.warning]
    return [run.started_at, run.source, run.outcome, run.reason, run.backup, *figures_of_it]


def _row(run: Run, context: Context, now: datetime) -> list[Cell]:
    why = run.error.message if run.error else run.warning or run.reason
    style = "yellow" if run.warning else STYLE.get(run.outcome, "")
    text = ": ".join(filter(None, [run.backup, why])) or "-"
    return [
        figures.local(run.started_at, context.zone),
        figures.ago(run.started_at, now),
        run.source,
        (run.outcome if run.count == 1 else f"{run.outcome} x{run.count}", style),
        figures.duration(run.duration_ms),
        figures.size(run.stored_bytes) if run.outcome == "created" else "-",
        text,
    ]
