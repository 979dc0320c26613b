"""`ankibak export`: write a backup, or a part of it, to a file or folder."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from anki_backup import formats, singles, terminal
from anki_backup.commands import Context
from anki_backup.contents import Contents
from anki_backup.errors import ConfigError, UsageError
from anki_backup.formats import Options
from anki_backup.model import Backup

DEFAULT = "colpkg"


def command(
    ctx: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id or the start of one, latest, latest~2, @2026-11-01.")
    ],
    more: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", hidden=True)] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PATH", help="Where to; - is standard output.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help=f"One of {', '.join(formats.WORDS)}; else as PATH ends."),
    ] = None,
    deck: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only a deck and those under it, as apkg.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="QUERY", help="Only the notes that Anki's search finds, as apkg.")
    ] = None,
    media: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="Only these media files, as they were.")
    ] = None,
    no_media: Annotated[bool, typer.Option("--no-media", help="Leave pictures and sounds out.")] = False,
    no_scheduling: Annotated[
        bool, typer.Option("--no-scheduling", help="Cards as new ones, without reviews; as apkg.")
    ] = False,
    legacy: Annotated[bool, typer.Option("--legacy", help="In the form for Anki before 2.1.50.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Write a backup, or a part of it, to a file or folder; no source is touched.

    Without -o the file is called SOURCE-ID.FORMAT and stands here. Its path is what is printed.
    """
    context: Context = ctx.obj
    if output == "-":
        _refuse_to_stream(as_json=as_json)
    options = Options(not no_media, deck, search, not no_scheduling, legacy)
    if media or more:
        _refuse_beside_media(media, format, options)
        _write_singles(context, backup_id, [*(media or []), *(more or [])], output, overwrite, as_json)
        return
    word = guess(output, options) if format is None else format
    if word not in formats.WORDS:
        raise UsageError(f"there is no format {word!r}", hint=f"Choose one of {', '.join(formats.WORDS)}.")
    if output == "-" and word == "dir":
        raise UsageError("a folder can't go to standard output", hint="Name one: -o PATH")
    repository = context.repository()
    backup = context.find(repository, backup_id)
    target = None if output == "-" else place(output, word, backup)
    if target:
        _refuse_ours(context, target)
    contents = Contents(repository, backup)
    try:
        warnings = formats.write(word, contents, target, overwrite=overwrite, options=options)
    except BrokenPipeError:
        _leave_quietly(target)
        raise
    for warning in warnings:
        context.warn(warning)
    if as_json:
        result = {"backup": backup.id, "format": word, "path": str(target), "warnings": warnings}
        terminal.print_json(result)
    elif target is not None:
        terminal.write(terminal.escape(str(target)) + "\n")


def guess(output: str | None, options: Options = formats.EVERYTHING) -> str:
    """Return the format that is asked for: by the path's ending, or by what only one format can."""
    fallback = "apkg" if options.deck or options.search or not options.scheduling else DEFAULT
    if output in (None, "-"):
        return fallback
    assert output is not None
    if (output.endswith("/") or os.path.isdir(output)) and fallback == DEFAULT and not options.legacy:
        return "dir"
    endings = sorted(formats.WORDS, key=len, reverse=True)
    found = next((word for word in endings if output.endswith(f".{word}")), None)
    if found is None and (suffix := Path(output).suffix):
        raise UsageError(
            f"no format has the ending {suffix}", hint=f"Choose one: --format {' or '.join(formats.WORDS)}"
        )
    return found or fallback


def place(output: str | None, word: str, backup: Backup) -> Path:
    """Return the path to write: the one that was named, or the default name, in the folder that was named."""
    name = f"{backup.source}-{backup.id}" + ("" if word == "dir" else f".{word}")
    if output is None:
        return Path(name)
    if word != "dir" and (output.endswith("/") or os.path.isdir(output)):
        return Path(output, name)
    # `.` and `..` have no name of their own to put a temporary one beside.
    return Path(output) if Path(output).name not in ("", "..") else Path(os.path.abspath(output))


def _refuse_ours(context: Context, path: Path) -> None:
    """No export goes into the repository, or over what is backed up or configured."""
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(context.root))
    if root in (real, *real.parents):
        raise UsageError(f"{path} is in the repository", hint="Name a place outside: -o PATH")
    with suppress(ConfigError):
        config = context.config
        if config.file and real == Path(os.path.realpath(config.file)):
            raise UsageError(f"{path} is the configuration", hint="Name another place: -o PATH")
        for name, settings in config.sources.items():
            if settings.kind == "profile":
                driver: Any = context.driver(name)
                if driver.collection == real or driver.media in (real, *real.parents):
                    hint = f"To put a backup back: ankibak rollback {name}:ID"
                    raise UsageError(f"{path} is what source {name} backs up", hint=hint)


def _refuse_to_stream(*, as_json: bool) -> None:
    if as_json:
        raise UsageError("standard output can't take both the backup and JSON", hint="Leave --json out.")
    if terminal.is_terminal(sys.stdout):
        raise UsageError(
            "a terminal can't show what would come",
            hint="Redirect it: ankibak export ID -o - > backup.colpkg",
        )


def _refuse_beside_media(media: list[str] | None, format: str | None, options: Options) -> None:
    if not media:
        raise UsageError(
            "only one backup can be exported at a time", hint="See what it takes: ankibak export --help"
        )
    if format is not None or options != Options():
        raise UsageError(
            "--media takes single files out, as they were, and goes with no other choice",
            hint="Leave the other options out, or --media.",
        )


def _write_singles(
    context: Context, backup_id: str, names: list[str], output: str | None, overwrite: bool, as_json: bool
) -> None:
    repository = context.repository()
    contents = Contents(repository, context.find(repository, backup_id))
    files = singles.find(contents, [os.fsencode(name) for name in names])
    if output == "-":
        if len(files) > 1:
            raise UsageError("standard output takes one file", hint="Name a folder: -o PATH/")
        try:
            singles.stream(contents, files[0])
        except BrokenPipeError:
            _leave_quietly(None)
            raise
        return
    paths = singles.places(files, output)
    for path in paths:
        _refuse_ours(context, path)
    singles.write(contents, files, paths, overwrite=overwrite)
    if as_json:
        terminal.print_json({"backup": contents.backup.id, "paths": [str(path) for path in paths]})
    else:
        terminal.write("".join(terminal.escape(str(path)) + "\n" for path in paths))


def _leave_quietly(target: Path | None) -> None:
    if target is None and terminal.reader_is_gone():
        raise typer.Exit(1) from None
