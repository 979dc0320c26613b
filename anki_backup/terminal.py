"""How answers look: plain lines for programs, tables and colours for people.

stdout is data, stderr is talk. Whatever comes from outside (deck names, file
names, labels, errors) passes `escape` or `cell` before a terminal sees it. Rich
is imported only where something is drawn, so a pipe never pays for it.
"""

from __future__ import annotations

import io
import json
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from anki_backup.errors import StorageError
from anki_backup.figures import utc
from anki_backup.logs import NOTHING, PRIORITY, Fields, Level, LogFormat, is_journal, json_line, send

if TYPE_CHECKING:
    from rich.console import Console

Color = Literal["auto", "always", "never"]
Advance = Callable[[int], None]
Cell = str | tuple[str, str]

# Control characters of both kinds, marks that turn the direction of writing, line
# separators, and the halves of surrogate pairs that stand for bytes.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
PREFIX = {"error": "ankibak: ", "warning": "warning: "}
STYLE = {"error": "bold red", "warning": "yellow"}
ANSI = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1", "bold red": "1;31"}
WIDEST = 300


def escape(text: str) -> str:
    """Return `text` so that showing it can't move, colour, hide or reorder anything."""
    return UNSAFE.sub(lambda match: SHORT.get(match[0]) or _escaped(match[0]), text)


def cell(value: object) -> str:
    """Return one field of a tab-separated line; `-` for what is unknown.

    A backslash is doubled, so the original can be had back from the escapes.
    """
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(str(value).replace("\\", "\\\\"))


def is_terminal(stream: TextIO | None = None) -> bool:
    """Say whether a person reads `stream`, which is stdout unless told."""
    return (stream or sys.stdout).isatty()


def wants_color(stream: TextIO, color: Color = "auto", environ: Mapping[str, str] = os.environ) -> bool:
    """Decide on colours: the option first, then NO_COLOR, CLICOLOR_FORCE, TERM, the stream."""
    if color != "auto":
        return color == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb" and environ.get("CLICOLOR") != "0"


def write(text: str) -> None:
    """Put `text` on stdout at once; after `| head` has left, nowhere.

    StorageError where stdout can't take it (a full disk).
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _mute(sys.stdout)
    except OSError as error:
        _mute(sys.stdout)
        raise StorageError(
            f"standard output could not be written: {error.strerror}",
            hint="Make room there, or send the output elsewhere.",
        ) from error


def print_json(value: Any) -> None:
    """Write a document with `"schema": 1` first; structs and times inside it are fine."""
    document = {"schema": 1, **(value if isinstance(value, Mapping) else _plain(value))}
    # ASCII: `\udc80` escapes stay what they are, and no name can steer a terminal.
    write(json.dumps(document, default=_plain, indent=2 if is_terminal() else None) + "\n")


def print_rows(rows: Iterable[Sequence[object]], color: Color = "auto") -> None:
    """Write tab-separated lines without a header. A (text, style) pair is coloured if colour is forced."""
    colored = wants_color(sys.stdout, color)
    write("".join("\t".join(_field(value, colored) for value in row) + "\n" for row in rows))


@dataclass(frozen=True)
class Column:
    """A column of a table; it is left out on terminals narrower than `above`."""

    title: str = ""
    right: bool = False
    style: str = ""
    above: int = 0
    wraps: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], color: Color = "auto") -> None:
    """Draw a table for a person; cells are escaped here, and shortened beyond reason."""
    from rich.table import Table
    from rich.text import Text

    screen = console(sys.stdout, color)
    shown = [index for index, column in enumerate(columns) if screen.width >= column.above]
    headed = any(column.title for column in columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=headed, header_style="bold")
    for index in shown:
        column = columns[index]
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row in rows:
        pairs = (value if isinstance(value, tuple) else (value, "") for value in (row[i] for i in shown))
        table.add_row(*(Text(escape(_shorten(text)), style=style) for text, style in pairs))
    with screen.capture() as drawn:
        screen.print(table)
    write(drawn.get())


def console(stream: TextIO, color: Color = "auto") -> Console:
    """Return rich's console for `stream`, taking nothing as markup, with our verdict on colours."""
    from rich.console import Console

    colored = wants_color(stream, color)
    return Console(
        file=stream,
        color_system="standard" if colored else None,
        force_terminal=True if colored else None,
        no_color=not colored,
        markup=False,
        emoji=False,
        highlight=False,
    )


@contextmanager
def progress(
    description: str,
    total: int | None,
    *,
    quiet: bool = False,
    color: Color = "auto",
    in_bytes: bool = False,
) -> Iterator[Advance]:
    """Show a bar on stderr while the block runs; yields what moves it by so many. A total of 0 is unknown.

    Without a terminal, or when `quiet`, nothing is drawn and the callable does nothing.
    """
    if quiet or not is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield lambda count: None
        return
    from rich import progress as parts

    columns = [
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(),
        parts.DownloadColumn(binary_units=True) if in_bytes else parts.MofNCompleteColumn(),
        parts.TimeRemainingColumn(),
    ]
    with parts.Progress(*columns, console=console(sys.stderr, color), transient=True) as bar:
        task = bar.add_task(escape(description), total=total or None)
        yield lambda count: bar.advance(task, count)


def talk(
    text: str,
    level: Level = "info",
    log_format: LogFormat = "text",
    color: Color = "auto",
    hint: str | None = None,
    fields: Fields = NOTHING,
) -> None:
    """Say something on stderr: as a line, as JSON, or to journald; `fields` say more of it to programs."""
    if log_format == "json":
        write_error(json_line(text, level, hint, fields))
        return
    if log_format == "journal" and is_journal(sys.stderr) and send(escape(text), level, hint, fields):
        return
    prefix = PREFIX.get(level, "")
    if prefix and log_format == "text":
        prefix = paint(prefix, STYLE[level], wants_color(sys.stderr, color))
    start = f"<{PRIORITY[level]}>" if log_format == "journal" else ""
    write_error(start + prefix + escape(text))
    if hint:
        write_error(f"{start}hint: {escape(hint)}")


def write_error(line: str) -> None:
    """Put one line on stderr, or nowhere when nobody can take it."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        _mute(sys.stderr)


def prepare() -> None:
    """Make the standard streams safe to use; call it before anything else is opened.

    A closed one becomes the null device, so no file of ours can end up as number 1
    or 2. Text that the terminal's encoding lacks is shown as escapes. What is
    written arrives whole or fails, also under PYTHONUNBUFFERED.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = (_reliable(stream) for stream in (sys.stdout, sys.stderr))


def reader_is_gone() -> bool:
    """Say whether stdout is a pipe or socket that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def settle() -> None:
    """Write out what is buffered, so that the interpreter has nothing to complain of at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _mute(stream)
            with suppress(OSError, ValueError):  # on a disk that takes nothing, not even that can be flushed
                stream.close()


def _reliable(stream: TextIO | None) -> TextIO:
    if stream is None:
        return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(stream, io.TextIOWrapper):
        encoding, binary = stream.encoding, stream.buffer
        if isinstance(binary, io.RawIOBase):
            # A raw stream may take a part of what it is given, and call that success.
            stream.detach()
            return io.TextIOWrapper(io.BufferedWriter(binary), encoding, "backslashreplace")
        stream.reconfigure(errors="backslashreplace")
    return stream


def _mute(stream: TextIO) -> None:
    # What is left in the buffers would fail again when the interpreter flushes at its end.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _field(value: object, colored: bool) -> str:
    return paint(cell(value[0]), value[1], colored) if isinstance(value, tuple) else cell(value)


def paint(text: str, style: str, colored: bool) -> str:
    """Return text in a style, as it is where there are no colours."""
    return f"\x1b[{ANSI[style]}m{text}\x1b[0m" if colored and style in ANSI else text


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _shorten(text: str) -> str:
    return text if len(text) <= WIDEST else text[:WIDEST] + "…"


def _plain(value: Any) -> Any:
    from msgspec import to_builtins

    return to_builtins(value)
