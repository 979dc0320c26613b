"""`ankibak config`: what is configured, whether it can work, and all that there is to configure."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import typer
from msgspec import Struct
from msgspec.json import schema as json_schema

from anki_backup import terminal
from anki_backup.apart import check_places
from anki_backup.commands import Context
from anki_backup.config import Config
from anki_backup.errors import ConfigError
from anki_backup.keys import KIND, SHORT, Key, inner, known, tables
from anki_backup.retention import DEFAULT
from anki_backup.settings import Settings, SourceSettings
from anki_backup.values import LENGTH, Duration, plain

# The table of each kind of source in the example.
EXAMPLES = {"profile": "sources.desktop", "ankiweb": SHORT}
INTRODUCTION = """\
# An example of ~/.config/ankibak/config.toml or /etc/ankibak/config.toml, with every key there is.
# A line that begins with `#` and a key shows its default, or an example where the default is nothing.
# Any key can also come from the environment: ANKIBAK_STORAGE__ROOT=/srv/backup"""

app = typer.Typer(help="Show or check the configuration.")


@app.callback()
def _config() -> None:
    pass


@app.command()
def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show every setting in force, and where it came from; secrets are not shown.

    The output is TOML that, but for secrets, can be used as a configuration again.
    """
    context: Context = ctx.obj
    config = context.config
    found = []
    for path, value in _leaves(config, ()):
        key = ".".join(path)
        if key == "storage.root" and context.repository_path:
            found.append((path, str(context.repository_path), "--repository"))
        else:
            found.append((path, plain(value), config.origin(key)))
    if as_json:
        settings: dict[str, Any] = {}
        for path, value, _ in found:
            table = settings
            for part in path[:-1]:
                table = table.setdefault(part, {})
            table[path[-1]] = value
        origins = {".".join(path): origin for path, _, origin in found}
        file = str(config.file) if config.file else None
        terminal.print_json({"file": file, "settings": settings, "origins": origins})
    else:
        lines = [f"# {config.file or 'no file'}", *_lines(found)]
        terminal.write("".join(terminal.escape(line) + "\n" for line in lines))


@app.command()
def check(ctx: typer.Context) -> None:
    """Check that the configuration can be used: its keys, and that its places exist and lie apart.

    It exits with 2 where something is wrong. No source is opened and nothing is changed.
    """
    context: Context = ctx.obj
    config = context.config
    check_places(config, context.root)
    for name, source in config.sources.items():
        for key in known(type(source)).values() if source.enabled else ():
            value = getattr(source, key.name)
            if isinstance(value, Path):
                place = config.place(("sources", name, key.name))
                _check_file(place, value, secret=key.name == "password_file")
    _check_calendar(config.schedule.calendar, config, ("schedule", "calendar"))
    for name, source in config.sources.items():
        if source.schedule:
            _check_calendar(source.schedule.calendar, config, ("sources", name, "schedule", "calendar"))
    number = len(config.sources)
    sources = f"{number or 'no'} source{'' if number == 1 else 's'}"
    terminal.write(terminal.escape(f"{config.file or 'no file'}: fine, with {sources}") + "\n")


@app.command()
def schema(
    example: Annotated[
        bool, typer.Option("--example", help="A commented file in place of a schema.")
    ] = False,
) -> None:
    """Print the JSON schema of the configuration, for editors; or a commented example."""
    terminal.write(example_file() if example else json.dumps(_schema(), indent=2) + "\n")


def example_file() -> str:
    """Return a configuration that shows every key; `docs/config.example.toml` is this text."""
    lines = [INTRODUCTION]
    for path, table in tables():
        if len(path) == 3:
            continue  # a table inside a source, which is shown there in one line
        kind = table.kind if issubclass(table, SourceSettings) else None
        name = EXAMPLES.get(kind, f"sources.{kind}") if kind else path[0]
        absent = not kind and known(Settings)[path[0]].default is None
        lines += ["", f"# {table.__doc__}", f"{'#' * absent}[{name}]"]
        if kind and name != SHORT:
            lines += [f"# {KIND.description}", _assignment("kind", kind)]
        for key in known(table).values():
            lines += [f"# {key.description}", f"{'#' * (not key.required)}{_shown(key)}"]
    return "\n".join(lines) + "\n"


def _shown(key: Key) -> str:
    return f"{key.name} = {key.example}" if inner(key.type) else _assignment(key.name, plain(key.example))


def _assignment(name: str, value: Any) -> str:
    if isinstance(value, list):  # in one line, so that it can be commented out
        words = (tomli_w.dumps({"a": word}).strip().removeprefix("a = ") for word in value)
        return f"{name} = [{', '.join(words)}]"
    return tomli_w.dumps({name: value}).strip()


def _schema() -> dict[str, Any]:
    found = json_schema(Settings, schema_hook=_own_type)
    account = found["$defs"]["AnkiwebSource"]
    # The short table is that source without its kind.
    required = [name for name in account["required"] if name != "kind"]
    found["$defs"]["Settings"]["properties"][SHORT] = account | {"required": required}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _own_type(kind: type) -> dict[str, Any]:
    return {"type": "string", "minLength": 1} | ({"pattern": LENGTH} if kind is Duration else {})


def _leaves(table: Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value that is set, with its path; those of a table before those of tables in it."""
    if isinstance(table, SourceSettings):
        yield (*path, "kind"), table.kind
    inside: list[tuple[tuple[str, ...], Struct]] = []
    for name in known(Settings if isinstance(table, Settings) else type(table)):
        value = getattr(table, name)
        if value is None and name == "retention" and isinstance(table, Config):
            value = None if table.storage.retention_days else DEFAULT
        if isinstance(value, Struct):
            inside.append(((*path, name), value))
        elif isinstance(value, dict):
            inside += [((*path, name, word), source) for word, source in value.items()]
        elif value is not None:
            yield (*path, name), value
    for below, value in inside:
        yield from _leaves(value, below)


def _lines(found: list[tuple[tuple[str, ...], Any, str]]) -> Iterator[str]:
    table: tuple[str, ...] = ()
    for path, value, origin in found:
        if path[:-1] != table:
            table = path[:-1]
            yield ""
            yield f"[{'.'.join(table)}]"
        yield from f"{_assignment(path[-1], value)}  # {origin}".split("\n")


def _check_calendar(words: str | None, config: Config, path: tuple[str, ...]) -> None:
    """Ask systemd what a calendar expression means, where there is one to ask."""
    if words is None or not shutil.which("systemd-analyze"):
        return
    asked = ["systemd-analyze", "calendar", "--", words]
    answer = subprocess.run(asked, capture_output=True, check=False)
    if answer.returncode or b"Next elapse: never" in answer.stdout:
        raise ConfigError(
            f"{config.place(path)} {json.dumps(words)} means no time to come to systemd",
            hint=f"See what it says: systemd-analyze calendar {shlex.quote(words)}",
        )


def _check_file(key: str, path: Path, *, secret: bool) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = (
            "is not there" if isinstance(error, FileNotFoundError) else f"is out of reach: {error.strerror}"
        )
        raise ConfigError(f"{key}: {path} {reason}") from error
    if secret and stat.S_ISREG(mode) and mode & 0o044:
        raise ConfigError(
            f"{key}: {path} is a secret, in a file that others can read", hint=f"Type: chmod 600 '{path}'"
        )
