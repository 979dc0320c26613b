"""`ankibak acknowledge`: the shrink was meant."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import structs

from anki_backup import terminal
from anki_backup.commands import Context

WAIT_S = 10


def command(
    ctx: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="The backup with the alarm; `ankibak status` names it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """End an alarm: the shrink was meant.

    Retention goes on from here. The backup before stays pinned until it is
    unpinned. Into a pipe the id of the backup is printed.
    """
    context: Context = ctx.obj
    repository = context.repository()
    with repository.writing("acknowledge", WAIT_S):
        backup = context.find(repository, backup_id)
        if backup.alarm:
            repository.record("acknowledge", backup=backup.id)
            context.index(repository)
    if not backup.alarm:
        context.say(f"backup {backup.id} has no open alarm")
    if as_json:
        terminal.print_json(structs.replace(backup, alarm=None))
    elif not terminal.is_terminal():
        terminal.print_rows([[backup.id]])
    elif backup.alarm:
        kept = f"; {backup.previous} stays pinned" if backup.previous else ""
        context.say(f"the alarm of {backup.id} is ended{kept}")
