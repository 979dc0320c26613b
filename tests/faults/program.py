"""Run the program under test: fresh, as a person does, or warm, for the thousandth look.

A warm program is a server that has imported everything and forks for each command.
The command to be faulted is always run fresh.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

CHECKOUT = Path(__file__).resolve().parents[2]
HOME_FOLDERS = {
    "HOME": "",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": "run",
}
MODULE = "anki_backup"
TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """How the program ended: exit status, data and talk."""

    code: int
    stdout: str
    stderr: str


class Program(Protocol):
    """Something that runs the program on the configuration in a directory."""

    def __call__(self, directory: Path, *words: str) -> Answer:
        """Run `ankibak -c <directory>/config.toml <words>` inside the directory."""


def environment(home: Path) -> dict[str, str]:
    """Return what every run gets: one thread, an empty home, this checkout's program.

    The byte code is kept apart from everybody's: a module that another process has just
    compiled would be opened in fewer calls, and calls are what faults are counted by.
    `prepare` fills it.
    """
    return {
        **{name: str(home / folder) for name, folder in HOME_FOLDERS.items()},
        "ANKIBAK_RUN__THREADS": "1",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def command(*words: str) -> str:
    """Return a command line of the program for a trial, where `{D}` is the directory."""
    return " ".join([sys.executable, "-m", MODULE, "-c", "{D}/config.toml", *words])


def prepare(directory: Path, surroundings: Mapping[str, str], *wanted: str) -> None:
    """Run the program once, on a copy that is thrown away, so that all its byte code is there."""
    writing = {"PYTHONDONTWRITEBYTECODE": ""}
    words = [word.replace("{D}", str(directory)) for word in command(*(wanted or ("run",))).split()]
    subprocess.run(words, cwd=directory, env={**os.environ, **surroundings, **writing}, check=True)


def fresh(directory: Path, *words: str) -> Answer:
    """Run the program in a process of its own, with this process's environment."""
    done = subprocess.run(
        [word.replace("{D}", str(directory)) for word in command().split()] + list(words),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
        errors="replace",
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class Warm:
    """A few servers that answer for the program; threads may share it."""

    def __init__(self, extra: Mapping[str, str], servers: int = 2) -> None:
        """Start the servers; `extra` is added to an environment without settings of ours."""
        words = [sys.executable, "-m", "tests.faults.program"]
        outer = {name: value for name, value in os.environ.items() if not name.startswith("ANKIBAK_")}
        self._all = [
            subprocess.Popen(
                words,
                cwd=CHECKOUT,
                env={**outer, **extra},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            for _ in range(servers)
        ]
        self._idle: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        for server in self._all:
            self._idle.put(server)

    def __call__(self, directory: Path, *words: str) -> Answer:
        """Run one command, waiting for an idle server."""
        server = self._idle.get()
        try:
            assert server.stdin
            assert server.stdout
            print(json.dumps([str(directory), *words]), file=server.stdin, flush=True)
            return Answer(**json.loads(server.stdout.readline()))
        finally:
            self._idle.put(server)

    def close(self) -> None:
        """End the servers."""
        for server in self._all:
            if server.stdin:
                server.stdin.close()
            server.wait(TIMEOUT_S)


def _serve() -> None:
    """Answer commands from stdin until it ends."""
    for line in sys.stdin:
        directory, *words = json.loads(line)
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as seen,
        ):
            child = os.fork()
            if child == 0:
                _become(directory, words, out, err, seen)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            _warm_up(_text(seen).split())
            print(json.dumps({"code": status, "stdout": _text(out), "stderr": _text(err)}), flush=True)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _become(directory: str, words: list[str], out: IO[bytes], err: IO[bytes], seen: IO[bytes]) -> None:
    """Be the program in a forked child, from its first line to its exit status."""
    signal.alarm(TIMEOUT_S)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.chdir(directory)
    sys.argv = [MODULE, "-c", str(Path(directory, "config.toml")), *words]
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
        stream.flush()
    os._exit(code or 0)


def _warm_up(names: list[str]) -> None:
    """Import what a command needed, so that the next one finds it; Anki's own library stays out."""
    for name in sorted(names):
        if name.partition(".")[0] not in ("anki", "__main__") and not name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(name)


if __name__ == "__main__":
    _serve()
