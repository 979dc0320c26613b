"""A clock that can be set for the program alone: it runs, stands still, or leaps at every look.

Debian's `faketime` stands between the program and the system's clock, and reads from a
file what it is to say. Times of files stay real, and so does the monotonic clock: where
that one is faked too, Python can't sleep before 1970; where it is not, it can't sleep at
all, and nothing that is typed here has to. After 2262 Python has no time in nanoseconds.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FUTEX = "202"  # on x86-64
LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


def library() -> Path | None:
    """Return the library that stands between, or None where it is not installed."""
    found = [path for pattern in LIBRARIES for path in sorted(Path("/").glob(pattern[1:]))]
    return found[0] if found and shutil.which("faketime") else None


@dataclass(frozen=True)
class Setting:
    """What a clock says: a time, and how it goes on: `runs`, `stands`, or so many seconds at each look."""

    at: datetime
    manner: str | int = "runs"

    def text(self) -> str:
        """Return the words of libfaketime for it, from this moment on."""
        if self.manner == "stands":
            return f"{self.at.timestamp():.0f}"
        ahead = self.at.timestamp() - time.time()
        return f"{ahead:+.3f}" + ("" if self.manner == "runs" else f" i{self.manner},0")

    @property
    def steady(self) -> bool:
        """Whether it can be said what time it is while a command goes on."""
        return isinstance(self.manner, str)

    def later(self, by: timedelta) -> Setting:
        """Return the same clock after a while, running."""
        return Setting(self.at + by)


class Clock:
    """The file that the program's clock follows."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.set(Setting(datetime.now(UTC)))

    def set(self, setting: Setting) -> None:
        """Set the clock, also of a command that is under way."""
        part = self.file.with_name("clock.part")
        part.write_text(setting.text())
        part.replace(self.file)

    @contextmanager
    def leaping(self, setting: Setting | None, when_grown: Path) -> Iterator[None]:
        """Set the clock in the middle of a command: when a file that it writes has grown."""
        if setting is None:
            yield
            return
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(setting, when_grown, size(when_grown), ended))
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def _watch(self, setting: Setting, file: Path, before: int, ended: threading.Event) -> None:
        while not ended.wait(0.002):
            if size(file) > before:
                return self.set(setting)

    def begun_with(self) -> Mapping[str, str]:
        """Return what a process is given at its start so that it follows this clock."""
        return {"LD_PRELOAD": os.fspath(library() or ""), **self.environment()}

    def environment(self) -> Mapping[str, str]:
        """Return what it has to find in its environment later."""
        return {
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_FMT": "%s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # By default waits are mended for an old C library: with this one, threads then
            # wait for each other in vain.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


@contextmanager
def looking_for_its_lock(servers: Callable[[], list[int]], after_s: float) -> Iterator[list[str]]:
    """After so long, note each thread of the servers' children that waits for the library's own semaphore."""
    found: list[str] = []

    def look() -> None:
        with suppress(OSError):  # it ended after all
            found.extend(_waiting(servers()))

    timer = threading.Timer(after_s, look)
    timer.start()
    yield found
    timer.cancel()
    timer.join()


def _waiting(servers: list[int]) -> Iterator[str]:
    """Yield the threads that are in a `futex` on a page of `/dev/shm/sem.faketime_sem_…`."""
    for server in servers:
        for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            maps = Path(f"/proc/{child}/maps").read_text().splitlines()
            own = [line.split("-")[0] for line in maps if "sem.faketime_sem" in line]
            for thread in Path(f"/proc/{child}/task").iterdir():
                call, *arguments = (thread / "syscall").read_text().split()
                if call == FUTEX and any(int(arguments[0], 16) >> 12 == int(page, 16) >> 12 for page in own):
                    yield f"{child}/{thread.name}"


def size(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
