"""Run the program under test: fresh, as a person does, or warm, for the thousandth look.

The command to be faulted is always run fresh.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests import warm
from tests.faults.trial import Outcome

HOME_FOLDERS = {
    "HOME": "",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": "run",
}


@dataclass(frozen=True)
class Answer:
    """How the program ended: exit status, data and talk."""

    code: int
    stdout: str
    stderr: str


def outcome(answer: Answer) -> Outcome:
    """Return an answer as a trial's steps give it."""
    return Outcome(answer.code, answer.stdout + answer.stderr)


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
        "PYTHONPATH": str(warm.ROOT),
        "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def command(*words: str) -> str:
    """Return a command line of the program for a trial, where `{D}` is the directory."""
    return " ".join([sys.executable, "-m", warm.MODULE, "-c", "{D}/config.toml", *words])


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
        timeout=warm.TIMEOUT_S,
        check=False,
        text=True,
        errors="replace",
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class Warm:
    """The program, warm, as `Program` wants it, with an environment that is always the same."""

    def __init__(self, extra: Mapping[str, str], begun_with: Mapping[str, str] | None = None) -> None:
        """Let `extra` stand over an environment without settings of ours; `begun_with`: see `tests.warm`."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith("ANKIBAK_")}
        self._environment = {**outer, **extra}
        self._warm = warm.Warm(begun_with=begun_with)

    def __call__(self, directory: Path, *words: str) -> Answer:
        """Run one command."""
        typed = ["-c", str(directory / "config.toml"), *words]
        code, out, err = self._warm(typed, self._environment, directory)
        return Answer(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def processes(self) -> list[int]:
        """Return the servers; the program runs in their children."""
        return self._warm.processes()

    def close(self) -> None:
        """End the servers; others are begun when they are needed."""
        self._warm.close()
