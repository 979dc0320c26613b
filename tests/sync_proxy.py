"""A proxy in front of a sync server that records every request, and can fail in any way that networks do."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import zstandard

# Where the library says how long a message is before zstd.
SIZE = "anki-original-size"
PER_HOP = {"connection", "content-length", "transfer-encoding", "host"}
# What changes an account; the other three do if there is anything in them.
UPLOADS = {"/sync/upload", "/msync/uploadChanges"}
CARRIERS = {"/sync/applyGraves", "/sync/applyChanges", "/sync/applyChunk"}


class Request(NamedTuple):
    """One request: its path, the bytes of its body up and of the answer down, and what was said."""

    path: str
    up: int
    down: int
    status: int
    said: Any


class Fault(NamedTuple):
    """What happens in place of an answer: a status, a cut after some bytes of it, or a stall."""

    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    cut_before: bool = False
    stall_s: float = 0


class Answer(NamedTuple):
    """An answer on its way down; `length` is what is said of its body, and `cut_after` ends it early."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: int | None = None
    cut_after: int | None = None

    @property
    def message(self) -> bytes | None:
        """What the library would make of it, as far as it can be unpacked; None if it is no message.

        A redirection that leads nowhere is an answer to it like any other.
        """
        if self.status >= 400 or not any(name.lower() == SIZE for name, _ in self.headers):
            return None
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            return unpacker.decompress(self.body[: self.cut_after])
        except zstandard.ZstdError:
            return None

    def of(self, message: bytes) -> Answer:
        """Return it with another message, about whose length nothing lies."""
        headers = [(name, value) for name, value in self.headers if name.lower() != SIZE]
        size = (SIZE, str(len(message)))
        return self._replace(headers=[*headers, size], body=zstandard.compress(message))


class SyncProxy:
    """Listens on a free port of loopback and passes everything on to `upstream`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.seen: list[Request] = []
        self.fault: Callable[[str], Fault | None] = lambda path: None
        # What becomes of an answer of the real server before it goes down.
        self.spoil: Callable[[str, Answer], Answer] = lambda path, answer: answer
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are two writes: the second would wait until the first is acknowledged.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                proxy._pass(self)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self._httpd.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> SyncProxy:
        threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()

    @property
    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [request.path for request in self.seen]

    def sent(self) -> list[Request]:
        """Return the requests that carried anything which changes an account."""
        return [request for request in self.seen if _changes(request)]

    def fail(self, path: str, fault: Fault, times: int = 1 << 30) -> None:
        """Let requests for a path fail, so many times."""
        left = times

        def one(asked: str) -> Fault | None:
            nonlocal left
            if asked != path or left <= 0:
                return None
            left -= 1
            return fault

        self.fault = one

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0)) or _chunks(handler)
        fault = self.fault(handler.path)
        if fault and fault.stall_s:
            time.sleep(fault.stall_s)
        if fault and fault.cut_before:
            return self._cut(handler)
        if fault and fault.status:
            answer = Answer(fault.status, list(fault.headers), fault.body)
        else:
            answer = self.spoil(handler.path, Answer(*self._ask(handler, body)))
        if fault and fault.cut_after is not None:
            answer = answer._replace(cut_after=fault.cut_after)
        status, headers, data, length, cut_after = answer
        self.seen.append(Request(handler.path, len(body), len(data), status, _said(body)))
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data[:cut_after])
        if cut_after is not None or length is not None:
            return self._cut(handler)
        return None

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=60)
        try:
            headers = {name: value for name, value in handler.headers.items() if name.lower() not in PER_HOP}
            upstream.request(handler.command, handler.path, body, headers)
            answer = upstream.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in PER_HOP]
            return answer.status, kept, answer.read()
        finally:
            upstream.close()

    def _cut(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    """Read a body that comes in chunks, as bodies of unknown size do."""
    if "chunked" not in handler.headers.get("transfer-encoding", "").lower():
        return b""
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0] or b"0", 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _said(body: bytes) -> Any:
    try:
        return json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(body))
    except (ValueError, zstandard.ZstdError):
        return None


def _changes(request: Request) -> bool:
    if request.path in UPLOADS:
        return True
    return request.path in CARRIERS and _holds_anything(request.said)


def _holds_anything(said: Any) -> bool:
    """Say whether any list or text in a message holds anything; flags and numbers don't count."""
    if isinstance(said, dict):
        return any(_holds_anything(value) for value in said.values())
    if isinstance(said, list):
        return any(isinstance(value, int) or _holds_anything(value) for value in said)
    return bool(said) and not isinstance(said, bool | int)
