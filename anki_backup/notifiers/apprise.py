"""People, told by whatever Apprise can reach: mail, Telegram, Matrix, ntfy and a hundred others."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from anki_backup.errors import NotifierError
from anki_backup.listeners import AppriseService
from anki_backup.notifiers import CHANGES, Message

TYPES = {"failed": "failure", "still": "failure", "alarm": "warning", "recovered": "success"}


class Apprise:
    """Sends each message to everybody that the URL or the file names."""

    hears = CHANGES

    def __init__(self, settings: AppriseService) -> None:
        self.settings = settings

    def tell(self, message: Message) -> None:
        """Send it to all; NotifierError if any could not be told."""
        kind = TYPES.get(message.kind, "info")
        try:
            told = self._people().notify(title=message.title, body=message.body, notify_type=kind)
        except TypeError:  # what Apprise raises where it knows of nobody
            told = False
        if not told:
            raise NotifierError(
                "Apprise could not tell everybody",
                hint="See whether its URL is right: ankibak notify test",
            )

    def _people(self) -> Any:
        try:
            apprise: Any = import_module("apprise")
        except ImportError as error:
            raise NotifierError(
                "Apprise is not installed", hint="Install it beside ankibak: pipx inject anki-backup apprise"
            ) from error
        # It would print addresses, and the secrets in them.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        people = apprise.Apprise()
        if self.settings.url is not None and not people.add(self.settings.url.reveal()):
            raise NotifierError("apprise.url is nothing that Apprise understands")
        if self.settings.file is not None:
            found = apprise.AppriseConfig()
            found.add(str(self.settings.file))
            people.add(found)
        if not len(people):
            raise NotifierError(f"there is no address in {self.settings.file}")
        return people


def make(settings: AppriseService) -> Apprise:
    """Return the notifier."""
    return Apprise(settings)
