"""What a collection has besides notes, cards and reviews: decks, note types, options, tags, settings.

Each is a `Thing` under a key, with the very bytes that the content hash is made
of: two things differ exactly when the hash sees them differ. What is in them is
decoded only when it is to be shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anki_backup import canonical, collection, content, messages
from anki_backup.content import Layout, Value

Kind = Literal["deck", "notetype", "options", "tag", "setting"]
KINDS: dict[str, Kind] = {
    "config": "setting",
    "deck_config": "options",
    "notetypes": "notetype",
    "fields": "notetype",
    "templates": "notetype",
    "decks": "deck",
    "tags": "tag",
    "conf": "setting",
    "models": "notetype",
    "dconf": "options",
}
PART = {"fields": "field", "templates": "card"}
MESSAGES = {
    ("deck_config", "config"): "DeckConfig.Config",
    ("notetypes", "config"): "Notetype.Config",
    ("fields", "config"): "Notetype.Field.Config",
    ("templates", "config"): "Notetype.Template.Config",
    ("decks", "common"): "Deck.Common",
    ("decks", "kind"): "Deck.KindContainer",
}
SPOKEN = {"mtime_secs": "modified"}


class Key(NamedTuple):
    """What a thing is found by: its kind, its id, and which part of a note type it is, if a part."""

    kind: Kind
    id: str
    part: str = ""


class Thing(NamedTuple):
    """A thing: how it is called, what counts of it, and what it is read from when it is shown."""

    name: str
    encoded: bytes
    table: str
    values: dict[str, Any]


Things = dict[Key, list[Thing]]


def read(path: Path) -> Things:
    """Return everything of a checked collection that the small sections of the content hash cover.

    A key has one thing, unless the file breaks the rules of Anki's tables. Where
    the schema is newer than we know, nothing is returned: the hash takes the bytes then.
    """
    found: defaultdict[Key, list[Thing]] = defaultdict(list)
    with collection.connect(path) as db:
        version = collection.schema(db) or 0
        if version > collection.NEWEST:
            return {}
        layouts, tables = content.layouts(version), collection.table_names(db)
        for table in [name for name in layouts if name in tables]:
            layout = layouts[table]
            for values in content.raw_rows(db, table, layout):
                pairs = _of_col(values, layout) if table == "col" else _of_row(table, values, layout)
                for key, thing in pairs:
                    found[key].append(thing)
    for things in found.values():
        things.sort(key=lambda thing: thing.encoded)
    return dict(found)


def _of_row(table: str, values: list[Value], layout: Layout) -> Iterator[tuple[Key, Thing]]:
    named = {name: value for (name, _), value in zip(layout, values, strict=True)}
    part = f"{PART[table]} {_text(values[1])}" if table in PART else ""
    name = _text(named["name"]).replace(collection.LEVEL, "::") if "name" in named else _text(values[0])
    key = Key(KINDS[table], _text(values[0]), part)
    yield key, Thing(name, content.encoded_row(values, layout), table, named)


def _of_col(values: list[Value], layout: Layout) -> Iterator[tuple[Key, Thing]]:
    """Yield what the one row of `col` holds; up to schema 14 that is nearly everything, as JSON."""
    for (column, encode), value in zip(layout, values, strict=True):
        try:
            whole = content.encoded_row([value], ((column, encode),))
            members = content.MEMBERS[column](value[1]) if encode and whole[:1] == b"o" else None
        except canonical.Unparsable:
            members = None
        if members is None:
            name = {"ver": "schema"}.get(column, column)
            encoded = content.encoded_row([value], ((column, encode),))
            yield Key("setting", name), Thing(name, encoded, "col", {"value": value})
            continue
        nulls = column in content.NULLS_COUNT
        for key, member in members.items():
            if nulls or member is not None:
                encoded = canonical.json_item(member, nulls=nulls, depth=1)
                yield (
                    Key(KINDS.get(column, _kind(column)), key),
                    Thing(_json_name(key, member), encoded, column, {"value": member}),
                )


def _kind(column: str) -> Kind:
    return "tag" if column == "tags" else "deck"


def _json_name(key: str, member: Any) -> str:
    name = member.get("name") if isinstance(member, dict) else None
    return name if isinstance(name, str) else key


def details(thing: Thing) -> dict[str, Any]:
    """Return what is in a thing, by names that Anki uses; for people, so it never fails."""
    found: dict[str, Any] = {}
    for column, value in thing.values.items():
        if not isinstance(value, tuple):
            found |= messages.flat(value)
            continue
        message = MESSAGES.get((thing.table, column))
        try:
            if message and value[0] in ("blob", "text") and not value[1].startswith(b"{"):
                found |= messages.decode(message, value[1])
            elif column in ("config", "val") and value[0] in ("blob", "text"):
                found |= messages.flat(canonical.parse_json(value[1]))
            else:
                found[SPOKEN.get(column, column)] = _shown(column, value)
        except canonical.Unparsable:
            found[column] = _text(value)
    return found


def _shown(column: str, value: Value) -> Any:
    text = _text(value)
    if value[0] == "integer":
        return int(text)
    return text.replace(collection.LEVEL, "::") if column == "name" else text


def _text(value: Value) -> str:
    return collection.text(value[1])


def field_names(things: Things) -> dict[str, list[str]]:
    """Return the names of each note type's fields in their order."""
    numbered: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for key, (thing, *_) in things.items():
        place = key.part.removeprefix("field ")
        if key.kind == "notetype" and place != key.part and place.isdecimal():
            numbered[key.id][int(place)] = thing.name
        elif key.kind == "notetype" and thing.table == "models":
            numbered[key.id] = dict(enumerate(_names_of(thing.values["value"], "flds")))
    return {key: [name for _, name in sorted(names.items())] for key, names in numbered.items()}


def _names_of(model: Any, member: str) -> list[str]:
    listed = model.get(member) if isinstance(model, dict) else None
    return [str(each.get("name")) for each in listed or [] if isinstance(each, dict)]


def names(things: Things, kind: Kind) -> dict[str, str]:
    """Return the names of all things of a kind by id."""
    return {key.id: found[0].name for key, found in things.items() if key.kind == kind and not key.part}
