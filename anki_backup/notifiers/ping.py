"""A monitor that is pinged as https://healthchecks.io/docs/http_api/ describes: start, success, fail.

It raises its own alarm when no ping comes: the one thing that a backup which
stopped can't tell of itself.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from anki_backup.errors import NotifierError
from anki_backup.listeners import PingService
from anki_backup.notifiers import EVERY_RUN, Message

ENDINGS = {"start": "/start", "failure": "/fail", "test": "/log"}
BODY_BYTES = 10_000
TRIES = 2


class Ping:
    """Sends each message to the address of its kind."""

    hears = EVERY_RUN

    def __init__(self, settings: PingService) -> None:
        assert settings.url is not None
        self.url = settings.url.reveal()
        self.timeout_s = settings.timeout.total_seconds()

    def tell(self, message: Message) -> None:
        """Ping; a second time if nobody answered the first."""
        body = message.body.encode("utf-8", "backslashreplace")[:BODY_BYTES]
        problem, final, tries = "", False, 0
        while not final and tries < TRIES:
            problem, final = self._post(message, body)
            tries += 1
            if not problem:
                return
        raise NotifierError(f"the monitor was not told: {problem}", hint="Try it: ankibak notify test")

    def _address(self, message: Message) -> str:
        parts = urlsplit(self.url.replace("{source}", quote(message.source or "ankibak", safe="")))
        path = parts.path.rstrip("/") + ENDINGS.get(message.kind, "")
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def _post(self, message: Message, body: bytes) -> tuple[str, bool]:
        """Return what went wrong, nothing if all is well, and whether to leave it at that."""
        opener = urllib.request.build_opener(_Stay)
        try:
            url = self._address(message)
            if urlsplit(url).scheme not in ("http", "https"):
                return "ping.url is no http or https URL", True
            request = urllib.request.Request(url, data=body, headers={"User-Agent": "ankibak"})
            with opener.open(request, timeout=self.timeout_s):
                return "", True
        except urllib.error.HTTPError as error:
            error.close()
            return f"it answered {error.code}", error.code < 500
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            # The texts of these errors may hold the address, which is a secret.
            named = getattr(reason, "strerror", None) or type(reason).__name__
            return f"it could not be reached ({named})", isinstance(error, ValueError)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A ping that is sent elsewhere is an error: its address is a secret."""

    def redirect_request(self, *args: Any) -> None:
        return None


def make(settings: PingService) -> Ping:
    """Return the notifier."""
    return Ping(settings)
