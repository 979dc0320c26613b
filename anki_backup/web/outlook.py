"""What a rollback would come to, noun by noun, for the page that asks for the word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anki_backup.differences import Comparison
from anki_backup.model import Backup

NOUNS = {"notes": "notes", "cards": "cards", "decks": "decks", "reviews": "revlog"}


class Outlook(NamedTuple):
    """How many of a kind there are, how many are lost, come back or become as they were, and what is left."""

    noun: str
    now: int
    lost: int
    back: int
    changed: int
    then: int


def outlook(present: Backup, target: Backup, found: Comparison, *, media: bool) -> Iterator[Outlook]:
    """Yield what becomes of each kind; `found` says what changed from what is there to the other.

    Without `media` those stay as they are.
    """
    for noun, name in NOUNS.items():
        counts = getattr(found, noun)
        now, then = (getattr(each.stats, name) or 0 for each in (present, target))
        yield Outlook(noun, now, counts.removed, counts.added, counts.changed, then)
    # Without --exact-media none is removed; one that was renamed comes back beside its new name.
    back = found.media.added + found.media.renamed if media else 0
    now, changed = present.media_files, found.media.changed if media else 0
    yield Outlook("media files", now, 0, back, changed, now + back)
