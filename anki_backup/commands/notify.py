"""`ankibak notify`: does anybody hear us?"""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from anki_backup import notifiers, redaction, terminal, watch
from anki_backup.commands import Context
from anki_backup.errors import ConfigError, NotifierError
from anki_backup.notifiers import Message
from anki_backup.terminal import Cell, Column

app = typer.Typer(add_completion=False)
# What a run ends with when it lived long enough to tell of it: see docs/COMMANDS.md.
TOLD_ITSELF = {"3", "4", "7", "8"}
RUN_UNIT = re.compile(r"ankibak@([a-z][a-z0-9_-]*)\.service")
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
    host = os.uname().nodename
    text = f"If you can read this, ankibak on {host} can tell you."
    results = _tell(context, Message("test", None, f"ankibak on {host}: a test", text))
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
    _complain(results)


@app.command()
def failure(
    ctx: typer.Context,
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="The unit of systemd that failed.")],
) -> None:
    """Tell everybody that a unit of systemd failed; `ankibak-failure@.service` does this.

    A run that could still speak has told of its failure itself, so only one that was
    killed, ran out of time or never began is told here.
    """
    context: Context = ctx.obj
    instance = RUN_UNIT.fullmatch(unit)
    status = os.environ.get("MONITOR_EXIT_STATUS", "")
    if instance and os.environ.get("MONITOR_EXIT_CODE") == "exited" and status in TOLD_ITSELF:
        return
    result = os.environ.get("MONITOR_SERVICE_RESULT", "failed")
    title = f"ankibak on {os.uname().nodename}: {unit} failed"
    text = f"{title} ({result}{f', status {status}' if status else ''}).\nSee why: journalctl -u {unit}"
    source = instance[1] if instance else None
    if not notifiers.make(context.config):
        context.warn(f"{title}, and no notifier is configured to tell of it")
        return
    results = _tell(context, Message("failure", source, title, text))
    _complain(results | _tell(context, Message("failed", source, title, text)))


def _tell(context: Context, message: Message) -> dict[str, str | None]:
    """Send a message to all who hear its kind; return what is wrong with each."""
    found = notifiers.make(context.config)
    if not found:
        raise ConfigError("no notifier is configured", hint="Set ping.url or apprise.url: see docs/CONFIG.md")
    secrets = watch.known_secrets(context.config)
    results: dict[str, str | None] = {}
    for name, notifier in found.items():
        if message.kind in notifier.hears:
            try:
                notifier.tell(message)
                results[name] = None
            except NotifierError as error:
                results[name] = redaction.redact(error.message, secrets)
    return results


def _complain(results: dict[str, str | None]) -> None:
    if failed := [name for name, wrong in results.items() if wrong]:
        raise NotifierError(
            f"{', '.join(failed)} could not be told", hint="Look at its address and the network."
        )
