"""`ankibak find`: in which backups a note, a deck or a media file is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from anki_backup import figures, terminal, timeline
from anki_backup.commands import Context, known_source, looked
from anki_backup.errors import NotFoundError, UsageError
from anki_backup.spotted import Hit
from anki_backup.terminal import Cell, Column

LIMIT = 50
COLUMNS = (
    Column("", above=60),
    Column("Found", wraps=True),
    Column("Last in", style="cyan"),
    Column("", above=80),
    Column("Since", style="cyan", above=120),
    Column("Backups", right=True, above=70),
)


def command(
    ctx: typer.Context,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Text, a note's id or guid, a deck's or a file's name.")
    ],
    source: Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = LIMIT,
    show_all: Annotated[bool, typer.Option("--all", help="Show everything that was found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Find notes, decks and media files in all backups; say where each was last seen.

    What the source lacks now, as far as is known, comes first. Into a pipe a line for each, with tabs
    between: kind, id, source, first, last, backups, present, name, gone, command.
    """
    context: Context = ctx.obj
    if not text.strip():
        raise UsageError("there is nothing to look for", hint="Name some text: ankibak find house")
    repository = context.repository()
    if source:
        known_source(context, repository, source)
    look, hits = looked(context, repository, lambda look: timeline.find(look, text), source)
    if not hits:
        counted = figures.counted(len(look.backups), "backup")
        raise NotFoundError(
            f"{text!r} is in none of {counted}", hint="Look for a part of it, or for another word."
        )
    shown = hits if show_all else hits[:limit]
    if as_json:
        terminal.print_json({"hits": shown, "found": len(hits)})
    elif terminal.is_terminal():
        _draw(context, shown)
    else:
        terminal.print_rows(map(_fields, shown))
    if len(shown) < len(hits):
        context.say(f"{figures.counted(len(hits) - len(shown), 'more')[:-1]}: narrow it, or add --all")


def _fields(hit: Hit) -> list[object]:
    seen = [hit.first, hit.last, hit.backups, hit.present]
    return [hit.kind, hit.id, hit.source, *seen, hit.name, hit.gone, hit.command]


def _draw(context: Context, hits: list[Hit]) -> None:
    now = datetime.now(UTC)
    rows: list[list[Cell]] = [
        [
            hit.kind,
            hit.name or hit.id,
            hit.last,
            (figures.ago(hit.last_at, now), "") if hit.present else (hit.gone or "", "red"),
            hit.first,
            figures.count(hit.backups),
        ]
        for hit in hits
    ]
    terminal.print_table(COLUMNS, rows, context.color)
    commands = dict.fromkeys(hit.command for hit in hits if hit.command)
    if commands:
        terminal.write("\nto get back what is gone:\n")
        terminal.write("".join(f"  {terminal.escape(each)}\n" for each in commands))
