"""A running `ankibak serve`, and a client that counts every byte which comes over the wire."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks.measure import BenchmarkError
from tests.benchmarks.peers import Ankibak

PASSWORD = "correct horse battery"
WAIT_S = 600
BLOCK = 1 << 18
END_S = 20
# What systemd does: the socket is descriptor 3, and the process knows its own number.
ACTIVATE = 'exec 3<&%d; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
SAID = re.compile(rb"the web view is at http://127\.0\.0\.1:(\d+)/")
# A client that sends a byte a second: this is what it has to send, and it never comes to an end.
ENDLESS = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 10_000


@dataclass(frozen=True)
class Answer:
    """One answer: how long until its last byte, and how many bytes it was with its head."""

    status: int
    seconds: float
    wire_bytes: int
    headers: Mapping[str, str]

    def figures(self) -> dict[str, float]:
        """Return what goes into the raw figures."""
        return {"seconds": round(self.seconds, 5), "wire_bytes": self.wire_bytes}


class Wire:
    """A connection that is kept alive, and what it sends with every request."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self.headers = {"Host": f"127.0.0.1:{port}", "Accept-Encoding": "gzip", **(headers or {})}
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str, accept: str = "text/html") -> Answer:
        """Ask for a path and read all of the answer."""
        return self.ask("GET", path, {"Accept": accept})

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        body = urlencode(form).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        return self.ask("POST", path, kind, body)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request; BenchmarkError when the connection ends before the answer does."""
        told = "".join(f"{name}: {value}\r\n" for name, value in {**self.headers, **headers}.items())
        began = time.perf_counter()
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{told}\r\n".encode() + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if found.get("transfer-encoding") == "chunked":
            size = self._chunks(rest)
        else:
            size = self._plain(len(rest), int(found.get("content-length", "0")))
        seconds = time.perf_counter() - began
        return Answer(int(first.split()[1]), seconds, len(head) + 4 + size, found)

    def _more(self) -> bytes:
        block = self._socket.recv(BLOCK)
        if not block:
            raise BenchmarkError("the server closed the connection in the middle of an answer")
        return block

    def _plain(self, got: int, length: int) -> int:
        while got < length:
            got += len(self._more())
        return length

    def _chunks(self, data: bytes) -> int:
        """Read chunks to the one without bytes; return what all of them took."""
        size = 0
        while True:
            while b"\r\n" not in data:
                data += self._more()
            length = int(data.split(b"\r\n", 1)[0], 16)
            end = data.index(b"\r\n") + 2 + length + 2
            size += end
            while len(data) < end:
                end -= len(data)
                data = self._more()
            data = data[end:]
            if not length:
                return size


class Server:
    """`ankibak serve` on a repository; the server ends with the `with` block.

    `began` is when its process was started. With `activated` it gets a socket that
    listens already, as systemd hands one over, and requests may come before it is there.
    """

    def __init__(self, ankibak: Ankibak, *, activated: bool = False) -> None:
        self.ankibak, self.activated = ankibak, activated
        self.log = ankibak.place / "serve.log"

    def __enter__(self) -> Server:
        if self.activated:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.port = int(listening.getsockname()[1])
                self._start(["/bin/sh", "-c", ACTIVATE % listening.fileno(), "sh"], (listening.fileno(),))
            return self
        self._start([], ())
        try:
            self.port = self._told_port()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self, before: Sequence[str], handed: Sequence[int]) -> None:
        command = self.ankibak.words("serve", "--listen", "127.0.0.1:0")
        with open(self.log, "wb") as log:
            self.began = time.perf_counter()
            self.process = subprocess.Popen(
                [*before, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.ankibak.environment,
                cwd=self.ankibak.source,
                pass_fds=handed,
            )

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _told_port(self) -> int:
        """Wait for the line that says where it listens."""
        while not (match := SAID.search(self.log.read_bytes())):
            ended = self.process.poll() is not None
            if ended or time.perf_counter() - self.began > WAIT_S:
                said = self.log.read_bytes().decode(errors="replace")
                raise BenchmarkError(f"the server did not begin:\n{said}")
            time.sleep(0.001)
        return int(match[1])

    def log_in(self) -> str:
        """Begin a session; return the cookie by which it goes on."""
        with Wire(self.port) as wire:
            answer = wire.post("/login", {"password": PASSWORD})
        if answer.status != 303:
            raise BenchmarkError(f"the login was answered with {answer.status}")
        return answer.headers["set-cookie"].partition(";")[0]

    def peak_bytes(self) -> int:
        """Return the largest resident size that the server had so far."""
        match = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        if not match:
            raise BenchmarkError("the kernel tells no peak of memory")
        return int(match[1]) * 1024


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[None]:
    """Let so many clients send a byte a second, beginning with one each, as long as the body lasts."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        over = threading.Event()

        def drip() -> None:
            for at in range(len(ENDLESS)):
                for client in clients:
                    with suppress(OSError):  # the server may have had enough of one
                        client.send(ENDLESS[at : at + 1])
                if over.wait(1):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            yield
        finally:
            over.set()
            dripping.join()
