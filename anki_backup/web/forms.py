"""Forms: the body of a request, read once and bounded, and short answers of our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from anki_backup.web.replies import Refused

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT = 64 << 10
COOKIE = "ankibak"


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    told = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    told.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


async def read_body(headers: Mapping[str, str], receive: Receive) -> bytes:
    """Read a body of at most 64 KiB; Refused (413) for a larger one, before it is read."""
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 18:
        raise Refused(400, "the length of the request is no number")
    if int(length) > BODY_LIMIT:
        raise Refused(413, "the request is too large")
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            # What is there may read like a whole form, and mean something else.
            raise Refused(400, "the request ended early")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise Refused(413, "the request is too large")
    return body


def read_form(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    try:
        pairs = parse_qs(body.decode("utf-8", "replace"), max_num_fields=50, keep_blank_values=True)
    except ValueError:
        raise Refused(400, "the form has too many fields") from None
    return {name: values[-1] for name, values in pairs.items()}


def again(body: bytes) -> Receive:
    """Give a body that was read to whoever reads it next."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def cookie(header: str) -> str | None:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None
