"""Where a collection comes from. A kind of source is a file here and a word in `WORDS`.

A driver promises:

- `look` costs a few system calls and changes nothing, or it asks a server once and
  fetches what is new; it returns the state of the files that a capture would read.
  Equal states mean an untouched collection.
- `capture` gives a file that is one consistent moment of the collection, with
  everything that a WAL holds. The source's own files stay as they are, byte for
  byte, and nothing appears beside them.
- It never hangs, and never gives a stale or torn copy: when it can't do better,
  it raises SourceError with what the person can do.
- A driver reads its own options from its own table of the configuration, and
  knows nothing of the repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from anki_backup.errors import ConfigError, SourceError
from anki_backup.model import CaptureFacts, SourceRevision

WORDS = {"profile": "anki_backup.sources.profile", "ankiweb": "anki_backup.sources.ankiweb"}

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

FileState = tuple[int, int, int, int]


class Sighting(NamedTuple):
    """The size, mtime_ns, ctime_ns and inode of a collection's files; None where one is missing."""

    collection: FileState
    wal: FileState | None
    journal: FileState | None

    @property
    def hot(self) -> bool:
        """Whether committed work may stand outside the main file."""
        return any(state is not None and state[0] > 0 for state in (self.wal, self.journal))

    def states(self) -> list[list[int] | None]:
        """Return the states as JSON has them."""
        return [list(state) if state else None for state in self]

    def settled(self, now_ns: int, racy_ns: int) -> bool:
        """Whether the files are old enough that equal states mean equal bytes."""
        states = [state for state in self if state is not None]
        return all(max(state[1], state[2]) <= now_ns - racy_ns for state in states)


class Capture(NamedTuple):
    """One moment of a collection: in `path` as long as `sighting` holds, or for good if `private`."""

    path: Path
    private: bool
    sighting: Sighting
    facts: CaptureFacts
    revision: SourceRevision | None = None
    sync_ms: int | None = None
    anki_version: str | None = None


Fetching = Callable[[str], AbstractContextManager[Callable[[int, int], object]]]


class Means(NamedTuple):
    """What the caller gives a driver to work with; a local source needs nothing of it.

    `mirror` is the folder in which an account is kept current, `secrets` that of host keys,
    `credentials` systemd's, `zone` that of the people, and `fetching` shows files and
    bytes while they come.
    """

    mirror: Path | None = None
    secrets: Path | None = None
    credentials: Path | None = None
    zone: str | None = None
    rehash: bool = False
    fetching: Fetching = lambda title: nullcontext(lambda files, count: None)


NOTHING = Means()


class Source(Protocol):
    """What a driver's class does."""

    name: str
    media: Path
    is_live: bool  # these are the files that a person's Anki opens
    is_ours: bool  # nobody but this program writes them, so equal states mean equal bytes at any age

    def look(self) -> Sighting:
        """Return the state of the collection's files; those of a mirror are brought up to date before."""

    def capture(self, work: Path, wait_s: float) -> Capture:
        """Return one consistent moment; private copies are made in `work`."""

    def doubt(self) -> None:
        """Hear that a capture was damaged, and throw away what can be had again."""

    def foresee(self) -> str | None:
        """Say what a run would find where `look` would already be a part of one, else None."""


def make(name: str, settings: Any, tries: int, means: Means = NOTHING) -> Source:
    """Return the source of that name; ConfigError for a kind that has no driver."""
    kind = settings.kind
    if kind not in WORDS:
        known = ", ".join(WORDS)
        raise ConfigError(
            f"source {name} is of kind {kind!r}, which this program doesn't have", hint=f"It has: {known}."
        )
    driver: Source = import_module(WORDS[kind]).make(name, settings, tries, means)
    return driver


def open_file(path: Path) -> int:
    """Open a source's file for reading, never through a link and never waiting; SourceError if that fails."""
    try:
        return os.open(path, READ)
    except OSError as error:
        raise SourceError(
            f"can't read {path}: {(error.strerror or '').lower()}", hint="Run as a user who may read it."
        ) from error


@contextmanager
def by_its_own_path(copy: Path, capture: Capture) -> Iterator[None]:
    """What is wrong with our copy is told of the collection, by the path that the person knows."""
    try:
        yield
    except SourceError as error:
        raise SourceError(error.message.replace(str(copy), capture.facts.path), hint=error.hint) from error
