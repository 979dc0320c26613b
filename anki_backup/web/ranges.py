"""Parts of a file: which bytes a request asks for."""

from __future__ import annotations

import re
from typing import NamedTuple

from anki_backup.web.replies import Refused

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """Which bytes of a file: from `start` to before `end`."""

    start: int
    end: int


def span(header: str | None, size: int) -> Span | None:
    """Return the one range that a header asks for; None for all of it, Refused (416) beyond the end."""
    match = RANGE.fullmatch(header.strip()) if header else None
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    if start >= size or start >= end:
        raise Refused(416, f"there are only {size} bytes")
    return Span(start, end)
