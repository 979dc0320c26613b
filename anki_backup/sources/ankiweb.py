"""An account on AnkiWeb or on a sync server of one's own, kept current in a mirror by Anki's library.

The first `look` is the conversation with the server: one small question, and what
is new is fetched. Later ones only look at the mirror. Nothing is ever sent: see
`mirror` for what makes sure of that, and `device` for what is said.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from anki_backup import credentials, library
from anki_backup.answers import MEDIA_DOUBT, REFUSED, Refusal
from anki_backup.device import Device, Server, Unfaithful, apart, login
from anki_backup.errors import SourceError
from anki_backup.hostkeys import HostKey, HostKeys
from anki_backup.mirror import Mirror
from anki_backup.model import CaptureFacts, file_name_text
from anki_backup.secrets import Secrets
from anki_backup.sender import Sender
from anki_backup.sources import Capture, FileState, Means, Sighting
from anki_backup.values import Secret

PAUSE_S = 2.0
TELL_S = 0.25
DOUBTS = 2


class Account:
    """One account, its mirror in `means.mirror` and its key in `means.secrets`."""

    is_live = False
    is_ours = True

    def __init__(self, name: str, settings: Any, means: Means) -> None:
        assert means.mirror and means.secrets, "an account needs a place for its mirror and its key"
        self.name = name
        self._settings = settings
        self._means = means
        self._server = Server(
            name, _directory(settings.endpoint), max(1, round(settings.timeout.total_seconds()))
        )
        # Another account, or the same name elsewhere, is another mirror and another key.
        account = f"{settings.username} at {self._server.endpoint or 'AnkiWeb'}"
        self._mirror = Mirror(means.mirror, account)
        self._keys = HostKeys(Secrets(means.secrets), name, account)
        self.media = self._mirror.media
        self._device: Device | None = None
        self._asked = False
        self._sync_ms = 0
        self._warnings: list[str] = []

    # What every source does

    def look(self) -> Sighting:
        """Bring the mirror up to date, once; return the state of its file."""
        if not self._asked:
            started = time.monotonic()
            with library.zoned(self._settings.timezone or self._means.zone):
                self._converse()
            self._sync_ms = round((time.monotonic() - started) * 1000)
            self._asked = True
        return self._sighting()

    def capture(self, work: Any, wait_s: float) -> Capture:
        """Return the mirror's closed file."""
        sighting = self.look()
        path = self._mirror.collection
        facts = CaptureFacts(path=file_name_text(bytes(path)), warnings=self._warnings)
        revision = self._mirror.revision
        return Capture(path, False, sighting, facts, revision, self._sync_ms, library.version())

    def doubt(self) -> None:
        """Throw the mirror's collection away: what was captured is damaged, and can be had again."""
        self._mirror.discard_collection()

    def foresee(self) -> str | None:
        """Return why a run would make a backup, "unchanged" if it would not, without fetching anything.

        Of media the server says nothing unless it is synced with, so they are not asked about.
        """
        key = self._keys.read()
        if not key and self.provided_password() is None:
            raise _needs_login(self.name, self._server)
        if not self._mirror.peek() or not key:
            return "the account is to be fetched first"
        device = Device(self._mirror, self._server, key.text, key.endpoint)
        try:
            with library.zoned(self._settings.timezone or self._means.zone):
                news = apart(lambda: self._has_news(device), device.stop, self._limit_s, self._server)
        finally:
            device.close()
        return "the account changed" if news else "unchanged"

    @staticmethod
    def _has_news(device: Device) -> bool:
        try:
            device.open()
            return device.has_news()
        except Unfaithful:
            return True
        finally:
            device.close()

    def sender(self) -> Sender:
        """Return the device that can replace the account; only a push asks for it, after it looked."""
        key = self._keys.read()
        if key is None:
            raise _needs_login(self.name, self._server)
        zone = self._settings.timezone or self._means.zone
        return Sender(self._mirror, self._server, key, zone, self._limit_s)

    # The login

    def login(self, password: Secret) -> None:
        """Exchange a password for a host key, and keep only the key."""
        key, endpoint = apart(
            lambda: login(self._server, self._settings.username, password.reveal()),
            lambda: None,
            self._limit_s,
            self._server,
        )
        self._keys.keep(HostKey(key, endpoint))
        self._keys.clear_refused()

    def logout(self) -> bool:
        """Forget the host key; say whether there was one."""
        return self._keys.forget()

    @property
    def is_logged_in(self) -> bool:
        """Whether a host key is kept."""
        return self._keys.read() is not None

    def provided_password(self) -> Secret | None:
        """Return the password that the configuration or systemd provides, None if none does."""
        return credentials.password(self.name, self._settings, self._means.credentials)

    def _login_with_what_is_provided(self) -> HostKey:
        """Log in with the provided password; one that was refused is not tried again."""
        password = self.provided_password()
        if password is None:
            raise _needs_login(self.name, self._server)
        if self._keys.was_refused(password):
            raise Refusal(REFUSED, self._server.name, self.name)
        try:
            self.login(password)
        except Refusal as refusal:
            if refusal.code == REFUSED.word:
                self._keys.note_refused(password)
            raise
        key = self._keys.read()
        assert key, "it was just kept"
        return key

    # The conversation

    @property
    def _limit_s(self) -> float:
        return float(self._settings.time_limit.total_seconds())

    def _converse(self) -> None:
        deadline = time.monotonic() + self._limit_s
        known = self._keys.read()
        key, fresh = known or self._login_with_what_is_provided(), known is None
        tries = 0
        while True:
            try:
                left = max(0.1, deadline - time.monotonic())
                return apart(lambda: self._sync(key), self._stop, left, self._server)  # noqa: B023
            except Refusal as refusal:
                if refusal.code == REFUSED.word and not fresh:
                    # The key is no longer good: the password was changed. A provided one may be the new one.
                    if self.provided_password() is None:
                        raise
                    fresh, key = True, self._login_with_what_is_provided()
                    continue
                pause = PAUSE_S * 2**tries * random.uniform(0.5, 1.5)
                tries += 1
                if not refusal.again or tries > self._settings.retries or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)

    def _stop(self) -> None:
        if self._device:
            self._device.stop()

    def _sync(self, key: HostKey) -> None:
        """Sync the collection, then the media; what is in doubt is fetched afresh, once."""
        self._mirror.load()
        for doubts in range(DOUBTS):
            before = self._mirror.known.revision
            device = self._device = Device(self._mirror, self._server, key.text, key.endpoint)
            try:
                device.open()
                revision = device.sync()
            except Refusal:
                device.close()
                if device.rolled_back:
                    self._mirror.keep_collection(before)
                raise
            except Unfaithful:
                device.close()
                self._mirror.discard_collection()
                if doubts + 1 == DOUBTS:
                    raise SourceError(
                        f"{self._server.name} gave a collection that the library then refused",
                        hint="Run again; if it comes again, use Check Database in Anki and sync.",
                    ) from None
                continue
            finally:
                device.close()
            break
        self._mirror.keep_collection(revision)
        if device.message:
            self._warnings.append(f"{self._server.name} says: {device.message[:300]}")
        if device.endpoint != key.endpoint:
            key = HostKey(key.text, device.endpoint)
            self._keys.keep(key)
        try:
            self._sync_media(key, device.media_usn)
        except Refusal as refusal:
            if refusal.code != MEDIA_DOUBT.word:
                raise
            self._sync_media(key, device.media_usn)

    def _sync_media(self, key: HostKey, usn: int | None) -> None:
        mirror = self._mirror
        thorough = self._means.rehash
        if mirror.known.media_usn == usn and mirror.media_are_as_left(thorough=thorough):
            return
        # Now the library will compare folder and list, so they are compared before, by us.
        if not mirror.settle_media(at_most=usn, thorough=thorough):
            mirror.discard_media()
        done = False
        device = self._device = Device(mirror, self._server, key.text, key.endpoint)
        try:
            device.open()
            with self._means.fetching(f"media of {self.name}") as tell:
                device.sync_media(self._now_and_then(tell))
            done = True
        except Unfaithful:
            raise SourceError(
                f"the mirror of {self.name} changed while it was synced", hint="Run again."
            ) from None
        finally:
            device.close()
            if not mirror.settle_media(synced=done):
                mirror.discard_media()
                if done:
                    raise SourceError(
                        f"the media that {self._server.name} gave are not what it said",
                        hint="Run again: they are fetched afresh. If it comes again, look at the disk.",
                    )

    def _now_and_then(self, tell: Callable[[int, int], object]) -> Callable[[], None]:
        last = time.monotonic()

        def told() -> None:
            nonlocal last
            if time.monotonic() - last >= TELL_S:
                tell(*self._mirror.media_bytes())
                last = time.monotonic()

        return told

    def _sighting(self) -> Sighting:
        state = os.stat(self._mirror.collection, follow_symlinks=False)
        own: FileState = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        return Sighting(own, None, None)


def make(name: str, settings: Any, tries: int, means: Means) -> Account:
    """Return the source that a `kind = "ankiweb"` table describes."""
    return Account(name, settings, means)


def _directory(endpoint: str | None) -> str | None:
    """Return an address as the library needs it: without the last `/` it would drop the last word."""
    return endpoint if endpoint is None or endpoint.endswith("/") else endpoint + "/"


def _needs_login(name: str, server: Server) -> SourceError:
    error = SourceError(
        f"there is no key yet for {name} at {server.name}", hint=f"Log in once: ankibak login {name}"
    )
    error.code = "login_needed"
    return error
