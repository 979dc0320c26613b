"""How long a client may keep us waiting, and how many may at once.

Without this, half a request holds its connection for ever, and so does an answer that
nobody takes; where no file can be opened any more, nobody else is let in.
"""

from __future__ import annotations

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ASK_S = 20.0
TAKE_S = 60.0
MOST = 256


def most() -> int:
    """Return how many connections may be open: a quarter of the files, for each has some of its own."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(4, min(MOST, files // 4))


class Patient(H11Protocol):
    """A connection that ends when a request isn't whole in time, or its answer isn't taken.

    Where there are too many, the one goes that has owed the rest of its request for longest.
    """

    since = 0.0
    owing: asyncio.TimerHandle | None = None
    stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > most():
            owing = [each for each in self.connections if isinstance(each, Patient) and each.owing]
            min(owing, key=lambda each: each.since).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled = self.loop.call_later(TAKE_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.stalled:
            self.stalled.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self.owing, self.stalled):
            if timer:
                timer.cancel()
        self.owing = None
        super().connection_lost(exc)

    def _owes(self) -> bool:
        """Say whether we wait for the first request, or for the rest of one."""
        if self.conn.their_state is not h11.IDLE:
            return self.conn.their_state is h11.SEND_BODY
        is_first: bool = self.scope is None
        return is_first or bool(self.conn.trailing_data[0])

    def _watch(self) -> None:
        if not self._owes():
            if self.owing:
                self.owing.cancel()
            self.owing = None
        elif self.owing is None:
            self.since = self.loop.time()
            self.owing = self.loop.call_later(ASK_S, self.transport.abort)
