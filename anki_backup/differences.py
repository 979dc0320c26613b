"""What `diff` says: counts of what was added, changed and removed, and the items themselves."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import astuple

from anki_backup.words import Span

Change = Literal["added", "changed", "removed"]


class Counts(Struct, kw_only=True):
    """How many of a kind."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def count(self, change: Change, number: int = 1) -> None:
        """Count some more."""
        setattr(self, change, getattr(self, change) + number)


class CardCounts(Counts, kw_only=True):
    """Cards, and in what way the changed ones changed: one card can count in several."""

    moved: int = 0
    suspended: int = 0
    unsuspended: int = 0
    buried: int = 0
    flagged: int = 0
    reviewed: int = 0
    rescheduled: int = 0


class MediaCounts(Counts, kw_only=True):
    """Media files; one that was renamed counts neither as added nor as removed."""

    renamed: int = 0


class FieldChange(Struct, frozen=True, kw_only=True):
    """A field of a note: the whole texts, and where they differ word by word."""

    name: str
    before: str
    after: str
    words: list[Span]


class PartChange(Struct, frozen=True, kw_only=True):
    """A part of a deck, note type, options or a setting; null where it was not there."""

    name: str
    before: Any = None
    after: Any = None
    words: list[Span] | None = None


class NoteItem(Struct, frozen=True, kw_only=True, tag_field="kind", tag="note"):
    """A note that was added, changed or removed. `name` is the beginning of its first field.

    `fields` are those that changed; of a removed note all that held a text.
    """

    change: Change
    id: int
    guid: str
    name: str
    notetype: str
    deck: str | None
    what: list[str]
    fields: list[FieldChange]
    tags_added: list[str]
    tags_removed: list[str]


class CardItem(Struct, frozen=True, kw_only=True, tag_field="kind", tag="card"):
    """A card: what happened to it, and the columns that have other values, as [before, after]."""

    change: Change
    id: int
    note: int
    name: str
    card: int
    deck: str
    deck_before: str | None
    what: list[str]
    values: dict[str, list[Any]]


class ThingItem(Struct, frozen=True, kw_only=True):
    """A deck, a note type, deck options, a tag or a setting."""

    kind: str
    change: Change
    id: str
    name: str
    parts: list[PartChange]


class MediaItem(Struct, frozen=True, kw_only=True, tag_field="kind", tag="media"):
    """A media file; `before` is the name that it had if it was renamed."""

    change: Literal["added", "changed", "removed", "renamed"]
    name: str
    before: str | None
    size: int
    sha256: str


Item = NoteItem | CardItem | ThingItem | MediaItem


class Comparison(Struct, kw_only=True, rename={"old": "from", "new": "to"}):
    """All differences between two states of a collection; `items` only where they were asked for."""

    source: str = ""
    old: str = ""
    new: str = ""
    equal: bool = True
    notes: Counts
    cards: CardCounts
    decks: Counts
    options: Counts
    notetypes: Counts
    tags: Counts
    settings: Counts
    media: MediaCounts
    reviews: Counts
    items: list[Item] | None = None

    def says_nothing(self) -> bool:
        """Say whether every count is 0."""
        counts = (getattr(self, name) for name in self.__struct_fields__)
        return not any(any(astuple(each)) for each in counts if isinstance(each, Counts))

    def of_kind(self, kind: str) -> Counts:
        """Return the counts that an item of a kind belongs to."""
        found: Counts = getattr(self, kind if kind == "options" else f"{kind}s")
        return found
