"""`ankibak doctor`: is everything as it has to be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from anki_backup import checkup, terminal
from anki_backup.checkup import Check
from anki_backup.commands import Context
from anki_backup.errors import AnkibakError
from anki_backup.terminal import Column

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}
COLUMNS = (Column("Check"), Column("State"), Column("", wraps=True))


def command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Look at versions, configuration, repository, space, clock, sources and timers; changes nothing.

    Each source is reached: an account's server is asked one small question. Exits
    with 1 where something failed. Into a pipe a line for each check, with tabs
    between: check, state, message, hint.
    """
    context: Context = ctx.obj
    checks = list(_checks(context))
    well = all(check.state != "failed" for check in checks)
    if as_json:
        terminal.print_json({"well": well, "checks": checks})
    elif terminal.is_terminal():
        rows = [(check.name, (check.state, STYLES[check.state]), _told(check)) for check in checks]
        terminal.print_table(COLUMNS, rows, context.color)
    else:
        terminal.print_rows([check.name, check.state, check.message, check.hint] for check in checks)
    if not well:
        raise typer.Exit(AnkibakError.exit_code)


def _told(check: Check) -> str:
    return f"{check.message}\n{check.hint}" if check.hint else check.message


def _checks(context: Context) -> Iterator[Check]:
    yield from checkup.versions()
    config = context.config
    yield from checkup.configuration(config, context.root)
    place = list(checkup.place(context.root))
    yield from place
    enabled = [name for name, settings in config.sources.items() if settings.enabled]
    for name in enabled:
        yield from checkup.source(context.root, name, context.driver(name), config.sources[name])
    if enabled:
        yield checkup.timers(enabled)
    if place[0].state == "ok":
        yield checkup.log(context.repository())
        yield checkup.freshness(context.repository(), config)
