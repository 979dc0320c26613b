"""Where cards or media became fewer, or went while others came: from the catalog and small documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

from anki_backup.entries import Entry
from anki_backup.errors import DamageError
from anki_backup.model import Backup
from anki_backup.web.desk import Desk

SAMPLES = 320
# A deck's cards are read from a file each.
DECK_SAMPLES = 80
STEPS = 16
EXCHANGES = 6

Decks = dict[int, tuple[str, int]]


class Drop(NamedTuple):
    """Two backups that follow each other, with fewer of something in the second."""

    before: Backup
    after: Backup
    gone: int


class Exchange(NamedTuple):
    """Two backups, the second with no less of something, in which others may have taken the place of some.

    For cards it is known how many went from decks, and from which most.
    """

    before: Backup
    after: Backup
    gone: int = 0
    deck: str = ""


def find_drops(desk: Desk, source: str, what: str) -> list[Drop]:
    """Return where cards or media became fewer, the largest first."""

    def number(backup: Backup) -> int:
        return (backup.stats.cards or 0) if what == "cards" else backup.media_files

    entries = desk.entries(source)
    sampled = desk.sampled(source, SAMPLES)
    places = {entry.id: at for at, entry in enumerate(entries)}
    found = []
    backups = desk.backups(sampled)
    for before, after in pairwise(backups):
        if number(after) >= number(before):
            continue
        low, high, steps = places[before.id], places[after.id], 0
        first, last = before, after
        while high - low > 1 and steps < STEPS:
            middle, steps = (low + high) // 2, steps + 1
            looked = desk.backups([entries[middle]])[0]
            if number(looked) > number(last):
                low, first = middle, looked
            else:
                high, last = middle, looked
        found.append(Drop(first, last, number(first) - number(last)))
    return sorted(found, key=lambda drop: (-drop.gone, -drop.after.sequence))[:12]


def find_exchanges(desk: Desk, source: str, what: str) -> list[Exchange]:
    """Return where some went and the number of all hides it, since as many came or more.

    Of cards: those that went from a deck while others came into another, the most first. Of media:
    where as many files are another list, or more files fewer bytes, the newest first.
    """
    entries = desk.entries(source)
    found = list(_of_cards(desk, source, entries) if what == "cards" else _of_media(desk, source, entries))
    return list({each.after.id: each for each in reversed(found)}.values())[::-1]


def _of_cards(desk: Desk, source: str, entries: list[Entry]) -> Iterator[Exchange]:
    sampled = {entry.id for entry in desk.sampled(source, DECK_SAMPLES)}
    places = [place for place, entry in enumerate(entries) if entry.id in sampled]

    def decks(place: int) -> Decks:
        return desk.deck_cards(entries[place].id)

    pairs = []
    for low, high in pairwise(places):
        gone = _gone(decks(low), decks(high))
        if gone and _all(decks(high)) >= _all(decks(low)):
            pairs.append((sum(gone.values()), low, high))
    for _, low, high in sorted(pairs, reverse=True)[:EXCHANGES]:
        before, after = _emptied(decks, low, high)
        if gone := _gone(decks(before), decks(after)):
            most = max(gone, key=lambda each: gone[each])
            pair = desk.backups([entries[before], entries[after]])
            yield Exchange(pair[0], pair[1], sum(gone.values()), decks(before)[most][0])


def _emptied(decks: Callable[[int], Decks], low: int, high: int) -> tuple[int, int]:
    """Return two places that follow each other, between which the deck that lost most came to what it has."""
    deck, number = max(_gone(decks(low), decks(high)).items(), key=lambda item: item[1])
    left = decks(low)[deck][1] - number
    return between(low, high, lambda place: decks(place).get(deck, ("", 0))[1] > left)


def _gone(before: Decks, after: Decks) -> dict[int, int]:
    """Return how many cards fewer each deck has that has fewer; none where one of the two can't be read."""
    # A deck that was imported again has another id, and the name that it had.
    named = {name.casefold(): cards for name, cards in after.values()}
    gone = {}
    for deck, (name, cards) in before.items() if after else ():
        left = after[deck][1] if deck in after else named.get(name.casefold(), 0)
        if left < cards:
            gone[deck] = cards - left
    return gone


def _all(decks: Decks) -> int:
    return sum(cards for _, cards in decks.values())


def _of_media(desk: Desk, source: str, entries: list[Entry]) -> Iterator[Exchange]:
    places = {entry.id: at for at, entry in enumerate(entries)}
    sampled = desk.backups(desk.sampled(source, SAMPLES))

    def files(place: int) -> str | None:
        try:
            return desk.manifest(entries[place].id).media_list
        except DamageError:
            return None

    pairs = [
        (places[before.id], places[after.id])
        for before, after in pairwise(sampled)
        if (after.media_files == before.media_files and after.media_bytes != before.media_bytes)
        or (after.media_files > before.media_files and after.media_bytes < before.media_bytes)
    ]
    # What has as many files of as many bytes is the same in most cases, so only its two ends are read.
    for _, alike in groupby(sampled, lambda backup: (backup.media_files, backup.media_bytes)):
        ends = [places[backup.id] for backup in alike]
        if files(ends[0]) != files(ends[-1]):
            pairs.append((ends[0], ends[-1]))
    for low, high in sorted(pairs, reverse=True)[:EXCHANGES]:
        before, after = _exchanged(files, low, high)
        pair = desk.backups([entries[before], entries[after]])
        yield Exchange(pair[0], pair[1])


def _exchanged(files: Callable[[int], str | None], low: int, high: int) -> tuple[int, int]:
    """Return the last place with the list of the first one, and the first with that of the last."""
    first, last = files(low), files(high)
    before, _ = between(low, high, lambda place: files(place) == first)
    _, after = between(before, high, lambda place: files(place) != last)
    return before, after


def between(low: int, high: int, still: Callable[[int], bool]) -> tuple[int, int]:
    """Return two places that follow each other, where something still was and where it no longer is."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if still(middle) else (low, middle)
    return low, high
