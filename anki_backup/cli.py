"""The words, the global options, and the one place where an error meets a person.

A new command is a file in `commands` and a word there. Its module is imported only
when the word is typed, so `list` never pays for what `serve` needs.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from copy import copy
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from anki_backup import __version__, completion, durable, signals, terminal
from anki_backup.commands import COMMANDS, INCOMPLETE, Context
from anki_backup.errors import AnkibakError, StorageError, Terminated, UsageError, signal_behind
from anki_backup.logs import LogFormat
from anki_backup.terminal import Color

HELP = ["-h", "--help"]
INTERRUPTED = 130
DIGITS = 18
REFUSING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


def main() -> int:
    """Run the command line of this process and return its exit code."""
    terminal.prepare()
    listener = signals.Listener()
    try:
        listener.listen()
        code = answer(sys.argv[1:])
    except KeyboardInterrupt:  # came just before `answer` began, or while it ended
        code = INTERRUPTED
    except Terminated as stopped:
        code = stopped.exit_code
    listener.over = True
    return code


def answer(argv: Sequence[str]) -> int:
    """Do what a command line says and return the exit code; every error has been told."""
    typed = list(argv[: argv.index("--")] if "--" in argv else argv)
    context = Context(color=_peek_color(typed))
    try:
        result = _invoke(list(argv), context)
        terminal.write("")
        return result or (INCOMPLETE if context.incomplete else 0)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and terminal.reader_is_gone():
            return 0
        failure = _in_our_words(error, typed)
        expected = failure is error or isinstance(failure, UsageError | Terminated)
        if not expected and (context.verbose or not {"-v", "--verbose"}.isdisjoint(typed)):
            _tell_trace(error)
        _tell(failure, context, as_json="--json" in typed)
        return failure.exit_code
    finally:
        terminal.settle()


class Words(TyperGroup):
    """The group of all commands: knows their words, and loads the one that was typed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return every word, in the order of the page of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """Return a stand-in with the one-line help: enough for the page of all commands."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Load the command that was typed; UsageError with the nearest word if there is none."""
        word = args[0]
        if word in COMMANDS:
            return word, self._load(word), args[1:]
        if ctx.resilient_parsing:
            return None, None, args[1:]
        nearest = get_close_matches(word, COMMANDS, 1)
        hint = f"Did you mean this? ankibak {nearest[0]}" if nearest else "See them all: ankibak --help"
        raise UsageError(f"there is no command {word!r}", hint=hint)

    def _load(self, word: str) -> Any:
        name = word.replace("-", "_") + "_" * iskeyword(word)
        module = import_module(f"anki_backup.commands.{name}")
        app: typer.Typer = getattr(module, "app", None) or typer.Typer(add_completion=False)
        if not hasattr(module, "app"):
            app.command(word)(module.command)
        app.info.name, app.rich_markup_mode = word, self.rich_markup_mode
        command: Any = get_group(app) if hasattr(module, "app") else get_command(app)
        _take_global_options(command, self.params)
        if completion.VARIABLE in os.environ:
            completion.attach(command)
        return command


def _invoke(argv: list[str], context: Context) -> int:
    if not os.path.isdir(os.environ.get("TMPDIR") or "/tmp"):
        os.environ.pop("TMPDIR", None)  # we do without, Anki's library and programs of the user's would not
    # Typer draws its pages with rich; a pipe gets plain ones, without that import.
    pretty = terminal.is_terminal() and terminal.wants_color(sys.stdout, context.color)
    names = {"help_option_names": HELP}
    app = typer.Typer(cls=Words, rich_markup_mode="rich" if pretty else None, context_settings=names)
    app.callback(invoke_without_command=True)(_start)
    root = get_command(app)
    _take_global_options(root, [])
    if completion.VARIABLE in os.environ:
        root.main(argv, "ankibak")
    with root.make_context("ankibak", argv, obj=context) as ctx:
        result = root.invoke(ctx)
    return result if isinstance(result, int) else 0


def _remember(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    if value and isinstance(ctx.obj, Context):
        setattr(ctx.obj, str(param.name), value)
    return value


def _show_version(value: bool) -> None:
    if value:
        terminal.write(f"ankibak {__version__}\n")
        raise typer.Exit


def _option(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, callback=_remember)


def _start(
    ctx: typer.Context,
    config_path: Annotated[
        Path | None, _option("-c", "--config", metavar="PATH", help="The configuration file.")
    ] = None,
    repository_path: Annotated[
        Path | None, _option("--repository", metavar="PATH", help="The repository, over the configuration's.")
    ] = None,
    quiet: Annotated[bool, _option("-q", "--quiet", help="Say only what went wrong.")] = False,
    verbose: Annotated[
        bool, _option("-v", "--verbose", help="Say more, and where errors come from.")
    ] = False,
    color: Annotated[Color | None, _option("--color", help="When to use colours.")] = None,
    log_format: Annotated[LogFormat | None, _option("--log-format", help="How to write to stderr.")] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Change-aware backups of Anki collections.

    These options may stand before or after the command.
    """
    if ctx.invoked_subcommand is None:
        if not terminal.is_terminal():
            raise UsageError("no command was given", hint="See them all: ankibak --help")
        terminal.write(ctx.get_help() + "\n")
        raise typer.Exit(UsageError.exit_code)


def _take_global_options(command: Any, options: Sequence[Any]) -> None:
    """Let `command` and the words inside it accept `options` too, unlisted in their help."""
    taken = {name for param in command.params for name in param.opts}
    for option in options:
        if taken.isdisjoint(option.opts):
            unlisted = copy(option)
            unlisted.hidden, unlisted.expose_value = True, False
            command.params.append(unlisted)
    help_option = command.get_help_option(typer.Context(command, help_option_names=HELP))
    for param in [*command.params, help_option]:
        if hasattr(param, "type_descriptor"):
            param._runtime_param = _Plainly(param)
        if getattr(param, "is_flag", False):
            param.metavar = ""  # else its help says that it is a <bool>
    for inner in getattr(command, "commands", {}).values():
        _take_global_options(inner, options)


class _Plainly:
    """Reads values of the usual types, for which Typer would load pydantic: 70 ms."""

    def __init__(self, param: Any) -> None:
        self.type = param.type_descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        kind, many = self.type.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        if kind in (str, list[str]) or (kind is bool and isinstance(value, bool)):
            return value
        if kind is Path:
            return Path(value).expanduser()
        if self.type.choices and not many:
            if value not in self.type.choices:
                raise typer.BadParameter(f"{value!r} is none of {', '.join(self.type.choices)}")
            return value
        if kind is int:
            return _whole_number(value, param.min)
        from typer._coercion import build_runtime_param

        return build_runtime_param(self.type).coerce(value, param, ctx)


def _whole_number(value: Any, least: float | None) -> int:
    text = str(value)
    if not text.isdecimal() or len(text) > DIGITS or (least is not None and int(text) < least):
        start = "" if least is None else f" from {least} on"
        raise typer.BadParameter(f"{text[: DIGITS + 1]!r} is no whole number{start}")
    return int(text)


def _peek_color(typed: Sequence[str]) -> Color:
    # Wanted before the command line is parsed, which is where the first errors are.
    words = [word.removeprefix("--color=") for word in typed if word.startswith("--color=")]
    words += [after for before, after in pairwise(typed) if before == "--color"]
    return "never" if "never" in words else "always" if "always" in words else "auto"


def _in_our_words(error: BaseException, typed: Sequence[str]) -> AnkibakError:
    if isinstance(error, AnkibakError):
        return error
    if stopped := signal_behind(error):
        return stopped
    if isinstance(error, typer.TyperException):
        return _usage(error, typed)
    if isinstance(error, OSError) and error.strerror:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        if error.errno in REFUSING:
            return StorageError(f"{error.strerror.lower()}{where}", hint=durable.REASONS[error.errno][1])
        hint = "Run it again with -v to see where that was."
        return AnkibakError(f"{error.strerror.lower()}{where}", hint=hint)
    if isinstance(error, MemoryError):
        return AnkibakError(
            "there is not enough memory", hint="Close other programs, or raise the limit that it runs under."
        )
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return AnkibakError("no thread can be started", hint="Raise the limit of tasks that it runs under.")
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {Path(place[0].filename).name}, line {place[0].lineno}" if place else ""
    bug = AnkibakError(
        f"this is a bug: {type(error).__name__}{where}",
        hint="Run it again with -v, and report what you typed and the traceback that it shows.",
    )
    bug.code = "bug"
    return bug


def _usage(error: typer.TyperException, typed: Sequence[str]) -> UsageError:
    message = " ".join(error.format_message().split())
    message, _, guess = message.partition(" Did you mean ")
    message = message.partition(" (Possible options")[0].rstrip(".")
    if options := getattr(error, "possibilities", None):
        guess = f"{options[0]}?"
    ctx = getattr(error, "ctx", None)
    word = next((word for word in typed if word in COMMANDS), None)
    path = ctx.command_path if ctx else f"ankibak {word}" if word else "ankibak"
    hint = f"Did you mean {guess}" if guess else f"See what it takes: {path} --help"
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _tell_trace(error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).splitlines():
        terminal.write_error(terminal.escape(line))


def _tell(failure: AnkibakError, context: Context, *, as_json: bool) -> None:
    if as_json:
        shape = {"code": failure.code, "message": failure.message, "hint": context.hinted(failure.hint)}
        terminal.write_error(json.dumps({"error": shape}))
        return
    context.tell(failure.message, "error", failure.hint, code=failure.code)
