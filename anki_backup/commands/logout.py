"""`ankibak logout`: the host key is forgotten."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from anki_backup.commands import Context


def command(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Which account.")] = None,
) -> None:
    """Forget an account's host key; its backups and its mirror stay."""
    context: Context = ctx.obj
    name = context.account(name)
    account: Any = context.driver(name)
    known = account.logout()
    context.say(f"{name}: {'the key is forgotten' if known else 'there was no key'}")
