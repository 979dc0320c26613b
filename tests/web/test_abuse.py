"""Raw sockets: what no client sends, and a server has to live through."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.web.conftest import Served, csrf

REFUSED = set("400 403 404 405 408 411 413 414 421 422 431 501 505 closed".split())
# Whoever never ends a request waits until somebody gives up; that harms nobody else.
OPEN_ENDED = REFUSED | {"timeout"}
PATHS = [
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%5c..%5cetc",
    "/%252e%252e%252fetc%252fpasswd",
    "/a%00b",
    "/%ff%fe",
    "//evil.example/x",
    "/" + "a" * 9000,
    "/2026-01-01T00-00-00Z%0a",
    "/2026-01-01T00-00-00Z%0d%0aX-Injected:%201",
]
LENGTHS = [
    ("10^18", "Content-Length: 1000000000000000000\r\n\r\n", REFUSED),
    ("negative", "Content-Length: -1\r\n\r\n", REFUSED),
    ("two", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", REFUSED),
    (
        "and chunked",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
        REFUSED,
    ),
    ("huge chunk", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", OPEN_ENDED),
]
ODD = [
    ("no host", b"GET /api/v1/backups HTTP/1.1\r\n\r\n", REFUSED),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", REFUSED),
    ("noise", bytes(range(256)) * 8, OPEN_ENDED),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, OPEN_ENDED),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", REFUSED),
    ("NUL in a header", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n c\r\n\r\n", REFUSED),
    ("a large header", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", REFUSED),
    (
        "20,000 headers",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        + b"".join(b"X%d: 1\r\n" % n for n in range(20_000))
        + b"\r\n",
        REFUSED,
    ),
]


def talk(served: Served, data: bytes, wait: float = 3) -> tuple[str, bytes]:
    """Send bytes; return the status, `closed` or `timeout`, and what came back."""
    out = b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=wait) as connection:
        try:
            connection.sendall(data)
            while b"\r\n\r\n" not in out and (block := connection.recv(65536)):
                out += block
        except TimeoutError:
            return "timeout", out
        except (ConnectionError, BrokenPipeError):
            pass
    return (out.split(b" ", 2)[1].decode() if out.startswith(b"HTTP/") else "closed"), out


def alive(served: Served) -> bool:
    started = time.monotonic()
    with served.client() as client:
        answer = client.get("/api/v1/backups?limit=1")
    return answer.status_code == 200 and time.monotonic() - started < 5


def head(served: Served, line: str) -> str:
    return f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
def test_no_path_leads_out(served: Served, path: str):
    status, out = talk(served, head(served, f"GET /api/v1/backups{path}").encode() + b"\r\n")
    assert status in REFUSED and b"root:" not in out and b"X-Injected" not in out
    assert alive(served)


@pytest.mark.parametrize(("name", "rest", "right"), LENGTHS, ids=[name for name, _, _ in LENGTHS])
def test_lengths_that_lie(served: Served, name: str, rest: str, right: set[str]):
    assert talk(served, (head(served, "POST /api/v1/runs") + rest).encode(), 2)[0] in right
    assert alive(served)


@pytest.mark.parametrize(("name", "data", "right"), ODD, ids=[name for name, _, _ in ODD])
def test_requests_that_are_none(served: Served, name: str, data: bytes, right: set[str]):
    assert talk(served, data, 2)[0] in right
    assert alive(served)


def test_forty_slow_clients_keep_nobody_waiting(served: Served):
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(40)]
    try:
        worst = 0.0
        for _ in range(4):
            for connection in slow:
                connection.sendall(b"GET / HTTP/1.1\r\n"[:1])
            started = time.monotonic()
            assert alive(served)
            worst = max(worst, time.monotonic() - started)
        # A second on a machine of its own; tests share theirs.
        assert worst < 3
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("path", ["/runs", "/login"])
def test_an_origin_that_is_no_address_is_another_site(served: Served, path: str):
    with served.client(None) as client:
        assert client.post(path, headers={"Origin": "http://[::1"}).status_code == 403


@pytest.mark.parametrize(("path", "form"), [("/api/v1/runs", ""), ("/api/v1/backups/latest/rollback", "a=b")])
def test_a_request_that_ends_early_starts_nothing(served: Served, path: str, form: str):
    with served.client() as client:
        before = sorted((served.place / "repository" / "state").rglob("*"))
        kind = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\n"
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall((head(served, f"POST {path}") + kind + form).encode())
        # Answered by the same loop, after it has heard that the other one is gone.
        assert [client.get("/api/v1/status").status_code for _ in range(5)] == [200] * 5
        time.sleep(0.3)
    assert sorted((served.place / "repository" / "state").rglob("*")) == before


def test_a_label_with_a_nul_is_a_mistake_of_who_asks(served: Served):
    with served.browser() as client:
        mark = csrf(client.get("/runs"))
        form = {"csrf": mark, "label": "a\0b"}
        answer = client.post("/backups/latest/pin", data=form, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")


def test_what_clients_do_wrong_is_no_news(serve):
    """Whoever can reach the server could fill its log."""
    served = serve()
    broken = head(served, "POST /api/v1/runs") + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"
    upgrade = head(served, "GET /runs") + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for data in (b"nonsense\r\n\r\n", broken.encode(), upgrade.encode(), bytes(99)):
        assert talk(served, data)[0] in REFUSED | {"200"}
    assert served.end() == 143
    assert served.process.stderr.read() == "ankibak: stopped by SIGTERM\n"


def descriptors(served: Served) -> int:
    return len(os.listdir(f"/proc/{served.process.pid}/fd"))


def test_downloads_that_are_broken_off_leave_nothing_open(served: Served):
    def broken_off(word: str) -> None:
        path = f"/api/v1/backups/latest/download?format={word}"
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(head(served, f"GET {path}").encode() + b"\r\n")
            connection.recv(100)

    assert alive(served)
    before = descriptors(served)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(broken_off, ["anki2", "tar.zst", "zip", "colpkg"] * 5))
    for _ in range(50):
        if descriptors(served) <= before + 1:
            break
        time.sleep(0.1)
    assert descriptors(served) <= before + 1
    assert alive(served)
