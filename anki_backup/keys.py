"""The keys: all that can be configured, found by walking the settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import NODEFAULT, Meta, Struct, structs

from anki_backup.settings import KINDS, Settings
from anki_backup.values import Secret, Table, Text, alternatives

# Stands in a path for the name of a source.
NAME = "<name>"
# The table `[ankiweb]` is short for `[sources.ankiweb]` with that kind.
SHORT = "ankiweb"


class Key(Struct, frozen=True):
    """One key: its type, its default (None where it has none), and what is said of it."""

    name: str
    type: Any
    required: bool
    default: Any
    description: str
    example: Any


KIND = Key(
    name="kind",
    type=Text,
    required=True,
    default=None,
    description="What kind of source it is; it decides which other keys there are.",
    example="profile",
)


@cache
def known(table: type[Struct]) -> dict[str, Key]:
    """Return the keys of one table, required ones first; those of tables inside it are not among them."""
    found = {}
    for item in sorted(structs.fields(table), key=lambda item: not item.required):
        notes = [note for note in getattr(item.type, "__metadata__", ()) if isinstance(note, Meta)]
        default = None if item.default is NODEFAULT else item.default
        if item.default_factory is not NODEFAULT:
            default = item.default_factory()
        said = next((note.description for note in notes if note.description), "")
        examples = next((note.examples for note in notes if note.examples), [default])
        found[item.name] = Key(item.name, item.type, item.required, default, said, examples[0])
    return found


def inner(kind: Any) -> type[Struct] | None:
    """Return the struct of a key that is a table itself."""
    return next(
        (part for part in alternatives(kind) if isinstance(part, type) and issubclass(part, Table)), None
    )


def tables() -> Iterator[tuple[tuple[str, ...], type[Struct]]]:
    """Yield every table with its path; those of sources come once for each kind, with `<name>` as a name."""
    for name, key in known(Settings).items():
        if (table := inner(key.type)) and name != "sources":
            yield (name,), table
    for source in KINDS.values():
        yield ("sources", NAME), source
        for name, key in known(source).items():
            if table := inner(key.type):
                yield ("sources", NAME, name), table


def keys() -> list[str]:
    """Return the dotted path of every key, with `<name>` for the name of a source."""
    found = [f"sources.{NAME}.kind"]
    found += [
        ".".join((*path, name))
        for path, table in tables()
        for name, key in known(table).items()
        if not inner(key.type)
    ]
    return list(dict.fromkeys(found))


def is_secret(path: tuple[str, ...], name: str) -> bool:
    """Whether the table at `path` has a secret of this name; of sources, those of some kind."""
    tables = (
        list(KINDS.values())
        if path[0] == "sources"
        else [inner(known(Settings)[path[0]].type)]
        if path[0] in known(Settings)
        else []
    )
    found = [known(table)[name].type for table in tables if table and name in known(table)]
    return any(Secret in alternatives(kind) for kind in found)
