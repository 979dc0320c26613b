"""Pages: templates filled in, figures as people read them, and who is reading."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response

from anki_backup import __version__, figures
from anki_backup.terminal import escape
from anki_backup.web.gate import Who
from anki_backup.web.replies import SURROGATES, html, takes_gzip

HERE = Path(__file__).parent
STYLE = HERE / "static" / "style.css"
# What means more than itself within the quotes of Anki's search.
SPECIAL = re.compile(r'[\\"*_]')
# Pages that repeat nothing of what was asked for: their length tells nothing of what is secret in them.
PACKED = {"home", "backup", "compare", "rollback"}
# What can only be asked for in words of ours.
CHOSEN = {"page", "what", "only", "outcome"}
ALARMS = {"empty": "emptied after it", "deck": "decks gone"}
STATES = {"created": "saved", "skipped": "unchanged", "failed": "failed", "interrupted": "interrupted"}


@cache
def style(*, packed: bool = False) -> bytes:
    """Return the style sheet."""
    return gzip.compress(style(), 9) if packed else STYLE.read_bytes()


@cache
def style_mark() -> str:
    """Return what changes with the style sheet, so that it can be kept for ever."""
    return hashlib.sha256(style()).hexdigest()[:12]


def plain(value: object) -> str:
    """Return text from outside so that it can't reorder or hide what stands beside it."""
    return "" if value is None else escape(str(value))


def _short_date(at: datetime) -> str:
    """Return a day in few letters: the year only where it could be another one."""
    near = abs((datetime.now(UTC) - at).days) < 300
    return (f"{at:%d %b}" if near else f"{at:%b %Y}").lstrip("0")


def search_of_deck(name: str) -> str:
    """Return Anki's search for the cards of a deck, whatever its name holds."""
    return 'deck:"' + SPECIAL.sub(r"\\\g<0>", name) + '"'


def signed(number: int | None) -> str:
    """Return a difference with its sign; nothing for none."""
    if not number:
        return ""
    return f"{'+' if number > 0 else '−'}{figures.count(abs(number))}"


class Paper:
    """The templates of one server."""

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone
        # Precise about what is missing, and nothing is ever put in unescaped.
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.templates.filters |= {
            "size": figures.size,
            "count": figures.count,
            "duration": figures.duration,
            "plain": plain,
            "capital": lambda text: text[:1].upper() + text[1:],
            "signed": signed,
            "search_of_deck": search_of_deck,
            "local": lambda at: figures.local(at, zone),
            "second": lambda seconds: figures.local(datetime.fromtimestamp(seconds, UTC), zone),
            "day": lambda at: f"{at.astimezone(zone):%A, %d %B %Y}",
            "date": lambda at: _short_date(at.astimezone(zone)),
            "clock": lambda at: f"{at.astimezone(zone):%H:%M}",
            "utc": figures.utc,
            "ago": lambda at: figures.ago(at, datetime.now(UTC)),
            "path": lambda text: quote(str(text), safe="", errors="replace"),
            "alarm": lambda kind: ALARMS.get(kind, f"{kind} shrank"),
            "counted": figures.counted,
            "state": lambda outcome: STATES.get(outcome, outcome),
        }
        self.templates.tests["utf8"] = lambda name: not SURROGATES.search(name)
        self.templates.tests["one"] = lambda number: number == 1

    def page(
        self, request: Request[Any, Any, Any], name: str, status: int = 200, **values: Any
    ) -> Response[bytes]:
        """Return a page as an answer."""
        who: Who = request.scope["state"]["who"]
        known: dict[str, Any] = {
            "who": who,
            "base": who.base,
            "here": request.scope["path"],
            "csrf": who.csrf if who.session else "",
            "version": __version__,
            "style": style_mark(),
            "query": query,
        }
        text = self.templates.get_template(f"{name}.html").render({**known, **values})
        packed = name in PACKED or (name != "error" and set(request.query_params) <= CHOSEN)
        body, headers = html(text), {"Vary": "Accept-Encoding"} if packed else {}
        if headers and takes_gzip(request):
            body, headers = gzip.compress(body, 6, mtime=0), {**headers, "Content-Encoding": "gzip"}
        return Response(body, status_code=status, headers=headers, media_type="text/html")


def query(values: Mapping[str, Any]) -> str:
    """Return the query of a URL, without what is empty."""
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    return "?" + urlencode(kept, errors="replace") if kept else ""
