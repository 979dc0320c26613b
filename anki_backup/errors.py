"""Every deliberate failure: its word, its exit code and the way out.

Only `cli` prints errors or exits. A message is one lower-case clause that names
the thing; a hint is a full sentence with the command to type.
"""

from __future__ import annotations


class AnkibakError(Exception):
    """Something failed in a way that a person can act on."""

    code = "failed"
    exit_code = 1
    usual_hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint


class UsageError(AnkibakError):
    """The command was typed wrongly."""

    code, exit_code = "usage", 2


class ConfigError(AnkibakError):
    """The configuration can't be used; the message names file and key."""

    code, exit_code = "config", 2


class NotFoundError(AnkibakError):
    """No such backup, deck, note or source."""

    code, exit_code = "not_found", 5


class DamageError(AnkibakError):
    """Bytes in the repository are not what they were."""

    code, exit_code = "damaged", 6
    usual_hint: str | None = "See what else is damaged: ankibak verify"


class GoneError(DamageError):
    """A backup was removed while it was looked at, for who reads takes no lock.

    Told as not found; what is done about damage is done about this too.
    """

    code, exit_code = "not_found", 5
    usual_hint = None


class SourceError(AnkibakError):
    """The source refused, could not be reached, or is no collection."""

    code, exit_code = "source", 7


class ClockError(AnkibakError):
    """The clock contradicts what is in the repository."""

    code, exit_code = "clock", 7


class HookError(AnkibakError):
    """A program of the user's that belongs to a run failed; before the run, that means not to begin."""

    code, exit_code = "hook", 7


class NotifierError(AnkibakError):
    """Somebody could not be told."""

    code, exit_code = "notifier", 3


class EmptiedError(AnkibakError):
    """The account is empty; whether it had been backed up with cards in it decides if that is an alarm."""

    code, exit_code = "emptied", 4


class StorageError(AnkibakError):
    """The repository could not be written: full, read-only, I/O error."""

    code, exit_code = "storage", 8


class RepositoryError(AnkibakError):
    """There is no repository, or one of a newer format."""

    code, exit_code = "no_repository", 10


class NoRepositoryError(RepositoryError):
    """There is no repository; the first run makes one."""


class BusyError(AnkibakError):
    """Another process holds the lock."""

    code, exit_code = "busy", 75


class Terminated(AnkibakError):
    """A signal asked us to stop; nothing half-done was left."""

    code, exit_code = "terminated", 143


def signal_behind(error: BaseException) -> Terminated | None:
    """Return the signal that an error came of: SQLite and Anki's library take one for an answer of theirs."""
    before: BaseException | None = error
    while before is not None and not isinstance(before, Terminated):
        before = before.__context__
    return before


def first_cause(error: BaseException, barrier: type[BaseException]) -> str:
    """Say what went wrong before all that only followed from it; what lies behind a `barrier` was dealt with.

    After a full disk SQLite has taken all back, and a library that tries so once more is refused.
    """
    said, seen = str(error), error.__context__
    while seen is not None and not isinstance(seen, barrier):
        said, seen = str(seen), seen.__context__
    return said
