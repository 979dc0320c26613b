"""`ankibak prune`: remove what retention lets go."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import figures, prune, terminal
from anki_backup.commands import INCOMPLETE, Context
from anki_backup.errors import UsageError
from anki_backup.model import now
from anki_backup.retention import DEFAULT, Verdict
from anki_backup.terminal import Column

COLUMNS = (
    Column("Backup", style="cyan"),
    Column("Verdict"),
    Column("Why", wraps=True),
)


def command(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    max_unused: Annotated[
        str, typer.Option(metavar="PERCENT", help="Leave so much that only carries deltas; 0 frees all.")
    ] = "5%",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Remove the backups that retention lets go, and whatever nothing refers to.

    Into a pipe a line for each backup, with tabs between: backup, keep or remove,
    reasons.
    """
    context: Context = ctx.obj
    repository = context.repository()
    config = context.config
    policy, unused = config.retention_of, _part(max_unused)
    rules = prune.Rules(lambda source: policy(source) or DEFAULT, now, context.zone, unused=unused)
    plan = prune.plan(repository, rules)
    if not as_json:
        _show(context, plan.verdicts)
    if dry_run:
        if as_json:
            terminal.print_json(plan)
        context.say(f"would remove {_told(plan)}")
        return
    if plan.goes:
        context.confirm(f"Remove {_told(plan)}?", yes=yes)
    with terminal.progress("Pruning", None, quiet=context.quiet, color=context.color) as advance:
        done, warnings = prune.perform(repository, plan, rules, advance)
    if as_json:
        terminal.print_json(done)
    context.say(f"removed {_told(done)}")
    for warning in warnings:
        context.warn(warning)
    if warnings:
        raise typer.Exit(INCOMPLETE)


def _part(text: str) -> float:
    number = text.removesuffix("%")
    if not number.isdecimal() or not number.isascii() or int(number) > 100:
        raise UsageError(f"--max-unused {text} is no percentage", hint="Write it so: 5%, or 0 to free all.")
    return int(number) / 100


def _told(plan: prune.Plan) -> str:
    count = figures.counted(len(plan.goes), "backup")
    return f"{count} of {len(plan.verdicts)}, {figures.size(plan.freed_bytes)}"


def _show(context: Context, verdicts: list[Verdict]) -> None:
    if terminal.is_terminal() and verdicts:
        rows = ((item.backup, (_word(item), "" if item.keep else "red"), _why(item)) for item in verdicts)
        terminal.print_table(COLUMNS, rows, context.color)
    else:
        terminal.print_rows([item.backup, _word(item), _why(item)] for item in verdicts)


def _word(verdict: Verdict) -> str:
    return "keep" if verdict.keep else "remove"


def _why(verdict: Verdict) -> str:
    return ", ".join(verdict.reasons)
