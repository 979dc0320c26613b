"""How one note, deck or media file changed from backup to backup: `history`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import apsw

from anki_backup import collection, rows
from anki_backup.compare import excerpt, field_changes, what_of_card
from anki_backup.errors import DamageError, NotFoundError, SourceError
from anki_backup.model import Backup, MediaFile
from anki_backup.presence import Seen
from anki_backup.rows import Card, Note, whole
from anki_backup.scratch import BLOCK
from anki_backup.spotted import Event, Hit, Kind, Life
from anki_backup.timeline import Decks, Look, decks_of, find, hit, media_of
from anki_backup.walk import Version, Walk
from anki_backup.window import looking

SHOWN = ("type", "queue", "due", "ivl", "factor", "reps", "lapses", "odue", "flags", "data")
SOME = 3
T = TypeVar("T")
States = Sequence[object | None]


class Looked(NamedTuple):
    """Where the answer about a note was read; it holds until something changes there."""

    layout: bytes | None
    blocks: set[int]


class Facts(NamedTuple):
    """A note as one collection has it: its row and fields' names, its cards, and their reviews."""

    note: Note
    fields: tuple[str, ...]
    cards: tuple[Card, ...]
    reviews: dict[int, int]

    @property
    def told(self) -> tuple[object, ...]:
        """What counts as a change: as in the content hash, a buried card is where it comes back to."""
        return self.note, tuple(rows.unburied(card) for card in self.cards), self.reviews


def lives(look: Look, item: str) -> list[Life]:
    """Return the life of what `item` names, in each source that has or had it.

    `item` is a note's id, `nid:`, `guid:`, `deck:` or `media:` with a name behind it,
    the name of a deck or a file, or text that only one note has. NotFoundError where
    nothing has it, or several do.
    """
    prefix, _, name = item.partition(":")
    found: list[Life] = []
    if prefix == "nid" or (item.isascii() and item.isdecimal()):
        number = name if prefix == "nid" else item
        found = _notes(look, int(number)) if number.isascii() and number.isdecimal() else []
    elif prefix == "guid":
        found = _by_text(look, name)
    elif prefix in ("deck", "media"):
        found = _decks(look, name) if prefix == "deck" else _media(look, name)
    if not found and prefix not in ("nid", "guid", "media"):
        found = _decks(look, item) or _media(look, item) or _by_text(look, item)
    if not found:
        raise NotFoundError(
            f"{item!r} is in none of {len(look.backups)} backups",
            hint=f"Look for a part of it: ankibak find {shlex.quote(item)}",
        )
    return found


def _by_text(look: Look, text: str) -> list[Life]:
    """Return the life of the one note that has a text; what the sources are now is asked first."""
    everything = look.backups
    look.backups = [backups[look.now(backups)] for backups in look.of_sources().values()]
    hits = _note_hits(look, text)
    look.backups = everything
    hits = hits or _note_hits(look, text)
    if len(hits) > 1:
        some = ", ".join(f"nid:{note}" for note in sorted(hits)[:SOME])
        raise NotFoundError(
            f"{text!r} is in {len(hits)} notes, {some} among them",
            hint=f"Name one: ankibak history nid:{min(hits)}; see all: ankibak find {shlex.quote(text)}",
        )
    return [life for note in hits for life in _notes(look, note)]


def _note_hits(look: Look, text: str) -> set[int]:
    kinds: tuple[Kind, ...] = ("note",)
    return {int(each.id) for each in find(look, text, kinds)}


def _notes(look: Look, note: int) -> list[Life]:
    facts: dict[str, Facts] = {}
    looked: dict[str, Looked] = {}
    walk = Walk(look.repository.store, [backup.collection_sha256 for backup in look.backups])
    with look.progress("reading notes", len(walk)) as advance:
        for version in walk.versions():
            try:
                known = facts.get(version.base) if version.base else None
                before = looked.get(version.base or "")
                if before is None or _touches(version, before):
                    before = Looked(_layout(version), set())
                    with looking(version.content, before.blocks) as db:
                        known = _facts(db, note, known)
                looked[version.name] = before
                if known:
                    facts[version.name] = known
            except (SourceError, DamageError) as error:
                walk.damaged[version.name] = error.message
            advance(1)
    look.lose(walk, ((backup.id, backup.collection_sha256) for backup in look.backups))
    found = []
    for backups in look.of_sources().values():
        readable = [backup for backup in backups if backup.collection_sha256 not in walk.damaged]
        states = [facts.get(backup.collection_sha256) for backup in readable]
        if last := _last(states):
            about = _hit(look, "note", str(note), excerpt(last.note.flds), readable, states, {})
            found.append(Life(hit=about, events=list(_told(look, readable, states))))
    return found


def _layout(version: Version) -> bytes | None:
    """Return what tells whether the first block says anything new; None where it holds more than one page.

    It always changes, for a counter stands in it. All else that it has to say to a
    reader changes with the cookie of the schema.
    """
    head = bytes(version.content.read_at(0, 100))
    size = int.from_bytes(head[16:18], "big")
    return head[16:24] + head[40:44] if size >= BLOCK or size == 1 else None


def _touches(version: Version, before: Looked) -> bool:
    """Say whether anything may have changed in the blocks that were read before."""
    if version.changed is None or before.layout is None or before.layout != _layout(version):
        return True
    return any(
        block in before.blocks
        for at, count in version.changed
        for block in range(at // BLOCK or 1, (at + count - 1) // BLOCK + 1)
    )


def _facts(db: apsw.Connection, note: int, known: Facts | None) -> Facts | None:
    """Read a note; what it has in common with the version before is shared."""
    row = db.execute(f"SELECT {rows.columns(Note, 'notes')} FROM notes WHERE id = ?", (note,)).fetchone()
    if row is None:
        return None
    read = cast(Note, rows.row(Note, row))
    found = db.execute(
        f"SELECT {rows.columns(Card, 'cards')} FROM cards WHERE nid = ? ORDER BY ord, id", (note,)
    ).fetchall()
    cards = tuple(cast(Card, rows.row(Card, each)) for each in found)
    query = "SELECT count(*) FROM revlog WHERE cid = ? AND type < 4"
    reviews = {card.id: cast(int, db.execute(query, (card.id,)).get) for card in cards}
    if known and known.note == read and known.cards == cards and known.reviews == reviews:
        return known
    fields = known.fields if known and known.note.mid == read.mid else tuple(_field_names(db, read.mid))
    return Facts(read, fields, cards, reviews)


def _field_names(db: apsw.Connection, notetype: int) -> list[str]:
    if "fields" in collection.table_names(db):
        query = "SELECT CAST(name AS BLOB) FROM fields WHERE ntid = ? ORDER BY ord"
        return [collection.text(name) for (name,) in db.execute(query, (notetype,))]
    try:
        models = json.loads(collection.text(db.execute("SELECT CAST(models AS BLOB) FROM col").get))
        return [str(field["name"]) for field in models[str(notetype)]["flds"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _last(states: Sequence[T | None]) -> T | None:
    return next((state for state in reversed(states) if state is not None), None)


def _hit(
    look: Look, kind: Kind, id: str, name: str, backups: Sequence[Backup], states: States, decks: Decks
) -> Hit:
    """Return where a thing was seen, told by what each backup has of it."""
    places = [place for place, state in enumerate(states) if state is not None]
    return hit(kind, id, name, backups, Seen.at(places), look.now(backups) in places, False, decks)


def _told(look: Look, backups: Sequence[Backup], states: Sequence[Facts | None]) -> Iterator[Event]:
    before: Facts | None = None
    last: Facts | None = None
    for backup, now in zip(backups, states, strict=True):
        if now and not before:
            yield _event(backup, "back" if last else "appeared")
        elif before and not now:
            yield _event(backup, "gone")
        elif before and now and before is not now and before.told != now.told:
            yield _change(look, backup, before, now)
        before, last = now, now or last


def _change(look: Look, backup: Backup, before: Facts, now: Facts) -> Event:
    tags = [set(facts.note.tags.split()) for facts in (before, now)]
    fields = field_changes(before.note, now.note, now.fields)
    what = ["fields"] * bool(fields) + ["tags"] * (tags[0] != tags[1])
    what += ["note type"] * (before.note.mid != now.note.mid)
    values: dict[str, list[Any]] = {}
    olds = {card.id: card for card in before.cards}
    for card in now.cards:
        old = olds.pop(card.id, None)
        label = f"card {whole(card.ord) + 1}"
        counts = [facts.reviews.get(card.id, 0) for facts in (before, now)]
        if old is None:
            what.append("card added")
            continue
        if rows.unburied(old) != rows.unburied(card):
            what += what_of_card(old, card, {card.id} if counts[0] < counts[1] else set())
            if old.home != card.home:
                values[f"{label}: deck"] = [
                    _deck(look, backup.previous, old.home),
                    _deck(look, backup.id, card.home),
                ]
        shown = [(name, [getattr(old, name), getattr(card, name)]) for name in SHOWN]
        values |= {
            f"{label}: {name}": pair for name, pair in [*shown, ("reviews", counts)] if pair[0] != pair[1]
        }
    what += ["card removed"] * len(olds)
    return _event(
        backup,
        "changed",
        what=list(dict.fromkeys(what)) or ["touched"],
        fields=fields,
        tags_added=sorted(tags[1] - tags[0]),
        tags_removed=sorted(tags[0] - tags[1]),
        values=values,
    )


def _deck(look: Look, backup: str | None, deck: int) -> str:
    try:
        decks = look.repository.decks(backup) if backup else []
    except DamageError:
        decks = []
    return next((each.name for each in decks if each.id == deck), str(deck))


def _event(backup: Backup, change: Any, **fields: Any) -> Event:
    blank: dict[str, Any] = {"what": [], "fields": [], "tags_added": [], "tags_removed": [], "values": {}}
    return Event(backup=backup.id, at=backup.created_at, change=change, **(blank | fields))


def _decks(look: Look, name: str) -> list[Life]:
    decks = decks_of(look)
    found = []
    for backups in look.of_sources().values():
        readable = [backup for backup in backups if backup.id in decks]
        meant = {deck for each in readable for deck, (had, _) in decks[each.id].items() if had == name}
        for deck in sorted(meant):
            states = [decks[backup.id].get(deck) for backup in readable]
            if last := _last(states):
                about = _hit(look, "deck", str(deck), last[0], readable, states, decks)
                found.append(Life(hit=about, events=list(_simple(readable, states, ("name", "cards")))))
    return found


def _media(look: Look, name: str) -> list[Life]:
    files = media_of(look, name, lambda each: each == name)
    found = []
    for backups in look.of_sources().values():
        readable = [backup for backup in backups if backup.id in files]
        kept = [next(iter(files[backup.id].values()), None) for backup in readable]
        if _last(kept):
            states = [_state(file) for file in kept]
            events = list(_simple(readable, states, ("size", "sha256")))
            found.append(Life(hit=_hit(look, "media", name, name, readable, states, {}), events=events))
    return found


def _state(file: MediaFile | None) -> tuple[int, str] | None:
    return (file.size, file.sha256) if file else None


def _simple(
    backups: Sequence[Backup], states: Sequence[tuple[Any, ...] | None], names: Sequence[str]
) -> Iterator[Event]:
    """Tell of a thing that is a few values."""
    before: tuple[Any, ...] | None = None
    ever = False
    for backup, now in zip(backups, states, strict=True):
        if now is not None and before is None:
            yield _event(backup, "back" if ever else "appeared")
        elif now is None and before is not None:
            yield _event(backup, "gone")
        elif now is not None and before is not None and now != before:
            pairs = zip(names, before, now, strict=True)
            values = {name: [old, new] for name, old, new in pairs if old != new}
            yield _event(backup, "changed", what=list(values), values=values)
        before, ever = now, ever or now is not None
