"""The door: where the server listens, when it refuses to, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import math
import os
import re
import signal
import socket
import stat
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import h11
import uvicorn

from anki_backup import signals, terminal
from anki_backup.errors import AnkibakError, ConfigError, UsageError
from anki_backup.logins import Logins
from anki_backup.settings import Security
from anki_backup.values import ADDRESS
from anki_backup.web import patience
from anki_backup.web.forms import App, Message, Receive, Scope, Send

UNIX = "unix:"
FIRST_INHERITED = 3
BACKLOG = 128
GRACE_S = 10
CROWDED_S = 60
HEADERS_LIMIT = 32 << 10


def inherited() -> list[socket.socket]:
    """Return the sockets that systemd opened for us (sd_listen_fds(3)); none without it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0") or 0)
    return [socket.socket(fileno=number) for number in range(FIRST_INHERITED, FIRST_INHERITED + count)]


def bind(address: str) -> socket.socket:
    """Return a socket that listens at `HOST:PORT`, `[HOST]:PORT` or `unix:PATH`."""
    if not re.search(ADDRESS, address):
        raise ConfigError(
            f"{address!r} is no address to listen at", hint="Write it so: 127.0.0.1:8088 or unix:/path"
        )
    if address.startswith(UNIX):
        return _bind_path(Path(address[len(UNIX) :]))
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(*found[:3])
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Head and body go in two writes: without this the second waits 40 ms for an acknowledgement.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(found[4])
        bound.listen(BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"can't listen at {address}: {reason}", hint="Choose another: --listen 127.0.0.1:0"
        ) from error
    return bound


def _bind_path(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    try:
        # What a dead server left; a living one still answers.
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(str(path)) == 0:
                    raise UsageError(f"another server listens at {path}")
            path.unlink()
        before = os.umask(0o117)
        try:
            bound.bind(str(path))
        finally:
            os.umask(before)
        bound.listen(BACKLOG)
    except OSError as error:
        raise UsageError(f"can't listen at {path}: {(error.strerror or str(error)).lower()}") from error
    return bound


def is_beyond(bound: socket.socket) -> bool:
    """Say whether other machines can reach a socket."""
    if bound.family == socket.AF_UNIX:
        return False
    return not ipaddress.ip_address(str(bound.getsockname()[0]).partition("%")[0]).is_loopback


def check(security: Security, logins: Logins, *, beyond: bool = False) -> None:
    """Refuse to serve what anybody could read; ConfigError has the way to mend it."""
    if not security.auth_enabled and not security.public_read:
        raise ConfigError(
            "security.auth_enabled is false, so anybody could read everything",
            hint="Set it to true and choose a password: ankibak passwd; or set security.public_read = true.",
        )
    if beyond and not security.auth_enabled:
        raise ConfigError(
            "other machines could read everything without a login",
            hint="Set security.auth_enabled = true and choose a password: ankibak passwd",
        )
    if beyond and security.public_read:
        raise ConfigError(
            "security.public_read is for this machine only, and other machines could reach this address",
            hint="Set it to false, or listen here alone: ankibak serve --listen 127.0.0.1:8088",
        )
    if security.auth_enabled and not security.public_read and not (logins.has_password() or logins.tokens()):
        raise ConfigError("there is neither a password nor a token", hint="Choose a password: ankibak passwd")


def address_of(bound: socket.socket, base: str) -> str:
    """Return where a person finds a socket."""
    if bound.family == socket.AF_UNIX:
        return f"{UNIX}{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base}/"


class Counted:
    """The application, and since when nobody has asked for anything."""

    def __init__(self, app: App) -> None:
        self.app, self.going, self.since = app, 0, time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_while_it_is_one(message: Message) -> None:
            # What followed the headers was no HTTP: the client was told so, and the connection closed.
            with contextlib.suppress(h11.LocalProtocolError):
                await send(message)

        self.going += 1
        try:
            await self.app(scope, receive, send_while_it_is_one)
        finally:
            self.going -= 1
            self.since = time.monotonic()


class Log(logging.Handler):
    """What the server below us has to say, escaped: a bug in all its lines, an error of ours in one.

    What clients do wrong is no news: whoever can reach us could fill the log with it.
    """

    crowded = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # Cancelled is what has not come to its end when the server ends.
        if error is None or isinstance(error, h11.LocalProtocolError | asyncio.CancelledError):
            return
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            # It is tried again and again.
            if time.monotonic() >= self.crowded + CROWDED_S:
                self.crowded = time.monotonic()
                terminal.write_error("no more files can be opened, so connections have to wait: ulimit -n")
            return
        if found := _ours(error):
            lines = [f"an answer broke off: {found.message}"]
        else:
            lines = "".join(traceback.format_exception(error)).splitlines()
        for line in lines:
            terminal.write_error(terminal.escape(line))


def _ours(error: BaseException | None) -> AnkibakError | None:
    """Return the error of ours that another one was raised for, alone."""
    while error is not None and not isinstance(error, AnkibakError):
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        else:
            error = error.__cause__
    return error


def serve(
    app: App,
    sockets: list[socket.socket],
    idle_s: float | None,
    ready: Callable[[], object],
    busy: Callable[[], object] = bool,
) -> None:
    """Serve until told to end, or until nobody asked for anything for `idle_s` seconds and nothing is busy.

    At the first SIGTERM or SIGINT nothing more is accepted, and what goes on has ten
    seconds to come to an end. Rollbacks and runs are other processes, and go on.
    """
    counted = Counted(app)
    config = uvicorn.Config(
        counted,
        http=patience.Patient,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADERS_LIMIT,
        # So many are accepted at a time, before any of them can be sent away.
        backlog=min(BACKLOG, patience.most()),
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).handlers = [Log()]
        logging.getLogger(name).propagate = False
    server = uvicorn.Server(config)
    # The program's own listener would cut the ten seconds short.
    signal.set_wakeup_fd(-1)
    asyncio.run(_serve(server, sockets, counted, idle_s, ready, busy))


async def _serve(
    server: uvicorn.Server,
    sockets: list[socket.socket],
    counted: Counted,
    idle_s: float | None,
    ready: Callable[[], object],
    busy: Callable[[], object],
) -> None:
    going = asyncio.create_task(server.serve(sockets))
    while not server.started and not going.done():
        await asyncio.sleep(0.005)
    ready()
    signals.tell_systemd("READY=1")
    while not going.done():
        await asyncio.wait([going], timeout=None if idle_s is None else min(1.0, idle_s))
        if idle_s is None or counted.going or time.monotonic() - counted.since < idle_s:
            continue
        # With this process systemd would take away the folder for temporary files.
        if not busy():
            server.should_exit = True
    await going


def close(sockets: list[socket.socket], address: str) -> None:
    """Close what we listened at, and remove the path of a socket of our own."""
    for each in sockets:
        each.close()
    path = Path(address[len(UNIX) :]) if address.startswith(UNIX) else None
    if path and path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink(missing_ok=True)
