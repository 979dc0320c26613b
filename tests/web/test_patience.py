"""A client that keeps the server waiting holds no place for ever."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest
import uvicorn
from uvicorn.server import ServerState

from anki_backup.web import patience

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
LENGTH = 16 << 20


async def answer(scope, receive, send) -> None:
    """Wait for the whole request, then send 16 MiB."""
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LENGTH)]}
    )
    for _ in range(LENGTH >> 16):
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Return what runs a client, given a port, beside a server that has little patience."""
    monkeypatch.setattr(patience, "ASK_S", 0.4)
    monkeypatch.setattr(patience, "TAKE_S", 0.4)

    async def both(client: Callable[[int], None]) -> None:
        config = uvicorn.Config(answer, http=patience.Patient, lifespan="off", log_config=None)
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: patience.Patient(config, state, {}), "127.0.0.1", 0
        )
        async with server:
            await asyncio.to_thread(client, server.sockets[0].getsockname()[1])
            await asyncio.sleep(0.1)
            assert not state.connections

    return lambda client: asyncio.run(both(client))


def ends(connection: socket.socket) -> bool:
    """Say whether the server ends a connection within some seconds, whatever it sends before."""
    connection.settimeout(5)
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD[:9],
        HEAD,
        b"POST" + HEAD[3:] + b"Content-Length: 9\r\n\r\nhalf",
        b"POST" + HEAD[3:] + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    ],
)
def test_half_a_request_is_not_waited_for_for_ever(port, sent: bytes):
    def client(number: int) -> None:
        with socket.create_connection(("127.0.0.1", number)) as connection:
            connection.sendall(sent)
            assert ends(connection)

    port(client)


def test_half_of_a_second_request_is_not_waited_for_either(port):
    def client(number: int) -> None:
        with socket.create_connection(("127.0.0.1", number)) as connection:
            connection.sendall(HEAD + b"\r\n")
            got = 0
            while got < LENGTH:
                got += len(connection.recv(1 << 16))
            connection.sendall(HEAD)
            assert ends(connection)

    port(client)


def test_a_slow_but_whole_request_is_answered_in_full(port):
    def client(number: int) -> None:
        with socket.create_connection(("127.0.0.1", number)) as connection:
            for part in (HEAD[:9], HEAD[9:], b"\r\n"):
                connection.sendall(part)
                time.sleep(0.1)
            got = 0
            while got < LENGTH:
                time.sleep(0.005)
                block = connection.recv(1 << 17)
                assert block
                got += len(block)

    port(client)


def test_an_answer_that_nobody_takes_is_given_up(port):
    def client(number: int) -> None:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", number))
            connection.sendall(HEAD + b"\r\n")
            time.sleep(1.5)
            got = 0
            connection.settimeout(5)
            try:
                while block := connection.recv(1 << 16):
                    got += len(block)
            except ConnectionError:
                pass
            assert got < LENGTH

    port(client)


def test_more_clients_than_files_shut_nobody_out_and_fill_no_log(serve):
    served = serve(wrapped=["prlimit", "--nofile=100"])
    with ExitStack() as stack:
        for _ in range(150):
            connection = stack.enter_context(closing(socket.create_connection(("127.0.0.1", served.port))))
            connection.sendall(HEAD[:9])
        with served.client() as client:
            assert client.get("/api/v1/healthz").status_code == 200
    assert served.end() == 143
    assert len(served.process.stderr.read()) < 1000
