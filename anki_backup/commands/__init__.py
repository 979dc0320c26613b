"""One file per subcommand; what they all are given is the `Context`.

A command's file has the name of the word that a person types, and holds
`command`, a function, or `app`, a `typer.Typer` with words of its own.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anki_backup import terminal
from anki_backup.errors import ConfigError, NotFoundError, UsageError
from anki_backup.terminal import Color, LogFormat

if TYPE_CHECKING:
    from anki_backup.config import Config
    from anki_backup.model import Backup
    from anki_backup.repository import Repository


@dataclass
class Context:
    """The global options, and what they lead to; nothing is read before it is asked for."""

    config_path: Path | None = None
    repository_path: Path | None = None
    quiet: bool = False
    verbose: bool = False
    color: Color = "auto"
    log_format: LogFormat = "text"

    @cached_property
    def config(self) -> Config:
        """The configuration; ConfigError names the file and the key."""
        from anki_backup import config

        return config.load(self.config_path, os.environ)

    @cached_property
    def zone(self) -> tzinfo | None:
        """The time zone of people's dates; None is the machine's own."""
        try:
            name = self.config.schedule.timezone
        except ConfigError:
            # To look at a repository that was named, no configuration is needed.
            if self.repository_path is None:
                raise
            return None
        if name is None:
            return None
        from zoneinfo import ZoneInfo

        return ZoneInfo(name)

    @property
    def root(self) -> Path:
        """Where the repository is, or is to be."""
        return self.repository_path or self.config.storage.root

    def repository(self) -> Repository:
        """Open the repository for reading; RepositoryError where there is none."""
        # Loading it costs what peewee costs, which `config` and `--help` need not pay.
        from anki_backup.repository import Repository

        repository = Repository.open(self.root)
        if (repository.root / "state" / "rollback.json").exists():
            self.warn("a rollback was interrupted; the next run finishes or reverses it: ankibak run")
        return repository

    def find(self, repository: Repository, text: str) -> Backup:
        """Return the backup that a person means; NotFoundError where there is none."""
        return repository.find(text, self.zone if "@" in text else None)

    def since(self, text: str | None) -> datetime | None:
        """Return what `--since` means: a date, a time, or so long ago (`2d`, `12h`)."""
        if text is None:
            return None
        # Heavy enough to leave to those who ask.
        from anki_backup.values import duration

        with suppress(ValueError, OverflowError):
            return datetime.now(UTC) - duration(text)
        return moment(text, self.zone)

    def say(self, text: str) -> None:
        """Tell a person something on stderr, unless they want quiet."""
        if not self.quiet:
            terminal.talk(text, "info", self.log_format, self.color)

    def warn(self, text: str) -> None:
        """Tell a person what they should know even when they want quiet."""
        terminal.talk(text, "warning", self.log_format, self.color)

    def confirm(self, question: str, *, yes: bool, word: str | None = None) -> None:
        """Ask before what can't be taken back; UsageError where nobody can answer, or the answer is no.

        With `word`, only that word means yes.
        """
        if yes:
            return
        if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stderr)):
            raise UsageError("there is no terminal to ask on", hint="Look first: --dry-run. Then say --yes.")
        sys.stderr.write(f"{terminal.escape(question)} [{word or 'y/N'}] ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if answer != word and (word or answer.lower() not in ("y", "yes")):
            raise UsageError("nothing was done")


def moment(text: str, zone: tzinfo | None) -> datetime:
    """Return the UTC time of a date or time in ISO 8601; without an offset it is one in `zone`."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone) if zone else at.astimezone()
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no time",
            hint="Give a date (2026-11-01), a time (2026-11-01T12:00) or how long ago (12h, 2d, 4w).",
        ) from error


def known_source(context: Context, repository: Repository, name: str) -> None:
    """Raise NotFoundError unless `name` is a source of the configuration or of some backup."""
    names = {backup.source for backup in repository.backups()}
    with suppress(ConfigError):
        names |= set(context.config.sources)
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise NotFoundError(f"there is no source {name!r}", hint=f"These are known: {known}.")
