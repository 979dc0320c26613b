"""`ankibak notify`: does anybody hear us?"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from anki_backup import notifiers, redaction, terminal, watch
from anki_backup.commands import Context
from anki_backup.errors import ConfigError, NotifierError
from anki_backup.notifiers import Message
from anki_backup.terminal import Cell, Column

app = typer.Typer(add_completion=False)
COLUMNS = (Column("Notifier"), Column("Told"), Column("What is wrong", wraps=True))


@app.callback()
def group() -> None:
    """Notifiers: who is told when something happens."""


@app.command()
def test(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Send a test message to every notifier that is configured; exit with 3 if one can't be told.

    Into a pipe a line for each, with tabs between: notifier, told, message.
    """
    context: Context = ctx.obj
    found = notifiers.make(context.config)
    if not found:
        raise ConfigError("no notifier is configured", hint="Set ping.url or apprise.url: see docs/CONFIG.md")
    host = os.uname().nodename
    message = Message(
        "test", None, f"ankibak on {host}: a test", f"If you can read this, ankibak on {host} can tell you."
    )
    secrets = watch.known_secrets(context.config)
    results: dict[str, str | None] = {}
    for name, notifier in found.items():
        try:
            notifier.tell(message)
            results[name] = None
        except NotifierError as error:
            results[name] = redaction.redact(error.message, secrets)
    if as_json:
        told = [
            {"notifier": name, "told": wrong is None, "message": wrong} for name, wrong in results.items()
        ]
        terminal.print_json({"notifiers": told})
    elif terminal.is_terminal():
        rows: list[list[Cell]] = [
            [name, "yes" if wrong is None else ("no", "red"), wrong or ""] for name, wrong in results.items()
        ]
        terminal.print_table(COLUMNS, rows, context.color)
    else:
        terminal.print_rows([name, wrong is None, wrong] for name, wrong in results.items())
    if failed := [name for name, wrong in results.items() if wrong]:
        raise NotifierError(
            f"{', '.join(failed)} could not be told", hint="Look at its address and the network."
        )
