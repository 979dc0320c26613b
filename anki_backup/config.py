"""The configuration: a file of TOML, the environment over it, frozen structs out of both.

The only reader of the environment. Every complaint names the file and the line, or
the variable, then the key and the nearest known one; no complaint shows a secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from msgspec import Struct, field, structs

from anki_backup.document import Document
from anki_backup.environment import overlay
from anki_backup.errors import ConfigError, NotFoundError
from anki_backup.keys import NAME, SHORT, Key, inner, is_secret, keys, known
from anki_backup.listeners import Hooks
from anki_backup.model import SOURCE_PATTERN
from anki_backup.settings import (
    DEFAULT_SCHEDULE,
    KINDS,
    AnkiwebSource,
    Retention,
    Schedule,
    Settings,
    Source,
    Storage,
)
from anki_backup.values import duration, nearest, read

SYSTEM_FILE = Path("/etc/ankibak/config.toml")
ANKIWEB_JITTER = duration("10m")
Place = tuple[str, ...]
T = TypeVar("T", bound=Struct)


class Config(Settings, frozen=True, kw_only=True):
    """All settings, and where they came from.

    `file` is what was read; `credentials` the folder in which systemd puts
    `<source>.password`; `origins` has the dotted path of each key that was given.
    """

    file: Path | None = None
    credentials: Path | None = None
    origins: dict[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """Return "default", "file" or "environment NAME" for a dotted key."""
        return self.origins.get(key, "default")

    def place(self, path: Place) -> str:
        """Return where a key was set, in front of its dotted path: a variable, or file and line."""
        origin = self.origin(".".join(path))
        if origin.startswith("environment "):
            return origin.removeprefix("environment ")
        document = Document(self.file)
        for written in (path, path[1:]):
            if line := document.line(written):
                return f"{self.file}, line {line}: {'.'.join(written)}"
        return ".".join(path)

    def source(self, name: str) -> Source:
        """Return a source by name; NotFoundError has the nearest name."""
        if name in self.sources:
            return self.sources[name]
        close = nearest(name, self.sources)
        hint = f"Did you mean {close}?" if close else f"Configured: {', '.join(self.sources) or 'none yet'}."
        raise NotFoundError(f"there is no source {name}", hint=hint)

    def schedule_of(self, name: str) -> Schedule:
        """Return when a source is backed up: its own schedule over the general one.

        Whose jitter nobody set, AnkiWeb is asked at any of ten minutes: many run on the hour.
        """
        source = self.source(name)
        own = source.schedule or Schedule()
        unset = own.jitter is None and self.origin("schedule.jitter") == "default"
        if isinstance(source, AnkiwebSource) and source.endpoint is None and unset:
            own = structs.replace(own, jitter=ANKIWEB_JITTER)
        return own.over(self.schedule)

    def hooks_of(self, name: str) -> Hooks:
        """Return the programs that are run around a backup of a source: its own over the general ones."""
        return (self.source(name).hooks or Hooks()).over(self.hooks)

    def retention_of(self, name: str) -> Retention | None:
        """Return the rules for a source's backups, configured or not; None is the default policy."""
        own = self.sources[name].retention if name in self.sources else None
        if own is None and self.storage.retention_days is not None:
            return Retention(within=duration(f"{self.storage.retention_days}d"))
        return own or self.retention


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration: the environment over the file over the defaults.

    The file is `path`, else the first of the usual places where there is one; without
    any, defaults and environment are all there is. ConfigError for whatever is wrong.
    """
    return _Reader(Document(_find(path, environ)), environ).config()


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get("ANKIBAK_CONFIG")
    if named:
        return Path(os.path.expanduser(named))
    import platformdirs  # 9 ms, not for those who name their file

    usual = (platformdirs.user_config_path("ankibak") / "config.toml", SYSTEM_FILE)
    return next((place for place in usual if os.path.lexists(place)), None)


class _Reader:
    """Turns one document and one environment into a Config, or into a complaint with its place."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document, self.tables = document, document.tables
        self.folder = document.file.absolute().parent if document.file else Path()
        self.home, self.state = environ.get("HOME"), environ.get("STATE_DIRECTORY", "").split(":")[0]
        self.credentials = environ.get("CREDENTIALS_DIRECTORY")
        self.unfolded = False
        self.variables: dict[str, str] = {}
        sources = self._unfold()
        self._guard(sources)
        self.variables = overlay(self.tables, environ)
        self.origins = {key: f"environment {name}" for key, name in self.variables.items()}

    def config(self) -> Config:
        """Return what document and environment say together."""
        tables = {name: table for name, table in self.tables.items() if name != "sources"}
        settings = self._struct(Settings, tables, ())
        if settings.retention is not None and settings.storage.retention_days is not None:
            self._refuse(("storage", "retention_days"), "and [retention] are both set: remove one of them")
        return Config(
            storage=settings.storage if "storage.root" in self.origins else self._rooted(settings.storage),
            retention=settings.retention,
            schedule=settings.schedule.over(DEFAULT_SCHEDULE),
            server=settings.server,
            security=settings.security,
            run=settings.run,
            alarms=settings.alarms,
            hooks=settings.hooks,
            notify=settings.notify,
            ping=settings.ping,
            apprise=settings.apprise,
            metrics=settings.metrics,
            sources={name: self._source(name, table) for name, table in self.tables["sources"].items()},
            file=self.document.file,
            credentials=Path(self.credentials) if self.credentials else None,
            origins=self.origins,
        )

    def _unfold(self) -> dict[str, Any]:
        """Give what the short table [ankiweb] says its place among the sources, and return these."""
        sources = self._table(self.tables.setdefault("sources", {}), ("sources",))
        if SHORT in self.tables:
            short = self._table(self.tables.pop(SHORT), (SHORT,))
            if SHORT in sources:
                self._refuse(("sources", SHORT), "and [ankiweb] are the same source: remove one of them")
            self.unfolded = True
            if short.setdefault("kind", SHORT) != SHORT:
                self._refuse(("sources", SHORT, "kind"), 'is "ankiweb": use [sources.NAME] for another kind')
            sources[SHORT] = short
        return sources

    def _guard(self, sources: dict[str, Any]) -> None:
        """Refuse a secret in a file that others can read, even if the environment overrides it."""
        tables = {("sources", name): table for name, table in sources.items()}
        tables |= {(name, ""): table for name, table in self.tables.items() if name != "sources"}
        for path, table in tables.items() if self.document.exposed else ():
            for key in (key for key in (table if isinstance(table, dict) else ()) if is_secret(path, key)):
                self._refuse(
                    (*filter(None, path), key),
                    "is a secret, in a file that others can read",
                    hint=f"Type: chmod 600 '{self.document.file}'",
                )

    def _rooted(self, storage: Storage) -> Storage:
        if self.state:
            self.origins["storage.root"] = "environment STATE_DIRECTORY"
            return structs.replace(storage, root=Path(self.state))
        import platformdirs  # 9 ms, not for those who name their folder

        return structs.replace(storage, root=platformdirs.user_data_path("ankibak"))

    def _source(self, name: str, table: Any) -> Source:
        path = ("sources", name)
        if not SOURCE_PATTERN.fullmatch(name):
            self._refuse(path, "is no name for a source: use a-z, 0-9, _ and -, a letter first")
        given = dict(self._table(table, path))
        kind = given.pop("kind", None)
        if kind is None:
            self._refuse((*path, "kind"), f"is missing: {' or '.join(KINDS)}")
        if not isinstance(kind, str) or kind not in KINDS:
            close = nearest(str(kind), KINDS) or " or ".join(KINDS)
            self._refuse((*path, "kind"), f"is an unknown kind of source: did you mean {close}?")
        self.origins.setdefault(f"sources.{name}.kind", "file")
        return self._struct(KINDS[kind], given, path)

    def _struct(self, kind: type[T], given: dict[str, Any], path: Place) -> T:
        """Return a table as its struct: each key known, each required one there, each value of its type."""
        values = {}
        for name in given:
            if name not in known(kind):
                self._refuse_unknown((*path, name), kind)
        for name, key in known(kind).items():
            here = (*path, name)
            table = inner(key.type)
            if name in given:
                values[name] = (
                    self._struct(table, self._table(given[name], here), here)
                    if table
                    else self._value(given[name], key, here)
                )
            elif key.required:
                self._refuse(here, "is missing")
        try:
            return kind(**values)
        except ValueError as error:
            self._refuse(path, str(error))

    def _value(self, value: Any, key: Key, path: Place) -> Any:
        self.origins.setdefault(".".join(path), "file")
        try:
            found = read(value, key.type, self.folder, self.home)
        except ValueError as error:
            self._refuse(path, str(error))
        if key.name == "cron" and found is not None:
            from anki_backup import calendars  # for the few who set it

            try:
                calendars.of_cron(found)
            except ConfigError as error:
                self._refuse(path, error.message.removeprefix("cron "), error.hint)
        return found

    def _table(self, value: Any, path: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse(path, f"is not a table: write [{'.'.join(path)}]")
        return value

    def _refuse_unknown(self, path: Place, kind: type[Struct]) -> NoReturn:
        siblings = [*known(kind), SHORT] if kind is Settings else [*known(kind)]
        elsewhere = {key.rpartition(".")[2]: key for key in reversed(keys()) if NAME not in key}
        if close := nearest(path[-1], siblings):
            close = ".".join(self._written((*path[:-1], close)))
        elif far := nearest(path[-1], elsewhere):
            close = elsewhere[far]
        hint = None if close else f"Known here: {', '.join(siblings)}."
        self._refuse(path, f"is an unknown key{f': did you mean {close}?' if close else ''}", hint)

    def _refuse(self, path: Place, words: str, hint: str | None = None) -> NoReturn:
        raise ConfigError(f"{self._place(path)} {words}", hint=hint)

    def _place(self, path: Place) -> str:
        """Return where a value came from, in front of its dotted path: a variable, or file and line."""
        if variable := self.variables.get(".".join(path)):
            return variable
        path = self._written(path)
        # What is missing has no line, but the table that lacks it has.
        line = self.document.line(path) or self.document.line(path[:-1])
        file = f"{self.document.file}{f', line {line}' if line else ''}: " if self.document.file else ""
        return file + ".".join(path)

    def _written(self, path: Place) -> Place:
        """Return a path as the file has it."""
        return path[1:] if self.unfolded and path[:2] == ("sources", SHORT) else path
