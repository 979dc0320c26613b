"""One backup: what is in it, and its downloads."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from litestar import Request, Response, get

from anki_backup.errors import DamageError
from anki_backup.model import DeckStats
from anki_backup.pictures import Pictures
from anki_backup.web import charts, downloads, house
from anki_backup.web.home import with_changes
from anki_backup.web.waterfall import waterfall

Asked = Request[Any, Any, Any]
DECKS = 60
TREEMAP = 24
STATES = (
    ("new", "New"),
    ("learning", "Learning"),
    ("young", "Young"),
    ("mature", "Mature"),
    ("suspended", "Suspended"),
    ("buried", "Buried"),
)
FORMATS = {
    "tar.zst": "Everything, as files",
    "colpkg": "For Anki: File > Import, replaces a collection; without media whose names Anki refuses",
    "apkg": "For Anki: adds to a collection",
    "zip": "Everything, as a zip",
    "anki2": "The collection alone, without media",
}


@get("/backups/{backup_id:str}", include_in_schema=False)
async def show(request: Asked, backup_id: str, all: str | None = None) -> Response[bytes]:
    """Statistics, decks, pictures, metadata, actions."""
    here = house.of(request)

    def build() -> Response[bytes]:
        backup = here.desk.backup(backup_id)
        try:
            decks = here.desk.decks(backup.id)
            manifest = here.desk.manifest(backup.id)
        except DamageError as error:
            return here.paper.page(request, "error", 422, title="This backup is damaged", error=error)
        drawn = here.desk.pictures(backup.id)
        return here.paper.page(
            request,
            "backup",
            backup=backup,
            row=with_changes(here.desk, [backup])[0],
            manifest=manifest,
            falls=waterfall(manifest),
            tree=tree(decks)[: None if all else DECKS],
            hidden=max(0, len(decks) - DECKS) if not all else 0,
            treemap=_treemap(decks),
            drawn=_drawings(drawn) if drawn else None,
            after=here.desk.after(backup),
            active=here.desk.pointers().get(backup.source) == backup.id,
            formats=[(word, FORMATS[word]) for word in downloads.words()],
            configured=backup.source in here.config.sources,
            proved=backup.verified_at,
        )

    return await here.desk.ask(build)


def tree(decks: list[DeckStats]) -> list[dict[str, Any]]:
    """Return decks with their depth, their own name and the cards of all below them."""
    whole: dict[str, int] = {}
    for deck in decks:
        levels = deck.name.split("::")
        for depth in range(1, len(levels) + 1):
            name = "::".join(levels[:depth])
            whole[name] = whole.get(name, 0) + deck.cards
    most = max(whole.values(), default=0) or 1
    return [
        {
            "name": deck.name.rpartition("::")[2],
            "full": deck.name,
            "depth": min(deck.name.count("::"), 6),
            "cards": deck.cards,
            "all": whole[deck.name],
            "share": whole[deck.name] / most,
        }
        for deck in decks
    ]


def _treemap(decks: list[DeckStats]) -> Any:
    full = [(deck.name, deck.cards) for deck in decks if deck.cards]
    largest = sorted(full, key=lambda item: (-item[1], item[0]))
    items = largest[:TREEMAP]
    if rest := sum(number for _, number in largest[TREEMAP:]):
        items.append((f"{len(largest) - TREEMAP} more", rest))
        items.sort(key=lambda item: -item[1])
    if len(items) < 2:
        return None
    return charts.treemap(items, "Cards by deck: " + ", ".join(f"{name} {number}" for name, number in items))


def _drawings(drawn: Pictures) -> dict[str, Any]:
    last = date.fromisoformat(drawn.day)
    days = [last + timedelta(days=number) for number in range(len(drawn.due) - 1)]
    parts = [(f"p-{word}", title, getattr(drawn.states, word)) for word, title in STATES]
    months: dict[str, int] = {}
    first = last - timedelta(days=len(drawn.reviews) - 1)
    for number, count in enumerate(drawn.reviews):
        month = f"{first + timedelta(days=number):%B %Y}"
        months[month] = months.get(month, 0) + count
    active = sum(1 for count in drawn.reviews if count)
    labels = ["overdue", *(f"{day:%d %b}" for day in days)]
    return {
        "heatmap": charts.heatmap(drawn.reviews, last),
        "months": months,
        "reviews": sum(drawn.reviews),
        "active": active,
        "a_day": round(sum(drawn.reviews) / active) if active else 0,
        "states": parts,
        "share": charts.share(
            parts, "Cards: " + ", ".join(f"{number} {title}" for _, title, number in parts)
        ),
        "due": sum(drawn.due),
        "overdue": drawn.due[0] if drawn.due else 0,
        "today": drawn.due[1] if len(drawn.due) > 1 else 0,
        "forecast": charts.bars(
            drawn.due, labels, f"Reviews due: {drawn.due[0]} overdue, {sum(drawn.due[1:])} in the month after"
        ),
        "notetypes": drawn.notetypes,
        "most": max((each.count for each in drawn.notetypes), default=1),
    }


@get("/backups/{backup_id:str}/download", include_in_schema=False)
async def download(
    request: Asked, backup_id: str, format: str | None = None, deck: str | None = None
) -> Response[Any]:
    """The backup as a file."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    return await here.hall.send(request, here.desk.repository, backup, format or None, deck or None)


HANDLERS = [show, download]
