"""`ankibak pin`: keep a backup for ever."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import terminal
from anki_backup.commands import Context
from anki_backup.errors import UsageError

LONGEST = 200


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="The backup to keep.")],
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A few words on why, shown in the list.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Keep a backup for ever, whatever retention says.

    Pinning it again changes its label; without --label the old one stays.
    """
    context: Context = ctx.obj
    if label is not None and (len(label) > LONGEST or "\n" in label or "\0" in label):
        raise UsageError("the label is no short text", hint=f"Take one line of at most {LONGEST} characters.")
    repository = context.repository()
    backup = context.find(repository, name)
    with repository.writing("pin"):
        backup = repository.find(backup.id)
        words = backup.label if label is None else label or None
        if not backup.pinned or words != backup.label:
            repository.record("pin", backup=backup.id, label=words)
            context.index(repository)
    if as_json:
        terminal.print_json(repository.find(backup.id))
    else:
        context.say(
            f"{backup.id} is pinned{f' as {words!r}' if words else ''}: it stays until it is unpinned"
        )
