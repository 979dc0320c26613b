"""`ankibak export`: write a backup to a file or folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from anki_backup import formats, terminal
from anki_backup.commands import Context
from anki_backup.contents import Contents
from anki_backup.errors import UsageError
from anki_backup.model import Backup

DEFAULT = "anki2"


def command(
    ctx: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id or the start of one, latest, latest~2, @2026-11-01.")
    ],
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PATH", help="Where to; - is standard output.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help=f"One of {', '.join(formats.WORDS)}; else as PATH ends."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    no_media: Annotated[bool, typer.Option("--no-media", help="Leave pictures and sounds out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Write a backup to a file or folder; no source is touched.

    Without -o the file is called SOURCE-ID.FORMAT and stands here. Its path is what is printed.
    """
    context: Context = ctx.obj
    word = guess(output) if format is None else format
    if word not in formats.WORDS:
        raise UsageError(f"there is no format {word!r}", hint=f"Choose one of {', '.join(formats.WORDS)}.")
    if output == "-":
        _refuse_to_stream(word, as_json=as_json)
    repository = context.repository()
    backup = context.find(repository, backup_id)
    target = None if output == "-" else place(output, word, backup)
    try:
        warnings = formats.write(
            word, Contents(repository, backup), target, overwrite=overwrite, media=not no_media
        )
    except BrokenPipeError:
        if target is None and terminal.reader_is_gone():
            raise typer.Exit(1) from None
        raise
    for warning in warnings:
        context.warn(warning)
    if as_json:
        result = {"backup": backup.id, "format": word, "path": str(target), "warnings": warnings}
        terminal.print_json(result)
    elif target is not None:
        terminal.write(terminal.escape(str(target)) + "\n")


def guess(output: str | None) -> str:
    """Return the format that a path asks for: a folder by being one, a file by its ending."""
    if output in (None, "-"):
        return DEFAULT
    assert output is not None
    if output.endswith("/") or os.path.isdir(output):
        return "dir"
    endings = sorted(formats.WORDS, key=len, reverse=True)
    return next((word for word in endings if output.endswith(f".{word}")), DEFAULT)


def place(output: str | None, word: str, backup: Backup) -> Path:
    """Return the path to write: the one that was named, or the default name, in the folder that was named."""
    name = f"{backup.source}-{backup.id}" + ("" if word == "dir" else f".{word}")
    if output is None:
        return Path(name)
    if word != "dir" and (output.endswith("/") or os.path.isdir(output)):
        return Path(output, name)
    # `.` and `..` have no name of their own to put a temporary one beside.
    return Path(output) if Path(output).name not in ("", "..") else Path(os.path.abspath(output))


def _refuse_to_stream(word: str, *, as_json: bool) -> None:
    if word == "dir":
        raise UsageError("a folder can't go to standard output", hint="Name one: -o PATH")
    if as_json:
        raise UsageError("standard output can't take both the backup and JSON", hint="Leave --json out.")
    if terminal.is_terminal(sys.stdout):
        raise UsageError(
            "a terminal can't show what would come",
            hint="Redirect it: ankibak export ID -o - > collection.anki2",
        )
