"""`ankibak status`: are the cards safe?"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from anki_backup import figures, safety, terminal
from anki_backup.commands import Context
from anki_backup.errors import AnkibakError, UsageError
from anki_backup.safety import Safety, SourceSafety
from anki_backup.terminal import Cell, Column
from anki_backup.values import Duration, duration

COLUMNS = (
    Column("Source"),
    Column("Last success"),
    Column("Newest backup", style="cyan"),
    Column("Last run"),
    Column("Next run"),
)


def command(
    ctx: typer.Context,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How old the last success may be; over the configuration's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say in one sentence whether the cards are safe, then the figures; exit with 1 when they are not.

    Into a pipe lines with tabs between: `safe`, yes or no, the sentence; `source`,
    its name, last_success_at, age_s, last_backup, last_run, next_run_at for each;
    `alarm`, source, backup, kind, before, after, since for each; `repository`,
    its id, backups, stored_bytes, logical_bytes.
    """
    context: Context = ctx.obj
    allowed = _length(max_age)
    now = datetime.now(UTC)
    verdict = safety.status(context.repository(), context.config, now, allowed)
    if as_json:
        terminal.print_json(verdict)
    elif terminal.is_terminal():
        _show(context, verdict, now)
    else:
        terminal.print_rows(_lines(verdict))
    if not verdict.safe:
        raise typer.Exit(AnkibakError.exit_code)


def _length(text: str | None) -> Duration | None:
    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"--max-age {text} is no duration", hint="Write it so: 90m, 26h, 3d.") from error


def _lines(verdict: Safety) -> list[list[object]]:
    lines: list[list[object]] = [["safe", verdict.safe, verdict.sentence]]
    for source in verdict.sources:
        outcome = source.last_run.outcome if source.last_run else None
        when = [source.last_success_at, source.age_s]
        lines.append(["source", source.source, *when, source.last_backup, outcome, source.next_run_at])
    for item in verdict.alarms:
        alarm = item.alarm
        lines.append(["alarm", item.source, item.backup, alarm.kind, alarm.before, alarm.after, alarm.since])
    held = verdict.repository
    return [*lines, ["repository", held.id, held.backups, held.stored_bytes, held.logical_bytes]]


def _show(context: Context, verdict: Safety, now: datetime) -> None:
    colored = terminal.wants_color(sys.stdout, context.color)
    style = "bold" if verdict.safe else "bold red"
    terminal.write(terminal.paint(terminal.escape(verdict.sentence), style, colored) + "\n")
    if context.quiet:
        return
    if verdict.sources:
        terminal.write("\n")
        terminal.print_table(COLUMNS, (_row(source, now) for source in verdict.sources), context.color)
    held = verdict.repository
    proved = f"; last proved {figures.ago(verdict.proved_at, now)}" if verdict.proved_at else ""
    sizes = f"{figures.size(held.stored_bytes)} for {figures.size(held.logical_bytes)}"
    terminal.write(f"\n{figures.counted(held.backups, 'backup')} in the repository, {sizes}{proved}\n")


def _row(source: SourceSafety, now: datetime) -> list[Cell]:
    return [
        source.source,
        figures.ago(source.last_success_at, now) if source.last_success_at else "never",
        source.last_backup or "-",
        source.last_run.outcome if source.last_run else "-",
        figures.ago(source.next_run_at, now) if source.next_run_at else "-",
    ]
