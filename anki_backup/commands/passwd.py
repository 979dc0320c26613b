"""`ankibak passwd`: the password of the web view."""

from __future__ import annotations

import getpass
import sys

import typer

from anki_backup import terminal
from anki_backup.commands import Context
from anki_backup.errors import UsageError
from anki_backup.logins import Logins


def command(ctx: typer.Context) -> None:
    """Set the password of the web view; every session ends.

    Asks twice on a terminal; else the first line of standard input is the password.
    Only its hash is kept, in the repository's state/secrets.
    """
    context: Context = ctx.obj
    logins = Logins(context.repository().root)
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("Once more: ") != password:
            raise UsageError("the two are not the same", hint="Try again: ankibak passwd")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    logins.set_password(password)
    if terminal.is_terminal():
        context.say("the password is set; open the web view: ankibak serve")
