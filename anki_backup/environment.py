"""Variables that override the file: `ANKIBAK_STORAGE__ROOT`, `ANKIBAK_SOURCES__HOME__PATH`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from msgspec import Struct

from anki_backup.errors import ConfigError
from anki_backup.keys import KIND, NAME, SHORT, Key, inner, keys, known
from anki_backup.settings import KINDS, Settings
from anki_backup.values import nearest, of_text

PREFIX = "ANKIBAK_"


def variable(key: str) -> str:
    """Return the variable that overrides a dotted key."""
    return PREFIX + key.upper().replace(".", "__").replace("-", "_")


def overlay(tables: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put what the environment says into `tables`; return the variable of each dotted key it set.

    Only names with `__` are keys; an empty variable says nothing. ConfigError names
    a variable that is no key, and the nearest one that is.
    """
    names = [name for name in environ if name.startswith(PREFIX) and "__" in name]
    origins = {}
    # Kinds first: they tell which keys a source has.
    for name in sorted(names, key=lambda name: (not name.endswith("__KIND"), name)):
        path = _path(name, tables["sources"])
        key = _key(path, tables["sources"])
        if key is None:
            _refuse_unknown(name, path, tables["sources"])
        if environ[name]:
            if path[1] == SHORT and SHORT not in tables["sources"]:
                tables["sources"][SHORT] = {"kind": SHORT}
                origins[f"sources.{SHORT}.kind"] = name
            _put(tables, path, _value(name, environ[name], key))
            origins[".".join(path)] = name
    return origins


def _path(name: str, sources: dict[str, Any]) -> tuple[str, ...]:
    path = name.removeprefix(PREFIX).lower().split("__")
    if path[0] == SHORT:
        path = ["sources", *path]
    if path[0] == "sources" and len(path) > 1 and path[1] not in sources:
        # A shell has no way to write the `-` of a source's name.
        path[1] = next((found for found in sources if found.replace("-", "_") == path[1]), path[1])
    return tuple(path)


def _key(path: tuple[str, ...], sources: dict[str, Any]) -> Key | None:
    """Return the key at `path`, if there is one; a source that is not there yet has only its kind."""
    if path[0] != "sources":
        return _below(Settings, path)
    if path[2:] == ("kind",):
        return KIND
    if len(path) < 3 or path[1] not in (*sources, SHORT):
        return None
    source = sources.get(path[1], {"kind": SHORT})
    kind = source.get("kind") if isinstance(source, dict) else None
    # What the file says wrongly is complained about later, with its line.
    kinds = [KINDS[kind]] if isinstance(kind, str) and kind in KINDS else KINDS.values()
    return next((key for table in kinds if (key := _below(table, path[2:]))), None)


def _below(table: type[Struct] | None, path: tuple[str, ...]) -> Key | None:
    key = None
    for part in path:
        key = known(table).get(part) if table else None
        table = inner(key.type) if key else None
    return None if table else key


def _value(name: str, text: str, key: Key) -> Any:
    try:
        return of_text(text, key.type)
    except ValueError as error:
        raise ConfigError(f"{name} {error}") from None


def _put(tables: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    table: Any = tables
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            return  # as above: later, with its line
    table[path[-1]] = value


def _refuse_unknown(name: str, path: tuple[str, ...], sources: dict[str, Any]) -> NoReturn:
    found = [variable(key) for key in keys() if NAME not in key]
    for source in sources:
        found += [variable(key.replace(NAME, source)) for key in keys() if NAME in key]
    if path[0] == "sources" and len(path) > 2 and path[1] not in sources:
        hint = f"If {path[1]} is a new source, give it a kind: {variable(f'sources.{path[1]}.kind')}=profile"
    else:
        hint = "See every key: ankibak config schema --example"
    close = nearest(name, found)
    raise ConfigError(
        f"{name} in the environment is an unknown key{f': did you mean {close}?' if close else ''}", hint=hint
    )
