"""Cards inside a backup: Anki's own search, and a card as it looked, by Anki's own library.

A copy of the collection is got out into a temporary folder and opened there; the
newest one stays open for a few minutes. The library runs in one thread of its own.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from litestar import Request, Response, get

from anki_backup import figures
from anki_backup.errors import AnkibakError, NotFoundError, SourceError
from anki_backup.repository import Repository
from anki_backup.spotted import Life
from anki_backup.web import house
from anki_backup.web.reading import Open
from anki_backup.web.replies import Refused
from anki_backup.web.replies import html as page_bytes
from anki_backup.web.seeking import Found

Asked = Request[Any, Any, Any]
PER_PAGE = 30
QUERY_LIMIT = 500
MEDIA_LIMIT = 4 << 20
MARKUP = re.compile(r"<style.*?</style>|<[^<>]*>|\[sound:[^\]]*\]|\[anki:[^\]]*\]", re.DOTALL | re.IGNORECASE)
SOURCE = re.compile(r"""(<img\b[^>]*?\bsrc\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
SOUND = re.compile(r"\[(?:sound:([^\]]*)|anki:play:([qa]):(\d+))\]")
TYPES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp", ".svg": "svg+xml"}
FRAME_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


class Row(NamedTuple):
    """One card in the list."""

    id: int
    text: str
    deck: str
    kind: str
    due: str


@get("/backups/{backup_id:str}/cards", include_in_schema=False)
async def search(
    request: Asked, backup_id: str, q: str | None = None, page: str | None = None
) -> Response[bytes]:
    """Cards that a search finds; all of them without one."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    number = house.whole(page, "page", 1, 10_000)
    text, wrong, found, rows = (q or "")[:QUERY_LIMIT], None, 0, list[Row]()
    try:
        found, rows = await here.reading.ask(backup, lambda opened: _found(opened, text, number))
    except SourceError as error:
        wrong = error.message
    if number > 1 and not rows and not wrong:
        raise Refused(404, "there is no such page")
    return await here.desk.ask(
        lambda: here.paper.page(
            request,
            "cards",
            backup=backup,
            q=text,
            wrong=wrong,
            found=found,
            rows=rows,
            page=number,
            more=found > number * PER_PAGE,
        )
    )


def _found(opened: Open, text: str, page: int) -> tuple[int, list[Row]]:
    cards = opened.collection.find_cards(text)
    chosen = cards[(page - 1) * PER_PAGE : page * PER_PAGE]
    return len(cards), [_row(opened.collection, card) for card in chosen]


def _row(collection: Any, card_id: int) -> Row:
    card = collection.get_card(card_id)
    note = card.note()
    words = " ".join(html.unescape(MARKUP.sub(" ", note.fields[0] if note.fields else "")).split())
    kinds = {0: "new", 1: "learning", 2: "review", 3: "relearning"}
    state = "suspended" if card.queue == -1 else "buried" if card.queue < -1 else kinds.get(card.type, "?")
    every = f"every {figures.counted(card.ivl, 'day')}" if card.type == 2 else ""
    return Row(
        card_id, words[:160] or "(no text)", collection.decks.name(card.odid or card.did), state, every
    )


@get("/backups/{backup_id:str}/cards/{card_id:str}", include_in_schema=False)
async def card(
    request: Asked, backup_id: str, card_id: str, q: str | None = None, history: str | None = None
) -> Response[bytes]:
    """One card, front and back, and how it changed, if that is asked for."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    number = _number(card_id)
    row, facts = await here.reading.ask(backup, lambda opened: _facts(opened, number))
    told = Found[Life]([], {})
    if history:
        note = await here.reading.ask(backup, lambda opened: int(_card(opened, number).nid))
        told = await here.seeking.life(await here.desk.ask(here.desk.state), backup.source, note)
    return await here.desk.ask(
        lambda: here.paper.page(
            request,
            "card",
            backup=backup,
            row=row,
            facts=facts,
            q=q or "",
            lives=told.all,
            damaged=told.damaged,
            asked=bool(history),
        )
    )


def _facts(opened: Open, number: int) -> tuple[Row, list[tuple[str, str]]]:
    card = _card(opened, number)
    note = card.note()
    row = _row(opened.collection, number)
    facts = [
        ("deck", row.deck),
        ("state", f"{row.kind} {row.due}".strip()),
        ("tags", " ".join(note.tags) or "none"),
    ]
    facts += [
        ("reviews", str(card.reps)),
        ("lapses", str(card.lapses)),
        ("note type", note.note_type()["name"]),
    ]
    return row, facts


@get("/backups/{backup_id:str}/cards/{card_id:str}/{side:str}", include_in_schema=False)
async def side(request: Asked, backup_id: str, card_id: str, side: str) -> Response[bytes]:
    """One side of a card, for a frame in which nothing runs and nothing is fetched."""
    here = house.of(request)
    if side not in ("front", "back"):
        raise Refused(404, "a card has a front and a back")
    backup = await here.desk.ask(here.desk.backup, backup_id)
    number = _number(card_id)
    text = await here.reading.ask(
        backup, lambda opened: _rendered(here.desk.repository, opened, number, side)
    )
    headers = {"Content-Security-Policy": FRAME_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(page_bytes(text), headers=headers, media_type="text/html")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFoundError("there is no such card")
    return int(text)


def _card(opened: Open, number: int) -> Any:
    if not opened.collection.db.scalar("select 1 from cards where id = ?", number):
        raise NotFoundError(f"there is no card {number} in {opened.backup}")
    return opened.collection.get_card(number)


def _rendered(repository: Repository, opened: Open, number: int, side: str) -> str:
    output = _card(opened, number).render_output()
    body = output.question_text if side == "front" else output.answer_text
    left = MEDIA_LIMIT

    def picture(match: re.Match[str]) -> str:
        nonlocal left
        name = unquote(html.unescape(match[2] or match[3] or match[4] or ""))
        file = opened.media.get(name)
        kind = TYPES.get(Path(name).suffix.lower())
        if not file or not kind or file.size > left:
            return f'{match[1]}"data:," alt="{html.escape(name)}"'
        left -= file.size
        try:
            data = b"".join(repository.store.blocks(file.sha256))
        except AnkibakError:
            return f'{match[1]}"data:," alt="damaged: {html.escape(name)}"'
        return f'{match[1]}"data:image/{kind};base64,{base64.b64encode(data).decode()}"'

    body = SOURCE.sub(picture, body)
    sounds = {"q": output.question_av_tags, "a": output.answer_av_tags}
    body = SOUND.sub(
        lambda match: f"<small>♪ {html.escape(match[1] or _sound(sounds[match[2]], match[3]))}</small>", body
    )
    style = output.css.replace("</", "<\\/")
    return (
        "<!doctype html><html><head><meta charset=utf-8><title>card</title>"
        f"<style>body{{margin:16px}}img{{max-width:100%}}{style}</style></head>"
        f'<body class="card card1">{body}</body></html>'
    )


def _sound(sounds: list[Any], number: str) -> str:
    """Return the name of a sound that a template plays; what is spoken by a machine has none."""
    at = int(number[:6])
    return str(getattr(sounds[at], "filename", "speech")) if at < len(sounds) else "sound"


HANDLERS = [search, card, side]
