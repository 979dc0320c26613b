"""What may be written where others read it: texts without the secrets that we know of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from anki_backup.values import REDACTED

# Shorter ones would turn up in half of all words.
SHORTEST = 4
TELLING = 10
USERINFO = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]+(?=@)")
SECRET_NAME = re.compile(r"(?i)^ANKIBAK_.*(PASSWORD|TOKEN|SECRET|URL)$")
ASSIGNED = re.compile(r"(?i)\b(password|passwd|token|secret|hkey|api_?key|authorization)(\s*[=:]\s*)(\S+)")


def parts(secret: str) -> list[str]:
    """Return a secret and, where it is a URL, the long parts of it that are as good as the whole."""
    if "://" not in secret:
        return [secret]
    return [secret, *(part for part in re.split(r"[/:@?&=]", secret) if len(part) >= TELLING)]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text in which known secrets, logins in URLs and what is called a password can't be read."""
    for secret in sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = USERINFO.sub(REDACTED, text)
    return ASSIGNED.sub(rf"\1\2{REDACTED}", text)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for other programs: without our own secrets."""
    return {name: value for name, value in environ.items() if not SECRET_NAME.match(name)}


def in_environment(environ: Mapping[str, str]) -> list[str]:
    """Return the secrets that an environment holds."""
    return [value for name, value in environ.items() if SECRET_NAME.match(name) and value]
