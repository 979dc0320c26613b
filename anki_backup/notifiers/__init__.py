"""Who is told of what happens. A kind of notifier is a file here and a word in `WORDS`.

A driver promises:

- `tell` delivers one message, or raises NotifierError in our words; it waits no
  longer than its settings say, and never shows its own address.
- `hears` says which kinds of message it wants: a monitor hears of the start and
  the end of every run, people of what changed.
- A driver reads its own table of the configuration, and knows nothing of the
  repository.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal["start", "success", "failure", "failed", "still", "recovered", "alarm", "digest", "test"]
EVERY_RUN: frozenset[Kind] = frozenset(("start", "success", "failure", "test"))
CHANGES: frozenset[Kind] = frozenset(("failed", "still", "recovered", "alarm", "digest", "test"))
WORDS = {"ping": "anki_backup.notifiers.ping", "apprise": "anki_backup.notifiers.apprise"}


class Message(NamedTuple):
    """What is told: of which source (none for a digest), a line, and the whole of it."""

    kind: Kind
    source: str | None
    title: str
    body: str


class Notifier(Protocol):
    """What a driver's class does."""

    hears: frozenset[Kind]

    def tell(self, message: Message) -> None:
        """Deliver a message, or raise NotifierError."""


def make(config: Any) -> dict[str, Notifier]:
    """Return the notifiers that a configuration asks for, by their words."""
    found: dict[str, Notifier] = {}
    for word, module in WORDS.items():
        settings = getattr(config, word)
        if settings.url is not None or getattr(settings, "file", None) is not None:
            found[word] = import_module(module).make(settings)
    return found
