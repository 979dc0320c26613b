"""The host key that a password was exchanged for, and which password was refused."""

from __future__ import annotations

import hashlib
import json
import os
from typing import NamedTuple

from anki_backup.errors import DamageError
from anki_backup.model import load
from anki_backup.secrets import Secrets
from anki_backup.values import Secret

SALT_BYTES = 16


class HostKey(NamedTuple):
    """A host key, and the address that the server gave to use it at."""

    text: str
    endpoint: str | None


class HostKeys:
    """The key of one source in `secrets`; it counts only for the account that it was given for."""

    def __init__(self, secrets: Secrets, source: str, account: str) -> None:
        self._secrets = secrets
        self._key, self._refused = f"{source}.key", f"{source}.refused"
        self._account = account

    def read(self) -> HostKey | None:
        """Return the key; None if there is none, or one of another account."""
        data = self._secrets.read(self._key)
        try:
            found = load(data, "the host key") if data else {}
            if found["account"] == self._account:
                return HostKey(found["key"], found["endpoint"])
        except (KeyError, TypeError, DamageError):
            pass
        return None

    def keep(self, key: HostKey) -> None:
        """Keep a key in place of the one before."""
        fields = {"account": self._account, "key": key.text, "endpoint": key.endpoint}
        self._secrets.write(self._key, json.dumps(fields).encode())

    def forget(self) -> bool:
        """Forget the key, and what was refused; say whether there was a key."""
        self._secrets.forget(self._refused)
        return self._secrets.forget(self._key)

    def note_refused(self, password: Secret) -> None:
        """Remember by a slow hash that this password was refused."""
        salt = os.urandom(SALT_BYTES)
        self._secrets.write(self._refused, salt + _derived(password, salt))

    def was_refused(self, password: Secret) -> bool:
        """Say whether this password was refused before.

        Servers lock accounts after too many wrong logins, and a timer never tires.
        """
        known = self._secrets.read(self._refused)
        return known is not None and known[SALT_BYTES:] == _derived(password, known[:SALT_BYTES])

    def clear_refused(self) -> None:
        """Forget what was refused."""
        self._secrets.forget(self._refused)


def _derived(password: Secret, salt: bytes) -> bytes:
    return hashlib.scrypt(password.reveal().encode(), salt=salt, n=1 << 14, r=8, p=1)
