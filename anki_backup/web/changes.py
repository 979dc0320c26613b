"""Compare: what changed from one backup to another, deleted notes first, and the media that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import Parameter

from anki_backup import sides
from anki_backup.differences import CardItem, Comparison, Counts, Item, MediaItem, NoteItem, ThingItem
from anki_backup.errors import NotFoundError
from anki_backup.model import Backup
from anki_backup.web import house
from anki_backup.web.comparing import KINDS, MOST
from anki_backup.web.desk import Desk
from anki_backup.web.downloads import PICTURES
from anki_backup.web.replies import document
from anki_backup.web.shapes import Difference, answers

Asked = Request[Any, Any, Any]
SHOWN = 60
TITLES = {"options": "deck options", "notetypes": "note types"}
LISTS = {"notes": NoteItem, "cards": CardItem, "things": ThingItem, "media": MediaItem}
ORDER = {"removed": 0, "changed": 1, "renamed": 1, "added": 2}


class Some(NamedTuple):
    """A page of items: these of so many, after those that came before."""

    shown: list[Item]
    all: int
    start: int

    @property
    def more(self) -> bool:
        """Whether there are others behind them."""
        return self.start + len(self.shown) < self.all


def pair(desk: Desk, old: str | None, new: str | None) -> tuple[Backup, Backup] | None:
    """Return the two that are meant: by default the newest and the one before it; None where there is one."""
    entries = desk.entries()
    if not new and not old:
        if not entries:
            return None
        new = entries[-1].id
    if not new:
        assert old is not None
        source = desk.backup(old).source
        new = desk.entries(source)[-1].id
    after = desk.backup(new)
    if not old and after.previous is None:
        return None
    return desk.backup(old or after.previous or ""), after


@get(
    "/api/v1/diff",
    responses=answers(Difference, 404, 422),
    operation_id="diff",
    security=[{"token": []}],
)
async def diff(
    request: Asked,
    old: Annotated[str | None, Parameter(query="from", description="By default the one before.")] = None,
    new: Annotated[str | None, Parameter(query="to", description="By default the newest.")] = None,
    items: Annotated[bool, Parameter(query="items", description="Also each item.")] = False,
) -> Response[bytes]:
    """Say what changed from one backup to another."""
    here = house.of(request)
    found = await here.desk.ask(pair, here.desk, old, new)
    if found is None:
        raise NotFoundError("there is no backup before it", hint="Name one: ?from=ID")
    result = await here.comparing.between(*found)
    shown = sides.document(result)
    if not items:
        shown.pop("items", None)
    return document(request, shown)


@get("/compare", include_in_schema=False)
async def compare(
    request: Asked,
    old: Annotated[str | None, Parameter(query="from")] = None,
    new: Annotated[str | None, Parameter(query="to")] = None,
    source: str | None = None,
    page: str | None = None,
) -> Response[bytes]:
    """What changed, as a page."""
    here = house.of(request)
    number = house.whole(page, "page", 1, MOST // SHOWN + 1)
    found = await here.desk.ask(pair, here.desk, old or None, new or None)
    result = await here.comparing.between(*found) if found else None

    def build() -> Response[bytes]:
        chosen = found[1].source if found else source
        offered = here.desk.backups(here.desk.sampled(chosen, 60)[::-1]) if chosen else []
        if found:
            missing = [each for each in found if each.id not in {one.id for one in offered}]
            offered = sorted([*offered, *missing], key=lambda each: -each.sequence)
        items = result.items or [] if result else []
        shown: dict[str, Any] = {name: _some(items, kind, number) for name, kind in LISTS.items()}
        return here.paper.page(
            request,
            "compare",
            pair=found,
            offered=offered,
            twins=_twins(offered),
            counts=_counts(result) if result else [],
            told=result is not None and result.items is not None,
            same=result is not None and result.equal,
            pictures=tuple(PICTURES),
            page=number,
            more=any(some.more for some in shown.values()),
            **shown,
        )

    return await here.desk.ask(build)


def _twins(backups: list[Backup]) -> set[str]:
    """Return the backups that a clock without seconds can't tell apart."""
    counts = Counter(_minute(backup) for backup in backups)
    return {backup.id for backup in backups if counts[_minute(backup)] > 1}


def _minute(backup: Backup) -> tuple[str, datetime]:
    return backup.source, backup.created_at.replace(second=0, microsecond=0)


def _counts(found: Comparison) -> list[tuple[str, Counts, list[tuple[str, int]]]]:
    rows = []
    for kind in KINDS:
        counts: Counts = getattr(found, kind)
        others = [
            (name, getattr(counts, name))
            for name in counts.__struct_fields__
            if name not in ("added", "changed", "removed") and getattr(counts, name)
        ]
        rows.append((TITLES.get(kind, kind), counts, others))
    return rows


def _some(items: Iterable[Item], kind: type, page: int) -> Some:
    """Return a page of the items of a kind, removed ones before all."""
    found = sorted(
        (item for item in items if isinstance(item, kind)),
        key=lambda item: ORDER[item.change],
    )
    start = (page - 1) * SHOWN
    return Some(found[start : start + SHOWN], len(found), start)


HANDLERS = [diff, compare]
