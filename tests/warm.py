"""The program, warm: servers that have loaded everything and fork for each command that is typed.

Starting Python and loading libraries is nine tenths of what a short command takes, and
the tests type thousands. What runs is the program from its first line to its exit
status, with the environment, folder and input that it is given. What Python settles
before that line (its flags, its locale) is the server's: where a test is about those,
about loading, or about signals to the process, it starts one of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import queue
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MODULE = "anki_backup"
TIMEOUT_S = 60


class Done(NamedTuple):
    """How the program ended: its exit status (negative: the signal), data and talk."""

    code: int
    stdout: bytes
    stderr: bytes


class Warm:
    """Some servers, each begun when all others are busy; threads may share it.

    `begun_with` is what a process has to be given at its start, a library to preload, say.
    """

    def __init__(self, most: int = 2, begun_with: Mapping[str, str] | None = None) -> None:
        self._most = most
        self._begun_with = dict(begun_with or {})
        self._all: list[subprocess.Popen[str]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()

    def __call__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        input: bytes = b"",
        timeout_s: int = TIMEOUT_S,
    ) -> Done:
        """Run one command to its end; one that takes too long ends by SIGALRM."""
        server = self._server()
        with tempfile.TemporaryDirectory(prefix="warm-") as place:
            ends = [Path(place, name) for name in ("in", "out", "err")]
            ends[0].write_bytes(input)
            asked = [list(words), dict(environment), str(folder), list(map(str, ends)), timeout_s]
            assert server.stdin
            assert server.stdout
            print(json.dumps(asked), file=server.stdin, flush=True)
            code = int(server.stdout.readline())
            self._idle.put(server)
            return Done(code, ends[1].read_bytes(), ends[2].read_bytes())

    def _server(self) -> subprocess.Popen[str]:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        if len(self._all) >= self._most:
            return self._idle.get()
        outer = {name: value for name, value in os.environ.items() if not name.startswith("ANKIBAK_")}
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            cwd=ROOT,
            env=outer | {"PYTHONPATH": str(ROOT)} | self._begun_with,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._all.append(server)
        return server

    def processes(self) -> list[int]:
        """Return the servers; what they run is their children."""
        return [server.pid for server in self._all]

    def close(self) -> None:
        """End the servers; others are begun when they are needed."""
        for server in self._all:
            if server.stdin:
                server.stdin.close()
            server.wait(TIMEOUT_S)
        self._all, self._idle = [], queue.SimpleQueue()


def _serve() -> None:
    """Answer what comes on stdin until that ends."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as seen:
            gc.freeze()
            child = os.fork()
            if child == 0:
                _become(*json.loads(line), seen)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            seen.seek(0)
            _warm_up(seen.read().decode().split())
        print(status, flush=True)


def _become(
    words: list[str], environment: dict[str, str], folder: str, ends: list[str], timeout_s: int, seen: Any
) -> None:
    """Be the program in a forked child, from its first line to its exit status."""
    signal.alarm(timeout_s)
    for number, (end, mode) in enumerate(zip(ends, (os.O_RDONLY, os.O_RDWR, os.O_RDWR), strict=True)):
        os.dup2(os.open(end, mode | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = [MODULE, *words]
    known = set(sys.modules)
    code: Any = 0
    try:
        runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    seen.write(" ".join(set(sys.modules) - known).encode())
    for stream in (seen, sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # the program may have closed its own
            stream.flush()
    os._exit(code or 0)


def _warm_up(names: list[str]) -> None:
    """Import what a command needed, so that the next one finds it."""
    for name in sorted(names):
        if not name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(name)


if __name__ == "__main__":
    _serve()
