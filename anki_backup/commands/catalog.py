"""`ankibak catalog`: the index of backups and runs."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import around, figures, gaps, terminal
from anki_backup.commands import Context
from anki_backup.errors import DamageError
from anki_backup.model import now

app = typer.Typer(help="Look after the index of backups and runs.")


@app.callback()
def _catalog() -> None:
    pass


@app.command()
def rebuild(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make the index anew from the files of the backups and the event log.

    Nothing is lost by it: the files are the truth. What they have lost it tells, and takes for
    accepted (3). It exits with 6 where a backup can't be read, with 75 while another run holds the lock.
    """
    context: Context = ctx.obj
    repository = context.repository()
    with repository.writing("catalog rebuild", aside=True):
        for words in gaps.accept(repository.history, now()):
            repository.tell(words)
        around.point_again(repository)
        backups = repository.rebuild_catalog()
    if as_json:
        terminal.print_json({"backups": backups})
    elif terminal.is_terminal():
        terminal.write(f"the catalog was made anew: {figures.counted(backups, 'backup')}\n")
    else:
        terminal.print_rows([[backups]])
    if unread := sorted(repository.history.damaged):
        raise DamageError(
            f"not in the index, for they can't be read: {', '.join(unread)}",
            hint="See what is wrong: ankibak verify",
        )
