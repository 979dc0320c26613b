"""What is said, for programs: JSON lines, or entries of journald with fields of their own.

Each carries the id of the process's run, so that lines of one run can be told
from those of another that was at work beside it.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

from anki_backup.figures import utc

LogFormat = Literal["text", "json", "journal"]
Level = Literal["error", "warning", "info", "debug"]
Fields = Mapping[str, object]

PRIORITY = {"error": 3, "warning": 4, "info": 6, "debug": 7}
SOCKET = "/run/systemd/journal/socket"
NOTHING: Fields = {}


def run_id(environ: Mapping[str, str] = os.environ) -> str:
    """Return what the lines of this process have in common: systemd's id of this start, else a new one."""
    given = environ.get("INVOCATION_ID", "")
    return given if len(given) == 32 and given.isalnum() else uuid.uuid4().hex


def is_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether a stream leads to journald, as systemd.exec(5) tells us to find out."""
    with suppress(OSError, ValueError):
        state = os.fstat(stream.fileno())
        return environ.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"
    return False


def natural(stream: TextIO, environ: Mapping[str, str] = os.environ) -> LogFormat:
    """Return the format for a stream where nobody chose one."""
    return "journal" if is_journal(stream, environ) else "text"


def json_line(text: str, level: Level, hint: str | None, fields: Fields = NOTHING) -> str:
    """Return one JSON object, in ASCII; what is not known is left out."""
    known = {"time": utc(datetime.now(UTC)), "level": level, **fields, "message": text, "hint": hint}
    return json.dumps({name: value for name, value in known.items() if value is not None}, default=str)


def send(text: str, level: Level, hint: str | None, fields: Fields, path: str | None = None) -> bool:
    """Send an entry to journald; False where it doesn't listen, or doesn't take it."""
    entry: dict[str, object] = {
        "MESSAGE": f"{text}\nhint: {hint}" if hint else text,
        "PRIORITY": PRIORITY[level],
        "SYSLOG_IDENTIFIER": "ankibak",
        **{f"ANKIBAK_{name.upper()}": value for name, value in fields.items() if value is not None},
    }
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
            journald.sendto(encode(entry), path or SOCKET)
    except OSError:
        return False
    return True


def encode(entry: Fields) -> bytes:
    """Return an entry as https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ wants it."""
    parts = []
    for name, value in entry.items():
        data = str(value).encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), data))
    return b"".join(parts)
