"""`ankibak list`: which backups there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from anki_backup import figures, terminal
from anki_backup.commands import Context, known_source
from anki_backup.model import Backup
from anki_backup.terminal import Cell, Column

COLUMNS = (
    Column("ID", style="cyan"),
    Column("Source"),
    Column("Made", above=100),
    Column("Age", right=True),
    Column("Size", right=True),
    Column("Stored", right=True, above=90),
    Column("Cards", right=True),
    Column("Notes", right=True, above=120),
    Column("Decks", right=True, above=120),
    Column("Reviews", right=True, above=120),
    Column("Flags", wraps=True),
)


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
    """List backups, newest first.

    Into a pipe a line each, with tabs between: id, source, created_at,
    size_bytes, stored_bytes, cards, notes, decks, revlog, flags.
    """
    context: Context = ctx.obj
    repository = context.repository()
    start = context.since(since)
    found = repository.backups(source, start, None if everything else limit + 1)
    if source and not found:
        known_source(context, repository, source)
    shown = found if everything else found[:limit]
    for message in repository.history.damaged.values():
        context.warn(message)
    if as_json:
        terminal.print_json({"backups": shown})
    elif terminal.is_terminal() and shown:
        now = datetime.now(UTC)
        terminal.print_table(COLUMNS, (_row(backup, context, now) for backup in shown), context.color)
    else:
        terminal.print_rows(map(_fields, shown), context.color)
    if terminal.is_terminal() and not as_json:
        _say_more(context, len(found), len(shown), narrowed=bool(source or since))


def _fields(backup: Backup) -> list[object]:
    stats = backup.stats
    counts = [stats.cards, stats.notes, stats.decks, stats.revlog]
    sizes = [backup.size_bytes, backup.stored_bytes]
    special = (",".join(flags(backup)), _style(backup))
    return [backup.id, backup.source, backup.created_at, *sizes, *counts, special]


def _row(backup: Backup, context: Context, now: datetime) -> list[Cell]:
    stats = backup.stats
    return [
        backup.id,
        backup.source,
        figures.local(backup.created_at, context.zone),
        figures.ago(backup.created_at, now),
        figures.size(backup.size_bytes),
        figures.size(backup.stored_bytes),
        *(figures.count(number) for number in (stats.cards, stats.notes, stats.decks, stats.revlog)),
        (", ".join(flags(backup)), _style(backup)),
    ]


def flags(backup: Backup) -> list[str]:
    """Return what is special about a backup, in words; a label comes last, whatever is in it."""
    words = [word for word, is_so in (("pinned", backup.pinned), ("alarm", backup.alarm)) if is_so]
    if backup.origin != "run":
        words.append(backup.origin)
    if backup.label is not None:
        words.append(f"label={backup.label}")
    return words or ["-"]


def _style(backup: Backup) -> str:
    return "red" if backup.alarm else "dim" if flags(backup) == ["-"] else "yellow"


def _say_more(context: Context, found: int, shown: int, *, narrowed: bool) -> None:
    if not found:
        context.say("no backups fit" if narrowed else "there are no backups yet; make one: ankibak run")
    elif found > shown:
        context.say(f"these are the newest {shown}; see all of them: ankibak list --all")
