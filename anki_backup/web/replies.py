"""What goes back: JSON as `--json` prints it, pages, errors in one shape."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from litestar import Request, Response
from msgspec import to_builtins

from anki_backup.errors import (
    AnkibakError,
    BusyError,
    ConfigError,
    DamageError,
    NotFoundError,
    UsageError,
)

STATUS: dict[type, int] = {
    NotFoundError: 404,
    UsageError: 400,
    ConfigError: 400,
    BusyError: 409,
    DamageError: 422,
}
WORDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    416: "range",
    421: "misdirected",
    422: "damaged",
    429: "too_many",
    500: "failed",
    503: "unavailable",
}
GZIP = re.compile(r"(?:^|,)\s*(?:x-)?gzip\s*(?:,|$|;(?!\s*q=0(?:\.0*)?\s*(?:,|$)))")
SURROGATES = re.compile("[\ud800-\udfff]")


class Refused(AnkibakError):
    """The request can't be answered as it is; `status` says why, `headers` tell programs more."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str | None = None,
        wait_s: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.code, self.wait_s = status, WORDS[status], wait_s
        self.headers = {**(headers or {}), **({"Retry-After": str(wait_s)} if wait_s else {})}


def status_of(error: AnkibakError) -> int:
    """Return the HTTP status of one of our errors."""
    if isinstance(error, Refused):
        return error.status
    kinds = [kind for kind in type(error).__mro__ if kind in STATUS]
    return STATUS[kinds[0]] if kinds else 500


def headers_of(error: AnkibakError) -> dict[str, str]:
    """Return the headers that go with one of our errors."""
    return error.headers if isinstance(error, Refused) else {}


def encode(value: Any) -> bytes:
    """Return a document as `--json` prints it: ASCII, with `schema` first."""
    plain: Any = value if isinstance(value, Mapping) else to_builtins(value)
    return (json.dumps({"schema": 1, **plain}, default=to_builtins) + "\n").encode("ascii")


def wants_page(scope: Mapping[str, Any]) -> bool:
    """Say whether who asks is to be told in a page: a program never is."""
    wants = dict(scope["headers"]).get(b"accept", b"")
    return b"text/html" in wants and not scope["path"].startswith("/api/")


def is_known(request: Request[Any, Any, Any], tag: str) -> bool:
    """Say whether who asks has that already which an ETag names."""
    known = request.headers.get("if-none-match", "")
    return tag in known or known.strip() == "*"


def takes_gzip(request: Request[Any, Any, Any]) -> bool:
    """Say whether who asks can unpack gzip."""
    return bool(GZIP.search(request.headers.get("accept-encoding", "").lower()))


def document(request: Request[Any, Any, Any], value: Any, status: int = 200) -> Response[bytes]:
    """Return a JSON document with its ETag, or 304 where the client has it."""
    body = encode(value)
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if status == 200 and is_known(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type="application/json")
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def refusal(error: AnkibakError) -> bytes:
    """Return an error as every JSON answer has it."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return (json.dumps({"error": told}) + "\n").encode("ascii")


def html(text: str) -> bytes:
    """Return a page's bytes; halves of characters, as names of files may have them, become marks."""
    return SURROGATES.sub("\ufffd", text).encode("utf-8")
