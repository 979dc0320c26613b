"""Requests to the real `ankibak serve`, mangled: each is sent as bytes, by a stranger and by the owner.

What is asked stands in the inputs with names in braces, `{token}` or `{id}`, which are
filled in for who asks; `{length}` is that of the body. The judge reads the same bytes
as the server does, with the same parser, and so knows how many answers are due.
"""

from __future__ import annotations

import json
import re
import socket
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import h11

from anki_backup.web.door import HEADERS_LIMIT
from tests.fuzz import Target
from tests.fuzz.requests import SEEDS, mangle
from tests.fuzz.served import Served

FIT = {200, 202, 206, 303, 304, 400, 401, 403, 404, 405, 409, 413, 416, 421, 422, 429}
# The one that says of itself that the last run is too old.
NOT_READY = b'{"ok":false}\n'
OPEN_TO_ALL = (b'{"ok":true}\n', NOT_READY)
LATE_S = 30.0
# How long an answer may take that is given before its request has ended.
EARLY_S = 0.02
NAMES = re.compile(rb"\{([a-z]+)\}")
TITLE = re.compile(rb"<title>(.*?)</title>", re.DOTALL)
VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9][0-9TZ:.-]*")
SEALED = {b"content-security-policy", b"x-content-type-options", b"referrer-policy", b"cache-control"}
# uvicorn's own, of what is no request.
NO_REQUEST = b"Invalid HTTP request received."


class Asked(NamedTuple):
    """What the bytes of a connection come to: methods of whole requests, and how they go on."""

    methods: list[bytes]
    is_broken: bool
    begun: bytes | None


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@cache
def served() -> Served:
    """The one server of a campaign."""
    return Served()


def read(data: bytes) -> set[object]:
    """Send an input twice; return in what ways it was answered."""
    there = served()
    ways: set[object] = set()
    there.log_in()
    for who, names in (("stranger", there.stranger), ("owner", there.owner)):
        sent = filled(data, {**names, "client": _client(data, who)})
        before = there.files() if who == "stranger" else {}
        for answer in ask(there.port, sent):
            judge(answer, sent, who, there)
            ways.add((who, answer.status, _kind(answer)))
        if who == "owner":
            there.wait_for_jobs()
        else:
            after = there.files()
            changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            assert not changed, f"a stranger changed {sorted(changed)[:9]}"
    alive = ask(there.port, b"GET /api/v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert [answer.status for answer in alive] == [200], alive
    there.watch()
    return ways


def _client(data: bytes, who: str) -> str:
    mark = zlib.crc32(data + who.encode())
    return f"10.{mark >> 16 & 255}.{mark >> 8 & 255}.{mark & 255}"


def filled(data: bytes, names: Mapping[str, str]) -> bytes:
    """Return an input with its names filled in."""

    def one(match: re.Match[bytes]) -> bytes:
        return names.get(match[1].decode(), match[0].decode()).encode()

    made = NAMES.sub(one, data)
    length = len(made) - made.find(b"\r\n\r\n") - 4
    return made.replace(b"{length}", b"%d" % length)


def understood(sent: bytes) -> Asked:
    """Return what a server with h11 takes the bytes of a connection for."""
    there = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS_LIMIT)
    there.receive_data(sent)
    methods: list[bytes] = []
    begun: bytes | None = None
    while True:
        try:
            event = there.next_event()
        except h11.RemoteProtocolError:
            return Asked(methods, True, begun)
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return Asked(methods, False, begun)
        if isinstance(event, h11.Request):
            begun = event.method
        elif isinstance(event, h11.EndOfMessage):
            assert begun is not None
            methods.append(begun)
            begun = None
            there.send(h11.Response(status_code=405, headers=[("content-length", "0")]))
            there.send(h11.EndOfMessage())
            if there.our_state is not h11.DONE:
                return Asked(methods, False, None)
            there.start_next_cycle()


def ask(port: int, sent: bytes) -> list[Answer]:
    """Send bytes, and return all whole answers; fail where one is missing that is due."""
    due = understood(sent)
    answers: list[Answer] = []
    with socket.create_connection(("127.0.0.1", port), timeout=LATE_S) as connection:
        received = b""
        closed = False
        with suppress(ConnectionError):
            connection.sendall(sent)
        # One more may come: of what is no request, or before a request has ended.
        for method in [*due.methods, None]:
            if method is None:
                if not (due.is_broken or due.begun):
                    break
                if not due.is_broken:
                    connection.settimeout(EARLY_S)
            client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
            client.send(
                h11.Request(method=method or due.begun or b"GET", target="/", headers=[("host", "x")])
            )
            client.send(h11.EndOfMessage())
            answer, received, closed = _receive(connection, client, received, closed)
            if answer is None:
                assert method is None, (
                    f"no answer to {len(answers) + 1} of {due}: closed {closed}, {received[:200]!r}"
                )
                break
            answers.append(answer)
    return answers


def _receive(
    connection: socket.socket, client: h11.Connection, received: bytes, closed: bool
) -> tuple[Answer | None, bytes, bool]:
    """Return the next answer, what came after it, and whether the server has hung up."""
    deadline = time.monotonic() + LATE_S
    if received:
        client.receive_data(received)
    head: h11.Response | None = None
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Answer(head.status_code, dict(head.headers), body), client.trailing_data[0], closed
        elif event is h11.NEED_DATA:
            if closed:
                client.receive_data(b"")
                if head is None:
                    return None, b"", True
                continue
            assert time.monotonic() < deadline, "the answer has no end"
            try:
                block = connection.recv(1 << 16)
            except TimeoutError:
                return None, received, False
            except ConnectionError:
                block = b""
            closed = not block
            if block:
                client.receive_data(block)
        elif isinstance(event, h11.ConnectionClosed):
            return None, b"", True


def judge(answer: Answer, sent: bytes, who: str, there: Served) -> None:
    """Fail where an answer is none that may be given to who asks."""
    status, headers, body = answer
    told = f"{status} {body[:300]!r}"
    assert status in FIT or (status, body) in ((503, NOT_READY), (503, b"")), told
    if status == 400 and headers[b"content-type"].startswith(b"text/plain"):
        assert body in (NO_REQUEST, b""), told
        return
    assert headers.keys() >= SEALED, f"headers are missing: {sorted(headers)}"
    is_json = headers.get(b"content-type", b"").startswith(b"application/json")
    if status >= 400 and is_json and body and status != 503:
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message", "hint"} and error["code"], told
    if status >= 400 or who == "stranger":
        secret = [each for each in there.secrets if each in body and each not in sent]
        assert not secret, f"{secret} was told: {told}"
        assert there.path not in body and b"Traceback" not in body, told
    if who == "stranger":
        assert status not in (202, 206), told
        if status == 200:
            is_ours = b'name="password"' in body or headers[b"content-type"].startswith(b"text/css")
            assert not body or is_ours or body in OPEN_TO_ALL, told
        if status == 303:
            assert headers[b"location"].startswith(b"/login"), headers


def _kind(answer: Answer) -> str:
    """Return what an answer is about, without what is different each time."""
    kind = answer.headers.get(b"content-type", b"").decode("latin-1")
    if kind.startswith("application/json") and answer.body:
        told = json.loads(answer.body)
        if answer.status >= 400 and "error" in told:
            return VARYING.sub("…", f"{told['error']['code']}: {told['error']['message']}")[:60]
        return f"json {sorted(told)}"
    title = TITLE.search(answer.body)
    said = title[1] if title else answer.headers.get(b"location", b"")[:6]
    return f"{kind} {VARYING.sub('…', said.decode('utf-8', 'replace'))[:60]}"


def end() -> str:
    """Look once more, when nothing is asked any more; return what the server took."""
    return served().settled()


TARGET = Target("http", read, SEEDS, mangle=mangle, end=end, runs=20_000)
