"""What changed between two states of a collection, in Anki's words.

It says nothing exactly when the content hash says nothing: notes, cards and
reviews are compared by the columns, all else by the bytes that are hashed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

from anki_backup import rows, things, words
from anki_backup.differences import (
    CardCounts,
    CardItem,
    Change,
    Comparison,
    Counts,
    FieldChange,
    MediaCounts,
    MediaItem,
    NoteItem,
    PartChange,
    ThingItem,
)
from anki_backup.model import MediaFile, file_name_text
from anki_backup.rows import Card, Note, Rows, whole
from anki_backup.things import Key, Thing, Things

SEPARATOR = "\x1f"
# What stands apart from the words around it; other marks may stand within a word.
APART = re.compile(
    r"</?(?:br|div|p|li|[uo]l|t[rdh]|table|h[1-6r]|img)\b[^<>]*>|\[sound:[^\]]*\]", re.IGNORECASE
)
MARKUP = re.compile(r"<[^<>]*>")
NAME_LENGTH = 60
# A review that a person made, against those that Anki writes when it reschedules.
ANSWERED = range(4)
SCHEDULE = ("type", "own_due", "ivl", "factor", "reps", "lapses", "left", "memory")
SUSPENDED, BURIED = (-1,), (-2, -3)
COLOURS = 7


class Side(NamedTuple):
    """One state of a collection: a closed file, and its media."""

    path: Path
    media: Sequence[MediaFile]


def compare(old: Side, new: Side, *, items: bool = False) -> Comparison:
    """Return all differences of two checked collections of the same schema, 11 to 18."""
    found = rows.differing(old.path, new.path)
    before, after = things.read(old.path), things.read(new.path)
    result = nothing()
    if items:
        result.items = []
    told = _Teller(old, new, before, after, found) if items else None
    answered = {
        review.cid for gone, review in found.reviews if review and not gone and review.type in ANSWERED
    }
    for note_pair in found.notes:
        result.notes.count(change_of(note_pair))
        if told and result.items is not None:
            result.items.append(told.note(*note_pair))
    for card_pair in found.cards:
        what = _count_card(result.cards, card_pair, answered)
        if told and result.items is not None:
            result.items.append(told.card(*card_pair, what))
    for review_pair in found.reviews:
        result.reviews.count(change_of(review_pair))
    for thing in _things(before, after, details=items):
        result.of_kind(thing.kind).count(thing.change)
        if result.items is not None:
            result.items.append(thing)
    for file in _media(old.media, new.media):
        if file.change == "renamed":
            result.media.renamed += 1
        else:
            result.media.count(file.change)
        if result.items is not None:
            result.items.append(file)
    result.equal = result.says_nothing()
    return result


def nothing() -> Comparison:
    """Return what there is to say of two states that are the same."""
    return Comparison(
        notes=Counts(),
        cards=CardCounts(),
        decks=Counts(),
        options=Counts(),
        notetypes=Counts(),
        tags=Counts(),
        settings=Counts(),
        media=MediaCounts(),
        reviews=Counts(),
    )


def change_of(pair: tuple[object | None, object | None]) -> Change:
    """Say what became of a thing that was the first and is the second."""
    before, after = pair
    return "added" if before is None else "removed" if after is None else "changed"


def plain(markup: str) -> str:
    """Return the text of a field as a person sees it: without marks of HTML, spaces in one."""
    # Entities are read last: `&lt;b&gt;` is text that looks like a mark.
    return " ".join(unescape(MARKUP.sub("", APART.sub(" ", markup))).split())


def excerpt(fields: str) -> str:
    """Return the beginning of the first field that has any text."""
    for field in fields.split(SEPARATOR):
        # What is cut off may be a megabyte that nobody needs to read.
        text = plain(field[: NAME_LENGTH * 20])
        if text:
            return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"
    return ""


def _count_card(counts: CardCounts, pair: tuple[Card | None, Card | None], answered: set[int]) -> list[str]:
    counts.count(change_of(pair))
    before, after = pair
    if before is None or after is None:
        return []
    what = list(what_of_card(before, after, answered))
    for word in what:
        if word in CardCounts.__struct_fields__:
            setattr(counts, word, getattr(counts, word) + 1)
    return what or ["touched"]


def what_of_card(before: Card, after: Card, answered: set[int]) -> Iterator[str]:
    """Yield what was done to a card; `answered` are the cards that were reviewed in between."""
    if before.home != after.home:
        yield "moved"
    if bool(before.odid) != bool(after.odid):
        yield "into a filtered deck" if after.odid else "out of a filtered deck"
    for word, queues in (("suspended", SUSPENDED), ("buried", BURIED)):
        if (before.queue in queues) != (after.queue in queues):
            yield word if after.queue in queues else f"un{word}"
    if whole(before.flags) & COLOURS != whole(after.flags) & COLOURS:
        yield "flagged"
    if after.id in answered:
        yield "reviewed"
    elif any(getattr(before, name) != getattr(after, name) for name in SCHEDULE):
        yield "rescheduled"
    if (before.nid, before.ord) != (after.nid, after.ord):
        yield "of another note" if before.nid != after.nid else "of another template"


def field_changes(before: Note, after: Note | None, names: Sequence[str]) -> list[FieldChange]:
    """Return the fields that differ, by the names that they have now; of a note that went, all its texts."""
    olds, news = before.flds.split(SEPARATOR), after.flds.split(SEPARATOR) if after else []
    found = []
    for at in range(max(len(olds), len(news))):
        old, new = (texts[at] if at < len(texts) else "" for texts in (olds, news))
        if old != new or (after and at >= min(len(olds), len(news))):
            name = names[at] if at < len(names) else f"field {at + 1}"
            found.append(FieldChange(name=name, before=old, after=new, words=words.spans(old, new)))
    return found


class _Teller:
    """Turns pairs of rows into items, with the names that decks, note types and fields have."""

    def __init__(self, old: Side, new: Side, before: Things, after: Things, found: Rows) -> None:
        self._decks = [things.names(side, "deck") for side in (before, after)]
        self._types = [things.names(side, "notetype") for side in (before, after)]
        self._fields = [things.field_names(side) for side in (before, after)]
        now = [note.id for _, note in found.notes if note]
        gone = [was.id for was, note in found.notes if was and not note]
        self._homes = rows.decks_of_notes(old.path, gone) | rows.decks_of_notes(new.path, now)
        wanted = {card.nid for pair in found.cards for card in pair if card}
        self._names = rows.first_fields(old.path, wanted) | rows.first_fields(new.path, wanted)

    def note(self, before: Note | None, after: Note | None) -> NoteItem:
        note = after or before
        assert note is not None, "a pair has at least one side"
        side = 1 if after else 0
        deck = self._homes.get(note.id)
        old_tags, new_tags = (set(each.tags.split()) if each else set() for each in (before, after))
        names = self._fields[side].get(str(note.mid), [])
        fields = field_changes(before, after, names) if before else []
        what = [name for name in ("mid", "guid", "flags", "data") if _differ(before, after, name)]
        spoken = {"mid": "note type"}
        kinds = [spoken.get(name, name) for name in what]
        if before and after:
            kinds = ["fields"] * bool(fields) + ["tags"] * (old_tags != new_tags) + kinds
        return NoteItem(
            change=change_of((before, after)),
            id=note.id,
            guid=note.guid,
            name=excerpt(note.flds),
            notetype=self._types[side].get(str(note.mid), str(note.mid)),
            deck=None if deck is None else self._decks[side].get(str(deck), str(deck)),
            what=kinds or (["touched"] if before and after else []),
            fields=fields,
            tags_added=sorted(new_tags - old_tags) if before else [],
            tags_removed=sorted(old_tags - new_tags) if after else [],
        )

    def card(self, before: Card | None, after: Card | None, what: list[str]) -> CardItem:
        card = after or before
        assert card is not None, "a pair has at least one side"
        old_deck = self._deck(0, before.home) if before else None
        deck = self._deck(1, after.home) if after else old_deck
        return CardItem(
            change=change_of((before, after)),
            id=card.id,
            note=card.nid,
            name=excerpt(self._names.get(card.nid, "")),
            card=whole(card.ord) + 1,
            deck=deck or "",
            deck_before=old_deck if old_deck != deck else None,
            what=what,
            values={
                name: [getattr(before, name), getattr(after, name)]
                for name in Card._fields
                if before and after and _differ(before, after, name)
            },
        )

    def _deck(self, side: int, deck: int) -> str:
        return self._decks[side].get(str(deck), str(deck))


def _differ(before: Any, after: Any, name: str) -> bool:
    return bool(before and after and getattr(before, name) != getattr(after, name))


def _things(before: Things, after: Things, *, details: bool) -> Iterator[ThingItem]:
    """Yield the decks, note types and so on that differ; a note type with its fields and cards in one."""
    groups: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in sorted(before.keys() | after.keys()):
        if [t.encoded for t in before.get(key, [])] != [t.encoded for t in after.get(key, [])]:
            groups[key.kind, key.id].append(key)
    for (kind, id), keys in groups.items():
        whole = Key(keys[0].kind, id)
        old, new = before.get(whole), after.get(whole)
        change = change_of((old, new)) if old or new else "changed"
        name = (new or old or before.get(keys[0]) or after[keys[0]])[0].name
        parts: list[PartChange] = []
        if details and change == "changed":
            for key in keys:
                parts += _parts(key, before.get(key, []), after.get(key, []))
        yield ThingItem(kind=kind, change=change, id=id, name=name, parts=parts)


def _parts(key: Key, old: list[Thing], new: list[Thing]) -> Iterator[PartChange]:
    was = things.details(old[0]) if old else {}
    now = things.details(new[0]) if new else {}
    part = f"{key.part} ({(new or old)[0].name}): " if key.part else ""
    for name in dict.fromkeys([*was, *now]):
        before, after = was.get(name), now.get(name)
        if before != after or type(before) is not type(after):
            texts = isinstance(before, str) and isinstance(after, str)
            spans = words.spans(str(before), str(after)) if texts else None
            yield PartChange(name=part + name, before=before, after=after, words=spans)


def _media(old: Sequence[MediaFile], new: Sequence[MediaFile]) -> Iterator[MediaItem]:
    """Yield what happened to media files; the same content under another name was renamed."""
    before = {file.name: file for file in old}
    after = {file.name: file for file in new}
    gone: defaultdict[str, list[MediaFile]] = defaultdict(list)
    for name in sorted(before.keys() - after.keys(), reverse=True):
        gone[before[name].sha256].append(before[name])
    for name in sorted(after):
        file, was = after[name], before.get(name)
        if was is None and gone[file.sha256]:
            yield _file("renamed", file, gone[file.sha256].pop())
        elif was is None or was.sha256 != file.sha256:
            yield _file("added" if was is None else "changed", file)
    for file in sorted((file for files in gone.values() for file in files), key=lambda file: file.name):
        yield _file("removed", file)


def _file(change: Any, file: MediaFile, was: MediaFile | None = None) -> MediaItem:
    return MediaItem(
        change=change,
        name=file_name_text(file.name),
        before=file_name_text(was.name) if was else None,
        size=file.size,
        sha256=file.sha256,
    )
