"""`ankibak serve`: the web view and its API."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from anki_backup.commands import Context
from anki_backup.errors import UsageError


def command(
    ctx: typer.Context,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="HOST:PORT or unix:PATH, over the configuration's; port 0 is any."
        ),
    ] = None,
    idle_exit: Annotated[
        str | None, typer.Option(metavar="TIME", help="End when nobody asked for anything so long: 10m.")
    ] = None,
) -> None:
    """Serve the web view and its API, until told to end.

    Sockets that systemd has opened are taken instead of an address. It needs a
    password (ankibak passwd) or a token (ankibak token add), and no credentials of
    any account.
    """
    from anki_backup import paged
    from anki_backup.values import duration
    from anki_backup.web import app, door
    from anki_backup.web.house import House

    context: Context = ctx.obj
    try:
        idle_s = duration(idle_exit).total_seconds() if idle_exit else None
    except ValueError as error:
        raise UsageError(f"--idle-exit {error}", hint="Write it so: --idle-exit 10m") from error
    config = context.config
    paged.HELD_LIMIT = paged.LITTLE
    here = House(context.root, config, context.zone)
    # Before there is a socket: whoever lacks a password needn't hear of an address in use.
    door.check(config.security, here.logins)
    address = listen or config.server.listen
    sockets = door.inherited()
    address = "" if sockets else address
    sockets = sockets or [door.bind(address)]
    try:
        beyond = any(map(door.is_beyond, sockets))
        door.check(config.security, here.logins, beyond=beyond)
        gate = app.build(here)
        gate.beyond = beyond
        where = ", ".join(door.address_of(each, gate.base) for each in sockets)
        ready = partial(context.say, f"the web view is at {where}")
        door.serve(gate, sockets, idle_s, ready, here.jobs.going)
    finally:
        door.close(sockets, address)
