"""How the process ends when it is told to: an exception first, force if that isn't heard."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType

from anki_backup.errors import Terminated

GRACE_S = 4.0
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


def die_at_once() -> None:
    """Let a signal end the process without a word: right while nothing has begun."""
    for number in _heard():
        signal.signal(number, lambda number, frame: _leave(number))


class Listener:
    """Lets the first signal raise in the main thread: KeyboardInterrupt, or Terminated.

    Later ones are ignored, so that tidying up isn't cut short. `GRACE_S` after the
    first the process is gone, even if the exception was swallowed or the main
    thread is inside a library that doesn't return; nothing that we write minds.
    Once `over` is set, a signal ends the process at once.
    """

    def __init__(self) -> None:
        self.over = False
        self.stopping = False

    def listen(self) -> None:
        """Begin; only the main thread can."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        threading.Thread(target=_end_by_force, args=(reader,), daemon=True).start()
        # Written by the C handler, so the thread hears of it when no bytecode runs.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _heard():
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.over:
            _leave(number)
        if not self.stopping:
            self.stopping = True
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise Terminated(f"stopped by {signal.Signals(number).name}")


def _end_by_force(reader: int) -> None:
    number = 0
    while number not in EXIT_CODES:
        number = os.read(reader, 1)[0]
    time.sleep(GRACE_S)
    _leave(number)


def _leave(number: int) -> None:
    os._exit(EXIT_CODES[signal.Signals(number)])


def _heard() -> list[signal.Signals]:
    # `nohup`, and a shell's background jobs, have some ignored: that stays so.
    return [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]


def tell_systemd(text: str) -> None:
    """Tell systemd how it goes, where it wants to know: `READY=1`, `STATUS=...` (sd_notify(3))."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        import socket  # for those whom systemd started

        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.connect("\0" + place[1:] if place.startswith("@") else place)
            told.send(text.encode("utf-8", "backslashreplace"))
