"""The shrink alarm: a collection that lost more than ordinary life takes is marked, and told.

What shrank is stored all the same: the alarm stands on the new backup, and the
one before is pinned. An account that was emptied stores nothing: the alarm stands
on the newest backup, which is pinned. Retention waits until a person acknowledges.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from msgspec import structs

from anki_backup import events, standing
from anki_backup.model import Alarm, Backup, DeckStats, now
from anki_backup.repository import Repository
from anki_backup.settings import Alarms

# So few may go to nothing without a word: somebody is trying Anki out.
TRIAL = 10
LEVEL = "::"
# What speaks of the making of a backup, or of its alarm.
JUDGED = ("run", "alarm", "acknowledge")


class Figures(NamedTuple):
    """What is compared of two backups; None where it is not known."""

    cards: int | None
    notes: int | None
    media: int
    decks: list[DeckStats]


def judge(before: Figures, after: Figures, limits: Alarms, since: datetime) -> Alarm | None:
    """Return the alarm that a change gives rise to, the gravest if there are several."""
    for kind in ("cards", "notes"):
        old, new = getattr(before, kind), getattr(after, kind)
        if _fell(old, new, limits.shrink_percent, limits.least):
            return Alarm(kind=kind, before=old, after=new, since=since)
    if lost := _lost_decks(before, after, limits.deck_cards):
        cards = sum(lost.values())
        return Alarm(kind="deck", before=cards, after=0, since=since, deck=max(lost, key=lost.__getitem__))
    if _fell(before.media, after.media, limits.media_percent, limits.least):
        return Alarm(kind="media", before=before.media, after=after.media, since=since)
    return None


def _fell(old: int | None, new: int | None, percent: int, least: int) -> bool:
    """Say whether a count fell by more than its share and by enough to matter, or to nothing."""
    if old is None or new is None or percent >= 100:
        return False
    gone = old - new
    return (gone >= least and gone * 100 > old * percent) or (new == 0 and old >= TRIAL)


def _lost_decks(before: Figures, after: Figures, deck_cards: int) -> dict[str, int]:
    """Return the large decks that are gone, or have no card left, with the cards they had.

    A deck counts with those below it. One that was renamed or merged into another
    is not lost: its cards are still in the collection.
    """
    old, new = _totals(before.decks), _totals(after.decks)
    renamed = {deck.id: deck.name for deck in after.decks}
    lost: dict[str, int] = {}
    for deck in sorted(before.decks, key=lambda deck: deck.name):
        left = new.get(renamed.get(deck.id, deck.name), 0)
        above = any(deck.name.startswith(name + LEVEL) for name in lost)
        if deck_cards and old[deck.name] >= deck_cards and not left and not above:
            lost[deck.name] = old[deck.name]
    gone = (before.cards or 0) - (after.cards or 0)
    known = before.cards is not None and after.cards is not None
    return lost if lost and known and gone * 2 >= sum(lost.values()) else {}


def _totals(decks: Iterable[DeckStats]) -> dict[str, int]:
    """Return the cards of each deck by name, those of the decks below it included."""
    totals: dict[str, int] = {}
    for deck in decks:
        parts = deck.name.split(LEVEL)
        for depth in range(1, len(parts) + 1):
            name = LEVEL.join(parts[:depth])
            totals[name] = totals.get(name, 0) + deck.cards
    return totals


def look(repository: Repository, backup: Backup, before: str | None, limits: Alarms) -> Backup:
    """Compare a backup that was just made with the one before; return it with its alarm, if one rises.

    A backup for safety is of what a person is about to leave: it gives no alarm. The caller
    holds the lock. After a crash `settle` does what was left to do.
    """
    before = _rolled_back_to(repository, backup.source) or before
    if before is None or before == backup.id or backup.origin == "safety":
        return backup
    old = repository.manifest(before)
    was = Figures(old.stats.cards, old.stats.notes, old.media_files, repository.decks(before))
    stats = backup.stats
    now_is = Figures(stats.cards, stats.notes, backup.media_files, repository.decks(backup.id))
    alarm = judge(was, now_is, limits, backup.created_at)
    if alarm is None:
        return backup
    repository.record("alarm", backup=backup.id, alarm=alarm)
    repository.record("pin", backup=before, label=f"before the alarm of {backup.id}")
    return structs.replace(backup, alarm=alarm)


def settle(repository: Repository, limits: Alarms) -> Backup | None:
    """Judge the backup of a run that ended before it could; return it if an alarm rose.

    The caller holds the lock. Costs a look at the end of the event log.
    """
    told = [event for event in events.newest(repository.history.log) if event["event"] in JUDGED]
    runs = [event for event in told if event["event"] == "run"]
    if not runs or runs[-1].get("outcome") != "interrupted":
        return None
    found = [backup for backup in repository.backups(runs[-1]["source"], limit=2) if backup.origin == "run"]
    if not found or any(event.get("backup") == found[0].id for event in told):
        return None
    judged = look(repository, found[0], found[0].previous, limits)
    return judged if judged.alarm else None


def emptied(repository: Repository, source: str) -> Backup | None:
    """Note that an account is empty which was not; return its newest backup, which has the alarm.

    None when there is nothing to be alarmed about: nothing was ever backed up, or
    a person acknowledged it. Told again, it changes nothing. The caller holds the lock.
    """
    found = repository.backups(source, limit=1)
    if not found or not found[0].stats.cards:
        return None
    newest = found[0]
    if newest.alarm:
        return newest
    if _acknowledged(repository, newest.id):
        return None
    alarm = Alarm(kind="empty", before=newest.stats.cards or 0, after=0, since=now())
    repository.record("alarm", backup=newest.id, alarm=alarm)
    if not newest.pinned:
        repository.record("pin", backup=newest.id, label="before the account was emptied")
    return structs.replace(newest, alarm=alarm, pinned=True)


def _acknowledged(repository: Repository, backup_id: str) -> bool:
    """Say whether the emptying of an account was already called meant, with this backup as its last."""
    kinds = [
        line.event["event"] if line.event["event"] == "acknowledge" else line.event["alarm"].get("kind")
        for line in events.mentioning(repository.history.log, backup_id.encode())
        if line.event
        and line.event["event"] in ("alarm", "acknowledge")
        and line.event.get("backup") == backup_id
    ]
    return kinds[-2:] == ["empty", "acknowledge"]


def _rolled_back_to(repository: Repository, source: str) -> str | None:
    """Return the backup that a source was rolled back to, unless it was backed up since.

    What a person went back to is what the next backup has to be compared with.
    """
    for event in reversed(events.newest(repository.history.log)):
        if event.get("source") != source:
            continue
        if event["event"] == "run" and event.get("backup"):
            return None
        if standing.went_back(event):
            return event["to"] if repository.history.has(event["to"]) else None
    return None
