"""`ankibak import`: make backups of what was kept elsewhere, at their own dates."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from msgspec import to_builtins

from anki_backup import figures, terminal
from anki_backup.adopt import Adopted, Adoption
from anki_backup.commands import INCOMPLETE, Context
from anki_backup.errors import AnkibakError, ConfigError, RepositoryError, SourceError, UsageError
from anki_backup.gather import Options
from anki_backup.model import SOURCE_PATTERN
from anki_backup.repository import Repository
from anki_backup.terminal import Cell, Column

COLUMNS = (
    Column("File", wraps=True),
    Column("Of", above=80),
    Column("Backup", style="cyan"),
    Column("Stored", right=True, above=100),
    Column("", wraps=True),
)


def command(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="A .colpkg, a whole .apkg, an .anki2, or a folder of them."),
    ],
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose past it is; needed unless there is one source.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Adopt Anki's own backups, or any collection, as history.

    Into a pipe a line for each file, with tabs between: file, outcome, backup,
    created_at, stored_bytes, reason.
    """
    context: Context = ctx.obj
    name = chosen(context, source)
    options = Options(threads=context.config.run.threads, progress=_progress(context))
    paths = [Path(file).expanduser() for file in files]
    adoption = Adoption(_repository(context, make=not dry_run), name, context.zone, options)
    try:
        (adoption.plan if dry_run else adoption.adopt)(paths)
    except AnkibakError:
        if adoption.results:  # what was adopted until then is there
            _tell(context, adoption, as_json=as_json)
        raise
    _tell(context, adoption, as_json=as_json)
    failed = [result.error for result in adoption.results if result.error]
    if failed and len(failed) == len(adoption.results):
        raise typer.Exit(SourceError.exit_code)
    if failed or adoption.incomplete:
        raise typer.Exit(INCOMPLETE)


def chosen(context: Context, source: str | None) -> str:
    """Return the source that was named, which need not be configured, else the only one that is."""
    if source is not None:
        if not SOURCE_PATTERN.fullmatch(source):
            raise UsageError(
                f"{source!r} can't be the name of a source",
                hint="Use a letter, then letters, digits, - and _.",
            )
        return source
    configured = list(context.config.sources)
    if len(configured) == 1:
        return configured[0]
    if not configured:
        raise ConfigError("no source is configured", hint="Say whose past it is: --source desktop")
    raise UsageError(
        f"there are several sources: {', '.join(configured)}",
        hint=f"Say whose past it is: --source {configured[0]}",
    )


def _repository(context: Context, *, make: bool) -> Repository | None:
    """Open the repository; where there is none yet, make it and say so, or do without."""
    if not make:
        try:
            return Repository.open(context.root)
        except RepositoryError:
            if context.has_repository:
                raise
            return None
    return context.made_repository()


def _progress(context: Context) -> Callable[[str, int], AbstractContextManager[Callable[[int], object]]]:
    def progress(title: str, total: int) -> AbstractContextManager[Callable[[int], object]]:
        return terminal.progress(title, total or None, quiet=context.quiet, color=context.color)

    return progress


def _tell(context: Context, adoption: Adoption, *, as_json: bool) -> None:
    for warning in adoption.warnings:
        context.warn(warning)
    results = adoption.results
    if as_json:
        shown = [to_builtins(result) | {"backup": result.backup} for result in results]
        terminal.print_json({"results": shown})
        return
    for result in results:
        if result.error:
            context.tell(result.error.message, "error", result.error.hint)
    if not terminal.is_terminal():
        terminal.print_rows(map(_fields, results), context.color)
    elif results and not context.quiet:
        terminal.print_table(COLUMNS, (_row(result, context) for result in results), context.color)


def _fields(result: Adopted) -> list[object]:
    backup = result.backup.id if result.backup else None
    reason = result.error.message if result.error else result.reason
    return [result.file, result.outcome, backup, result.created_at, result.stored_bytes, reason]


def _row(result: Adopted, context: Context) -> list[Cell]:
    of = figures.local(result.created_at, context.zone) if result.created_at else ""
    stored = figures.size(result.stored_bytes) if result.backup else ""
    word: Cell = ("failed", "red") if result.error else result.reason or ""
    if result.outcome == "planned":
        word = "would be adopted"
    return [result.file, of, result.backup.id if result.backup else "", stored, word]
