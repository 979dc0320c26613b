"""What a shell completes beyond words and options: ids, names of sources, decks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from anki_backup.commands import Context
from anki_backup.errors import AnkibakError

VARIABLE = "_ANKIBAK_COMPLETE"
NEWEST = 50
UNQUOTED = re.compile(r"([^\w@%+=:,./-])")


def attach(command: Any) -> None:
    """Teach the parameters of a loaded command what their values can be, by what help calls them."""
    for param in command.params:
        wanted = re.sub(r"[^A-Z]", "", param.metavar or "")
        if known := VALUES.get(param.name) or VALUES.get(wanted):
            param._custom_shell_complete = _completer(known)
    for inner in getattr(command, "commands", {}).values():
        attach(inner)


def ids(context: Context) -> list[str]:
    """Return what names a backup: the newest ids."""
    return ["latest", *(backup.id for backup in context.repository().backups(limit=NEWEST))]


def sources(context: Context) -> list[str]:
    """Return the names of the configured sources, else of those that have backups."""
    with suppress(AnkibakError):
        if found := list(context.config.sources):
            return found
    return sorted({backup.source for backup in context.repository().backups(limit=NEWEST)})


def decks(context: Context) -> list[str]:
    """Return the full names of the decks of the newest backup."""
    repository = context.repository()
    return [deck.name for deck in repository.decks(repository.find("latest").id)]


VALUES: dict[str, Callable[[Context], Iterable[str]]] = {
    **dict.fromkeys(("ID", "A", "B"), ids),
    **dict.fromkeys(("SOURCE", "source", "into"), sources),
    "deck": decks,
}


def _completer(values: Callable[[Context], Iterable[str]]) -> Callable[..., list[Any]]:
    def complete(ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        given = ctx.find_root().params
        config, repository = (Path(path) if path else None for path in map(given.get, PATHS))
        context = Context(config, repository)
        # A shell has nowhere to show what is wrong; the command itself will tell.
        with suppress(AnkibakError, OSError):
            return [CompletionItem(_word(value)) for value in values(context) if value.startswith(incomplete)]
        return []

    return complete


PATHS = ("config_path", "repository_path")


def _word(value: str) -> str:
    """Return a value as a command line needs it; zsh and fish quote by themselves."""
    return UNQUOTED.sub(r"\\\1", value) if os.environ.get(VARIABLE) == "complete_bash" else value
