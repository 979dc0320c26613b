"""One file of TOML: its tables, its lines, and who else can read it."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any

from anki_backup.errors import ConfigError

LIMIT = 256 << 10
# What `tomllib` says of a key or a table that stands twice.
TWICE = {
    "Cannot overwrite a value": "this key was set before",
    "Cannot declare": "this table stands there before",
}


class Document:
    """What a configuration file says; `exposed` where others than its owner can read it.

    Without a file it says nothing. ConfigError names the file, and the line where
    there is one; it never shows a value, since that may be a secret.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.text, self.exposed = _text(file) if file else ("", False)
        self.tables = _parse(self.text, file)

    def line(self, path: tuple[str, ...]) -> int | None:
        """Return the line on which the value at `path` begins, by parsing more or less of the file."""
        lines = self.text.split("\n")

        def holds(end: int) -> bool:
            # Within a value of several lines nothing parses: then the next end that does.
            for stop in range(end, len(lines) + 1):
                with suppress(ValueError):
                    return _holds(tomllib.loads("\n".join(lines[:stop])), path)
            return False

        found = bisect_left(range(len(lines) + 1), True, key=holds)
        return found if 0 < found <= len(lines) else None


def _holds(table: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def _text(file: Path) -> tuple[str, bool]:
    try:
        with open(file, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = (
            (error.strerror or "failed").lower() if isinstance(error, OSError) else "its name holds a NUL"
        )
        raise ConfigError(
            f"can't read {file}: {reason}",
            hint="Name another file, or /dev/null for none: ankibak --config FILE, or $ANKIBAK_CONFIG.",
        ) from error
    if len(data) > LIMIT:
        raise ConfigError(f"{file} is larger than any configuration: more than {LIMIT >> 10} KiB")
    if stat.S_ISREG(mode) and not data.strip():
        # Often what a power cut leaves; to go on with defaults would back up nothing, silently.
        raise ConfigError(
            f"{file} is empty",
            hint="Write it again, or remove it. An example: ankibak config schema --example",
        )
    try:
        # The line feed lets an error at the end of the file have a line, too.
        return data.decode("utf-8-sig") + "\n", stat.S_ISREG(mode) and bool(mode & 0o044)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # Not chained: the error carries all of the file.
        raise ConfigError(f"{file}, line {line}: not UTF-8", hint="Save the file as UTF-8.") from None


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        place = re.search(r" \(at line (\d+), column \d+\)", reason)
        line = f", line {place[1]}" if place else ""
        reason = reason.replace(place[0], "") if place else reason
        reason = next((words for began, words in TWICE.items() if reason.startswith(began)), reason)
        raise ConfigError(f"{file}{line}: {reason[:1].lower()}{reason[1:200]}") from None
