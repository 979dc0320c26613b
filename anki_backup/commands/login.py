"""`ankibak login`: the password becomes a host key, and only that is kept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from anki_backup import credentials
from anki_backup.commands import Context
from anki_backup.errors import UsageError


def command(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Which account.")] = None,
) -> None:
    """Exchange an account's password for a host key, which later runs use; the password is not kept.

    It is taken from where the configuration says; where that is nowhere, it is asked for.
    """
    from anki_backup.repository import Repository  # where the key is kept

    context: Context = ctx.obj
    name = context.account(name)
    settings: Any = context.config.sources[name]
    account: Any = context.driver(name)
    password = account.provided_password() or credentials.ask(name, settings.username)
    if password is None:
        raise UsageError(
            f"there is no password for {name}, and nobody to ask",
            hint=f"Type it at a terminal, or set sources.{name}.password_file or password_command.",
        )
    Repository.create(context.root)
    account.login(password)
    context.say(f"{name}: logged in; the key is kept, the password is not")
