"""`ankibak token`: who may use the API."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import figures, terminal
from anki_backup.commands import Context
from anki_backup.logins import Logins
from anki_backup.terminal import Column

app = typer.Typer(help="API tokens of the web view.", no_args_is_help=True, add_completion=False)
COLUMNS = (Column("Name", wraps=True), Column("Made"))
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("add")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. It is shown this once: only its hash is kept."""
    context: Context = ctx.obj
    secret = Logins(context.repository().root).add_token(name)
    if as_json:
        terminal.print_json({"name": name, "token": secret})
    else:
        terminal.write(secret + "\n")


@app.command("list")
def show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens, never the secrets. Into a pipe: name, created_at."""
    context: Context = ctx.obj
    tokens = Logins(context.repository().root).tokens()
    if as_json:
        known = [{"name": token.name, "created_at": figures.utc(token.created_at)} for token in tokens]
        terminal.print_json({"tokens": known})
    elif terminal.is_terminal():
        rows = ((token.name, figures.local(token.created_at, context.zone)) for token in tokens)
        terminal.print_table(COLUMNS, rows, context.color)
    else:
        terminal.print_rows([token.name, token.created_at] for token in tokens)


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one to forget.")],
) -> None:
    """Forget a token: from now on it opens nothing."""
    context: Context = ctx.obj
    Logins(context.repository().root).revoke(name)
