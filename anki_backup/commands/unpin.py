"""`ankibak unpin`: a backup that was pinned is retention's again."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import terminal
from anki_backup.commands import Context


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="The backup that need not stay.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Let retention decide on a backup again. Its label stays."""
    context: Context = ctx.obj
    repository = context.repository()
    backup = context.find(repository, name)
    with repository.writing("unpin"):
        was_pinned = repository.find(backup.id).pinned
        if was_pinned:
            repository.record("unpin", backup=backup.id)
            context.index(repository)
    if as_json:
        terminal.print_json(repository.find(backup.id))
    else:
        context.say(f"{backup.id} {'is no longer' if was_pinned else 'was not'} pinned")
