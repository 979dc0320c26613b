"""Where cards or media became fewer, told from the catalog alone."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from anki_backup.model import Backup
from anki_backup.web.desk import Desk

SAMPLES = 320
STEPS = 16


class Drop(NamedTuple):
    """Two backups that follow each other, with fewer of something in the second."""

    before: Backup
    after: Backup
    gone: int


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
