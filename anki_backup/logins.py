"""Who may use the web view: one password, API tokens, sessions. Only hashes are kept.

A session or
token is 32 random bytes, so its SHA-256 is all that is needed to know it again; the
password is a person's, so it is hashed by scrypt (RFC 7914).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, ValidationError, convert, to_builtins

from anki_backup.errors import ConfigError, NotFoundError, UsageError
from anki_backup.secrets import Secrets

# 32 MiB and some 60 ms for each guess.
COST = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}
SHORTEST, LONGEST = 8, 1024
SESSION_DAYS = 30
MOST_SESSIONS = 200
TOKEN_PREFIX = "ankibak_"
T = TypeVar("T")


class Password(Struct, frozen=True, kw_only=True):
    """What is kept of the password."""

    salt: str
    scrypt: str
    set_at: datetime


class Token(Struct, frozen=True, kw_only=True):
    """What is kept of an API token; `name` is what a person calls it."""

    name: str
    sha256: str
    created_at: datetime


class Session(Struct, frozen=True, kw_only=True):
    """What is kept of a login."""

    sha256: str
    expires_at: datetime


class Logins:
    """The logins of one repository; several processes may use them at once."""

    def __init__(self, root: Path) -> None:
        self.secrets = Secrets(root / "state" / "secrets")

    # The password

    def set_password(self, text: str) -> None:
        """Keep a password's hash, and end every session: they were for the old one."""
        if not SHORTEST <= len(text) <= LONGEST:
            raise UsageError(
                f"the password has {len(text)} characters", hint=f"Choose one of {SHORTEST} to {LONGEST}."
            )
        salt = secrets.token_bytes(16)
        kept = Password(salt=_text(salt), scrypt=_text(_scrypt(text, salt)), set_at=datetime.now(UTC))
        self._write("web-password.json", kept)
        self._write("web-sessions.json", [])

    def has_password(self) -> bool:
        return self._read("web-password.json", Password) is not None

    def is_password(self, text: str) -> bool:
        """Say whether it is the password, in the same time whether there is one or not."""
        kept = self._read("web-password.json", Password)
        salt = base64.b64decode(kept.salt) if kept else bytes(16)
        made = _scrypt(text[: LONGEST + 1], salt)
        return kept is not None and hmac.compare_digest(made, base64.b64decode(kept.scrypt))

    # Sessions

    def begin(self, now: datetime) -> str:
        """Return the secret of a new session; it ends after 30 days, whatever becomes of this process."""
        secret = secrets.token_urlsafe(32)
        kept = [session for session in self._sessions() if session.expires_at > now]
        fresh = Session(sha256=_digest(secret), expires_at=now + timedelta(days=SESSION_DAYS))
        self._write("web-sessions.json", [*kept[-MOST_SESSIONS + 1 :], fresh])
        return secret

    def is_session(self, secret: str, now: datetime) -> bool:
        """Say whether it is the secret of a session that goes on."""
        wanted = _digest(secret)
        found = [s for s in self._sessions() if hmac.compare_digest(s.sha256, wanted) and s.expires_at > now]
        return bool(found)

    def end(self, secret: str) -> None:
        """End a session, if it is one."""
        wanted = _digest(secret)
        self._write("web-sessions.json", [s for s in self._sessions() if s.sha256 != wanted])

    def _sessions(self) -> list[Session]:
        return self._read("web-sessions.json", list[Session]) or []

    # Tokens

    def tokens(self) -> list[Token]:
        """Return what is known of the tokens, oldest first."""
        return self._read("web-tokens.json", list[Token]) or []

    def add_token(self, name: str) -> str:
        """Make a token and return it; it can't be shown again. UsageError where the name is taken."""
        known = self.tokens()
        if not name.isprintable() or not 0 < len(name) <= 80:
            raise UsageError("a token's name is one line of at most 80 characters")
        if any(token.name == name for token in known):
            raise UsageError(
                f"there is a token {name!r} already",
                hint=f"Choose another name, or first: ankibak token revoke {name}",
            )
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        fresh = Token(name=name, sha256=_digest(secret), created_at=datetime.now(UTC).replace(microsecond=0))
        self._write("web-tokens.json", [*known, fresh])
        return secret

    def revoke(self, name: str) -> None:
        """Forget a token; NotFoundError if there is none of that name."""
        known = self.tokens()
        if all(token.name != name for token in known):
            raise NotFoundError(f"there is no token {name!r}", hint="See them: ankibak token list")
        self._write("web-tokens.json", [token for token in known if token.name != name])

    def token(self, secret: str) -> str | None:
        """Return the name of a token by its secret, None if it is none."""
        wanted, found = _digest(secret), None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256, wanted):
                found = token.name
        return found

    # Files

    def _read(self, name: str, kind: type[T]) -> T | None:
        data = self.secrets.read(name)
        if data is None:
            return None
        try:
            return convert(json.loads(data), kind)
        except (ValueError, ValidationError) as error:
            raise ConfigError(
                f"{self.secrets.folder / name} is damaged",
                hint="Remove it, then: ankibak passwd, ankibak token add NAME",
            ) from error

    def _write(self, name: str, value: Any) -> None:
        self.secrets.write(name, json.dumps(to_builtins(value)).encode() + b"\n")


def _scrypt(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **COST)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
