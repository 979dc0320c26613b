"""What `find` and `history` say: where a note, a deck or a media file was seen, and what became of it."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from anki_backup.differences import FieldChange

Kind = Literal["note", "deck", "media"]


class Hit(Struct, frozen=True, kw_only=True):
    """A thing that was found in the backups of one source.

    `gone` says why the source lacks it now, as far as is known, `command` gets it back
    from the last backup that has it; both are null while it is there, and the command for
    a deck that had no card.
    """

    kind: Kind
    id: str
    name: str
    source: str
    first: str
    first_at: datetime
    last: str
    last_at: datetime
    backups: int
    present: bool
    gone: Literal["deleted", "changed"] | None
    command: str | None


class Event(Struct, frozen=True, kw_only=True):
    """What a backup shows that the one before it of its source did not.

    `values` are the values that changed, as [before, after]; of a card's, the name
    begins with its number: `card 1: ivl`.
    """

    backup: str
    at: datetime
    change: Literal["appeared", "changed", "gone", "back"]
    what: list[str]
    fields: list[FieldChange]
    tags_added: list[str]
    tags_removed: list[str]
    values: dict[str, list[Any]]


class Life(Struct, frozen=True, kw_only=True):
    """A thing in the backups of one source, from its first to its last, with every change."""

    hit: Hit
    events: list[Event]


def way_back(kind: str, name: str, backup: str, source: str) -> str:
    """Return the command that gets a thing back out of a backup."""
    if kind == "media":
        return f"ankibak export {backup} --media {shlex.quote(name)}"
    chosen = f"--search nid:{name}" if kind == "note" else f"--deck {shlex.quote(name)}"
    return f"ankibak restore-notes {backup} {chosen} --into {source}"
