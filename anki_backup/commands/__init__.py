"""One file per subcommand; what they all are given is the `Context`.

A command's file has the name of the word that a person types, and holds
`command`, a function, or `app`, a `typer.Typer` with words of its own. The word
stands in `COMMANDS`.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anki_backup import figures, locks, logs, terminal
from anki_backup.errors import ConfigError, NotFoundError, StorageError, UsageError
from anki_backup.logs import Level, LogFormat
from anki_backup.terminal import Color

if TYPE_CHECKING:
    from anki_backup.config import Config
    from anki_backup.model import Backup
    from anki_backup.repository import Repository
    from anki_backup.sources import Source
    from anki_backup.timeline import Look

T = TypeVar("T")
# The exit code of what was done, but not all of it.
INCOMPLETE = 3
# The words, in the order of the page of all commands, each with its line there.
COMMANDS = {
    "init": "Set up: from nothing to the first backup",
    "run": "Back up every source that changed",
    "status": "Say whether the cards are safe",
    "doctor": "Look whether everything is as it has to be",
    "list": "List backups, newest first",
    "show": "Show one backup: figures, decks, metadata",
    "runs": "List runs: created, skipped, failed, interrupted",
    "acknowledge": "End an alarm: the shrink was meant",
    "import": "Adopt backups made by Anki, at their own dates",
    "diff": "Show what changed from one backup to another",
    "find": "Find notes, decks and media in all backups",
    "history": "Show how a note, deck or media file changed",
    "verify": "Check backups for damage; changes nothing",
    "prune": "Remove what retention lets go, after asking",
    "pin": "Keep a backup for ever",
    "unpin": "Let retention decide on a backup again",
    "rollback": "Make a backup the active state, or undo that",
    "export": "Write a backup to a file or folder",
    "login": "Exchange an account's password for a key",
    "logout": "Forget an account's key",
    "restore-notes": "Put notes of a backup back into a profile or account",
    "notify": "Test who is told when something happens",
    "serve": "Serve the web view and its API",
    "passwd": "Set the password of the web view",
    "token": "Make, list and revoke API tokens",
    "catalog": "Rebuild the index of backups from their files",
    "schedule": "Install, show or remove systemd units",
    "config": "Show or check the configuration",
    "demo": "Try everything out on an account made for it",
}


# A command in a hint, to be typed.
TYPED = re.compile(r"(?<=: )ankibak(?= [a-z])")


@dataclass
class Context:
    """The global options, and what they lead to; nothing is read before it is asked for."""

    config_path: Path | None = None
    repository_path: Path | None = None
    quiet: bool = False
    verbose: bool = False
    color: Color = "auto"
    log_format: LogFormat = field(default_factory=lambda: logs.natural(sys.stderr))
    run_id: str = field(default_factory=logs.run_id)
    incomplete: bool = False

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
        repository.tell = self._mended
        interrupted = (repository.root / "state" / "rollback.json").exists()
        if interrupted and locks.holder(repository.history.lock) is None:
            self.warn("a rollback was interrupted; the next run finishes or reverses it: ankibak run")
        return repository

    def _mended(self, words: str) -> None:
        self.warn(words)
        self.incomplete = True

    def made_repository(self) -> Repository:
        """Open the repository for writing; where there is none yet, make it and say so."""
        from anki_backup.repository import Repository

        fresh = not self.has_repository
        repository = Repository.create(self.root)
        repository.tell = self._mended
        if fresh:
            self.say(f"made a new repository in {self.root}")
        return repository

    @property
    def has_repository(self) -> bool:
        """Whether there is one, as far as we may look; what keeps us from it is told when it is opened."""
        return any(os.path.exists(self.root / name) for name in ("repository.json", "backups"))

    def index(self, repository: Repository) -> None:
        """Bring the catalog up to date; a disk that refuses is told, and undoes nothing (3)."""
        try:
            repository.index()
        except StorageError as error:
            self.warn(f"it is done, but {error.message}")
            self.incomplete = True

    def find(self, repository: Repository, text: str) -> Backup:
        """Return the backup that a person means; NotFoundError where there is none."""
        return repository.find(text, self.zone if "@" in text else None)

    def account(self, name: str | None) -> str:
        """Return the account that a person means: the only one where none is named."""
        sources = self.config.sources
        accounts = [known for known, settings in sources.items() if settings.kind == "ankiweb"]
        if name is not None and self.config.source(name).kind != "ankiweb":
            raise UsageError(f"{name} is no account, but a {sources[name].kind}: it needs no login")
        if name is None and len(accounts) != 1:
            raise UsageError(
                "which account?" if accounts else "there is no account in the configuration",
                hint=f"Name one: {', '.join(accounts)}." if accounts else 'Its table has kind = "ankiweb".',
            )
        return name or accounts[0]

    def driver(self, name: str, *, rehash: bool = False) -> Source:
        """Return a configured source, with all that its driver needs; NotFoundError for an unknown one."""
        from anki_backup import sources

        settings = self.config.source(name)
        means = sources.Means(
            mirror=self.root / "mirrors" / name,
            secrets=self.root / "state" / "secrets",
            credentials=self.config.credentials,
            zone=self.config.schedule_of(name).timezone,
            rehash=rehash,
            fetching=self._fetching,
        )
        return sources.make(name, settings, self.config.run.hot_tries, means)

    @contextmanager
    def _fetching(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Show how many files and bytes there are while they come; how many will come nobody says."""
        if self.quiet or not terminal.is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
            yield lambda files, size: None
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn

        from anki_backup import figures

        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
        with Progress(*columns, console=terminal.console(sys.stderr, self.color), transient=True) as bar:
            task = bar.add_task(title)

            def tell(files: int, size: int) -> None:
                told = f"{title}: {figures.counted(files, 'file')}, {figures.size(size)}"
                bar.update(task, description=told, refresh=True)

            yield tell

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
            self.tell(text, "info")

    def warn(self, text: str) -> None:
        """Tell a person what they should know even when they want quiet."""
        self.tell(text, "warning")

    def tell(self, text: str, level: Level, hint: str | None = None, **fields: object) -> None:
        """Put a line into the log, which is stderr; `fields` are for programs that read it."""
        told = {"run": self.run_id, **fields}
        text = self.hinted(text) or text
        terminal.talk(text, level, self.log_format, self.color, self.hinted(hint), told)

    def hinted(self, hint: str | None) -> str | None:
        """Return a hint whose commands name the configuration and the repository that this one was given."""
        given = {"-c": self.config_path, "--repository": self.repository_path}
        words = "".join(f" {option} {shlex.quote(str(path))}" for option, path in given.items() if path)
        return hint and TYPED.sub(lambda found: found[0] + words, hint)

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
        return figures.instant(datetime.fromisoformat(text), zone)
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


def looked(
    context: Context, repository: Repository, work: Callable[[Look], list[T]], source: str | None
) -> tuple[Look, list[T]]:
    """Return a look through all backups and what `work` finds, with a bar; what can't be read is told."""
    from anki_backup import timeline

    def progress(title: str, total: int) -> AbstractContextManager[Callable[[int], object]]:
        return terminal.progress(title, total, quiet=context.quiet, color=context.color)

    look, found = timeline.looked(repository, work, source, progress)
    if look.damaged:
        name, message = next(iter(look.damaged.items()))
        counted = figures.counted(len(look.damaged), "backup")
        context.warn(f"{counted} could not be read, {name} among them: {message}")
    return look, found
