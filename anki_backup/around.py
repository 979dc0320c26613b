"""What belongs to no single backup of a repository, and what is wrong with it; for `verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from anki_backup import events, gaps, identity, intent
from anki_backup.entries import CatalogError
from anki_backup.errors import DamageError, NotFoundError
from anki_backup.repository import Repository

MEND, ACCEPT = "mend it: ankibak catalog rebuild", "accept it: ankibak catalog rebuild"
RUN = "the next run mends it: ankibak run"


class Odd(NamedTuple):
    """One thing that is not as it was written: what kind of thing, what is wrong, of which backup."""

    kind: str
    message: str
    backup: str | None = None


def look(repository: Repository) -> Iterator[Odd]:
    """Yield all that is wrong; what can't be read is wrong too."""
    parts: dict[str, Callable[[Repository], Iterator[Odd]]] = {
        "repository": _identity,
        "events": _log,
        "pointer": _pointers,
        "backup": _vanished,
        "rollback": _rollback,
        "catalog": _catalog,
    }
    unread = set()
    for kind, part in parts.items():
        try:
            yield from part(repository)
        except DamageError as error:
            if error.message not in unread:
                yield Odd(kind, error.message)
            unread.add(error.message)


def _identity(repository: Repository) -> Iterator[Odd]:
    if told := identity.trouble(repository.root):
        yield Odd("repository", f"{told}; {MEND}")


def _log(repository: Repository) -> Iterator[Odd]:
    history = repository.history
    damaged = events.damaged(history.log)
    for line in damaged:
        yield Odd("events", f"the event log is damaged at byte {line.start}; {ACCEPT}")
    if not damaged and (trouble := gaps.trouble(history)):
        yield Odd("events", f"{trouble.message}; {RUN if trouble.message == gaps.SHORTER else ACCEPT}")


def _pointers(repository: Repository) -> Iterator[Odd]:
    """The note of what is current must be whole, and name every source whose live state was backed up."""
    live = _live(repository)
    try:
        missing = sorted(live - set(repository.pointers()))
    except (DamageError, OSError) as error:
        yield Odd("pointer", f"{error}; {MEND}")
        return
    if missing:
        told = f"current-pointer.json doesn't name what is current of {', '.join(missing)}"
        yield Odd("pointer", f"{told}; {MEND}")


def point_again(repository: Repository) -> None:
    """Note again what each live source was left with, where that was lost; the caller holds the lock."""
    try:
        known = repository.pointers()
    except (DamageError, OSError):
        known = {}
    for source in _live(repository) - known.keys():
        with suppress(NotFoundError):
            repository.point(source, repository.standing_of(source).id)


def _live(repository: Repository) -> set[str]:
    lines = events.mentioning(repository.history.log, b'"live":true')
    return {line.event["source"] for line in lines if line.event and line.event.get("live")}


def _vanished(repository: Repository) -> Iterator[Odd]:
    for backup, source in sorted(gaps.vanished(repository.history).items()):
        yield Odd("backup", f"backup {backup} of {source} vanished; {ACCEPT}", backup)


def _rollback(repository: Repository) -> Iterator[Odd]:
    try:
        intent.read(repository.root)
    except DamageError as error:
        yield Odd("rollback", f"{error.message}; {ACCEPT}")


def _catalog(repository: Repository) -> Iterator[Odd]:
    try:
        with repository.history.catalog():
            pass
    except CatalogError as error:
        if any(word in str(error) for word in ("malformed", "not a database")):
            yield Odd("catalog", f"the catalog is damaged ({error}); {MEND}")
