"""One trial: a state of a directory is inspected, recovered and checked, in that order.

A step is a command line, in which `{D}` stands for the directory, or a function of
ours. Each gets the facts of the fault: `CRASH_DIR`, `CRASH_MODE`, `CRASH_POINT`,
`CRASH_SYSCALL` and `CRASH_RC`, the exit status of the faulted command (-9: killed).
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

HUNG = 124
MEMORY = Path("/dev/shm")

T = TypeVar("T")


class CampaignError(Exception):
    """Nothing can be said: the campaign is empty, or goes wrong without any fault."""


class Empty(CampaignError):
    """The command changes nothing, so there is nothing to fault."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status and all that it printed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of the output, which is where programs say what is wrong."""
        return (self.output.strip().splitlines() or [""])[-1][:300]


Step = str | Callable[[Path, Mapping[str, str]], Outcome]


@dataclass(frozen=True)
class Trial:
    """The command to fault, and the steps that must all exit 0 on what a fault leaves."""

    command: str
    inspect: Step | None = None
    recover: Step | None = None
    check: Step | None = None
    timeout: float = 60
    forbid: str = "Traceback"
    environment: Mapping[str, str] = field(default_factory=dict)

    def argv(self, command: str, directory: Path) -> list[str]:
        """Return the words of a command line, told the directory."""
        return [word.replace("{D}", str(directory)) for word in shlex.split(command)]

    def run(self, argv: Sequence[str], directory: Path, facts: Mapping[str, str]) -> Outcome:
        """Run a program inside `directory`, killing all of it when it takes too long."""
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**os.environ, **STEADY, **self.environment, "CRASH_DIR": str(directory), **facts},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=self.timeout)[0]
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0]
            code = HUNG
        return Outcome(code, output.decode("utf-8", "replace"))

    def step(self, step: Step, directory: Path, facts: Mapping[str, str]) -> Outcome:
        """Run one step, whichever of the two forms it has."""
        if callable(step):
            return step(directory, facts)
        return self.run(self.argv(step, directory), directory, facts)

    def judge(self, directory: Path, facts: Mapping[str, str], *, recover: bool = True) -> str:
        """Return what is wrong with the state in `directory`; nothing when it is good.

        The inspection comes first and sees exactly what the fault left: a repair
        before it would hide a lie.
        """
        steps = [("inspect", self.inspect), ("recover", self.recover if recover else None)]
        for name, step in [*steps, ("check", self.check)]:
            if step is None:
                continue
            outcome = self.step(step, directory, facts)
            if outcome.code:
                return f"{name} exit {outcome.code}: {outcome.last_line}"
            if bad := self.forbidden(outcome):
                return f"{name} {bad}"
        return ""

    def forbidden(self, outcome: Outcome) -> str:
        """Return the complaint about an output that no run may print."""
        found = re.search(self.forbid, outcome.output) if self.forbid else None
        return f"printed {found[0]!r}: {outcome.last_line}" if found else ""


# Without these a second run need not make the same calls as the first.
STEADY = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def scratch() -> Path | None:
    """Return where thousands of small copies cost least, or None for the usual place."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


def copy(base: Path, target: Path) -> Path:
    """Copy a whole state with times and modes, sharing the bytes where that is possible."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(target)], check=True)
    return target


def keep(state: Path, folder: Path | None, name: str) -> Path | None:
    """Put a failed state aside for a person to look at, if a folder for that was named."""
    if folder is None:
        return None
    kept = folder / re.sub(r"[^\w.+-]+", "-", name)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(state, kept, symlinks=True)
    return kept


def sample(items: Sequence[T], most: int, *, seed: int | None = None) -> list[T]:
    """Return at most `most` items in their order (0: all): evenly spread, or drawn by `seed`."""
    if not most or len(items) <= most:
        return list(items)
    if seed is not None:
        return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), most))]
    step = (len(items) - 1) / max(1, most - 1)
    return [items[round(i * step)] for i in range(most)]
