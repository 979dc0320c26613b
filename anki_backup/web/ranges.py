"""Parts of a file: which bytes a request asks for, and of which file (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from anki_backup.web.replies import Refused

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """Which bytes of a file: from `start` to before `end`."""

    start: int
    end: int


def span(headers: Mapping[str, str], tag: str, size: int) -> Span | None:
    """Return the one part that a request wants of the file that `tag` names; None for all of it.

    A part of this file is of no use to whoever has begun with another one, as `If-Range`
    tells. Refused (416), with the size, for what lies beyond the end.
    """
    if headers.get("if-range", tag).strip() != tag:
        return None
    return _span(headers.get("range"), size)


def _span(header: str | None, size: int) -> Span | None:
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
        raise Refused(416, f"there are only {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return Span(start, end)
