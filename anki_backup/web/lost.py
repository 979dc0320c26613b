"""I lost something: what is gone, and the last backup that still had it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from litestar import Request, Response, get

from anki_backup.entries import Entry
from anki_backup.errors import UsageError
from anki_backup.model import Backup
from anki_backup.spotted import Hit
from anki_backup.web import house
from anki_backup.web.desk import Desk, now
from anki_backup.web.drops import Drop, Exchange, between, find_drops, find_exchanges
from anki_backup.web.seeking import Found

Asked = Request[Any, Any, Any]
SAMPLES = 80
SHOWN = 40
QUERY_LIMIT = 200
WAYS = {
    "deck": ("A deck", "It is not in the list any more, or nearly empty."),
    "cards": ("Some cards", "There are fewer than there should be."),
    "media": ("Pictures or sounds", "Cards show an empty frame."),
    "all": ("Everything after a wrong sync", "It looks as it did long ago, or like another device."),
}
# How far back days, weeks and months are told apart.
THINNED = ((timedelta(days=14), "%Y-%m-%d"), (timedelta(days=60), "%G-W%V"), (timedelta(days=730), "%Y-%m"))
NEWEST = 12
# A deck that has less than this of what it had counts as lost.
LEFT = 0.9


class Holding(NamedTuple):
    """A backup, what a deck is called in it, and how many cards it has there."""

    backup: Backup
    name: str
    cards: int


class LostDeck(NamedTuple):
    """A deck that is gone or shrank: what it has, where it was last, and before that in full."""

    now: int
    last: Holding
    fuller: Holding | None


@get("/lost", include_in_schema=False)
async def show(
    request: Asked, what: str | None = None, source: str | None = None, q: str | None = None
) -> Response[bytes]:
    """What was lost? Then: where it still is."""
    here = house.of(request)
    text = (q or "").strip()[:QUERY_LIMIT]
    if what and what not in WAYS:
        raise UsageError(f"nobody can lose {what!r} here", hint=f"Choose one of {', '.join(WAYS)}.")

    def choose() -> str | None:
        here.desk.know(source or None)
        entries = here.desk.entries()
        return source or (entries[-1].source if entries else None)

    chosen = await here.desk.ask(choose)
    found = Found[Hit]([], {})
    if text and chosen:
        found = await here.seeking.find(await here.desk.ask(here.desk.state), chosen, text)

    def build() -> Response[bytes]:
        desk = here.desk
        way = what or None
        decks: list[LostDeck] = []
        drops: list[Drop] = []
        exchanges: list[Exchange] = []
        recent: list[Backup] = []
        if chosen and way == "deck":
            decks = desk.remembered(("lost decks", chosen), lambda: lost_decks(desk, chosen))
        elif chosen and way in ("cards", "media"):
            drops = desk.remembered(("drops", chosen, way), lambda: find_drops(desk, chosen, way))
            told = {drop.after.id for drop in drops}
            found_too = desk.remembered(("exchanges", chosen, way), lambda: find_exchanges(desk, chosen, way))
            exchanges = [each for each in found_too if each.after.id not in told]
        elif chosen and way == "all":
            recent = desk.remembered(("recent", chosen), lambda: desk.backups(thinned(desk, chosen)))
        return here.paper.page(
            request,
            "lost",
            ways=WAYS,
            way=way,
            decks=decks,
            drops=drops,
            exchanges=exchanges,
            recent=recent,
            newest=desk.entries(chosen)[-1].id if desk.entries(chosen) else None,
            sources=desk.sources(),
            q=text,
            hits=found.all[:SHOWN],
            found=len(found.all),
            damaged=found.damaged,
            source=chosen,
            configured=chosen in here.config.sources,
        )

    return await here.desk.ask(build)


def thinned(desk: Desk, source: str) -> list[Entry]:
    """Return backups of a source, newest first: the newest, the last of each day, week, month, year."""
    today = now()
    found: dict[object, Entry] = {}
    for number, entry in enumerate(desk.entries(source)[::-1]):
        at = datetime.fromtimestamp(entry.created, UTC).astimezone(desk.zone)
        form = next((form for within, form in THINNED if today - at < within), "%Y")
        found.setdefault(number if number < NEWEST else at.strftime(form), entry)
    return list(found.values())


def lost_decks(desk: Desk, source: str) -> list[LostDeck]:
    """Return the decks that some backup had more of than the source is known to have now, worst first."""
    entries = desk.entries(source)
    if not entries:
        return []
    there = desk.deck_cards(desk.standing_of(source).id)
    # A deck that was imported again has another id, and the name that it had.
    named = {name.casefold(): cards for name, cards in there.values()}
    most: dict[int, int] = {}
    names: dict[int, str] = {}
    sampled = {entry.id for entry in desk.sampled(source, SAMPLES)}
    places = [place for place, entry in enumerate(entries) if entry.id in sampled]
    for place in places:
        for number, (name, cards) in desk.deck_cards(entries[place].id).items():
            if cards:
                most[number], names[number] = max(cards, most.get(number, 0)), name
    found = []
    for number, cards in most.items():
        left = there[number][1] if number in there else named.get(names[number].casefold(), 0)
        if left < cards * LEFT:
            full = _last(desk, entries, places, number, cards * LEFT)
            # Of a deck that is gone, what it had last matters more than what it once had.
            last = full if left else _last(desk, entries, places, number, 1)
            fuller = full if full.cards > last.cards else None
            found.append(LostDeck(left, last, fuller))
    return sorted(found, key=lambda lost: lost.now - (lost.fuller or lost.last).cards)[:SHOWN]


def _last(desk: Desk, entries: list[Entry], places: list[int], deck: int, least: float) -> Holding:
    """Return the last backup with so many cards of a deck; one at these places has them."""

    def had(place: int) -> tuple[str, int]:
        return desk.deck_cards(entries[place].id).get(deck, ("", 0))

    at = max(spot for spot, place in enumerate(places) if had(place)[1] >= least)
    beyond = places[min(at + 1, len(places) - 1)]
    last, _ = between(places[at], beyond, lambda place: had(place)[1] >= least)
    return Holding(desk.backups([entries[last]])[0], *had(last))


HANDLERS = [show]
