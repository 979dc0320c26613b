"""`ankibak verify`: read again, hash again, report what is not as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from anki_backup import around, figures, safety, terminal, verify
from anki_backup.commands import INCOMPLETE, Context
from anki_backup.errors import BusyError, DamageError, StorageError
from anki_backup.repository import Repository
from anki_backup.terminal import Column

INDEX = "What the backups hold is whole. Mend the rest: ankibak catalog rebuild"
LOST = "Look through what is left, then accept what is lost: ankibak catalog rebuild"
ELSEWHERE = (
    "What the source still has is mended by: ankibak run --force --rehash."
    " Of the rest keep the folder as it is, and make a new backup elsewhere: ankibak run --repository PATH"
)
COLUMNS = (
    Column("Backup", style="cyan"),
    Column("Kind", style="red"),
    Column("Object", above=100),
    Column("What is wrong", wraps=True),
)


def command(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Only these backups; all when none is named."),
    ] = None,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read and hash every byte again.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Also restore each and open it with Anki's library.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --restore: only N, those whose proof is worth most."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check backups for damage; changes nothing, and exits with 6 when there is some.

    Into a pipe a line for each finding, with tabs between: backup, object,
    kind, message.
    """
    context: Context = ctx.obj
    repository = context.repository()
    wanted = [_resolve(context, repository, text) for text in ids or []]
    if restore:  # which writes: then what a writer mends is mended before it is looked at
        with suppress(BusyError, StorageError, DamageError), repository.writing("verify"):
            pass
    with terminal.progress("Verifying", None, quiet=context.quiet, color=context.color) as advance:
        report = verify.verify(repository, wanted, read_data, advance)
    found = report.findings
    proven, recorded = _prove(context, repository, wanted, limit, found) if restore else (0, True)
    whole = read_data and not wanted
    # Without --restore nothing at all is written, not even what was found.
    if restore and (found or whole) and not safety.note_damage(repository, len(found), whole=whole):
        context.warn("that could not be noted, so ankibak status does not know of it")
        recorded = False
    if as_json:
        told = {"checked": report.checked, "findings": found}
        terminal.print_json(told | ({"proven": proven} if restore else {}))
    elif terminal.is_terminal() and found:
        rows = ((item.backup or "-", item.kind, item.object or "-", item.message) for item in found)
        terminal.print_table(COLUMNS, rows, context.color)
    else:
        terminal.print_rows([item.backup, item.object, item.kind, item.message] for item in found)
    if found:
        raise DamageError(
            f"there is damage in {repository.root}: {figures.counted(len(found), 'finding')}",
            hint=_hint(found),
        )
    if terminal.is_terminal() and not as_json:
        depth = "every byte read" if read_data else "add --read-data to read every byte"
        context.say(f"no damage in {figures.counted(report.checked, 'backup')} ({depth})")
        if restore:
            context.say(f"restored, opened with Anki's library and compared: {proven}")
    if not recorded:
        raise typer.Exit(INCOMPLETE)


def _hint(found: list[verify.Finding]) -> str:
    ways = {item.message.rpartition("; ")[2] for item in found}
    if ways <= {around.MEND, around.RUN}:
        return INDEX
    return LOST if ways <= {around.MEND, around.RUN, around.ACCEPT} else ELSEWHERE


def _prove(
    context: Context, repository: Repository, ids: list[str], limit: int | None, found: list[verify.Finding]
) -> tuple[int, bool]:
    """Restore what is wanted and not known to be damaged; return how many, and if all is recorded."""
    from anki_backup import proof  # for the few who ask

    damaged = {finding.backup for finding in found}
    known = {backup.id: backup for backup in repository.backups()}
    chosen = ids or proof.order(known.values())
    chosen = [name for name in chosen if name in known and name not in damaged][:limit]
    prover = proof.Prover(repository)
    with terminal.progress("Restoring", len(chosen), quiet=context.quiet, color=context.color) as advance:
        found += prover.prove(chosen, advance)
    for warning in prover.warnings:
        context.warn(warning)
    return prover.proven, not prover.unrecorded


def _resolve(context: Context, repository: Repository, text: str) -> str:
    """Return the id that is meant; that of a backup that can't be read any more has to be typed in full."""
    try:
        return context.find(repository, text).id
    except DamageError:
        if text in repository.history.ids():
            return text
        raise
