"""Whole commands at once, each held up at another system call: they take turns, and lose nothing."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, State
from tests.faults.inspect_repository import Broken, ask, check, inspect
from tests.faults.program import command
from tests.faults.trial import STEADY, copy, scratch

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

ROUNDS = 200 if FULL else 10
HELD_US = 30_000
CALLS = "rename unlink fsync fdatasync pwrite64 write mkdir flock openat".split()
# Beside one run: another run, and what else timers and people start.
BESIDE = ("run", "pin latest --label a", "unpin latest", "catalog rebuild", "verify", "list", "prune --yes")
DONE, BUSY, TIMEOUT_S = 0, 75, 120


def held_up(rnd: random.Random) -> list[str]:
    """Return strace's words that hold a process for 30 ms at a call drawn anew."""
    call, nth = rnd.choice(CALLS), rnd.randint(1, 8)
    inject = f"inject={call}:delay_enter={HELD_US}:when={nth}"
    return ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, "--"]


def race(state: State, folder: Path, rnd: random.Random) -> None:
    """Run three commands at once, and look; Broken says what was lost."""
    words = ["run --wait 60s" if rnd.random() < 0.5 else "run", *rnd.sample(BESIDE, 2)]
    rnd.shuffle(words)
    environment = {**os.environ, **STEADY, **state.environment}
    started = [
        subprocess.Popen(
            held_up(rnd) + [word.replace("{D}", str(folder)) for word in command(*each.split()).split()],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for each in words
    ]
    ended = [(process.communicate(timeout=TIMEOUT_S)[0].decode(), process.returncode) for process in started]
    for each, (said, code) in zip(words, ended, strict=True):
        if code not in (DONE, BUSY) or "Traceback" in said:
            raise Broken(f"{words}: {each} exit {code}: {said[-300:]}")
    saved = any(each.startswith("run") and not code for each, (_, code) in zip(words, ended, strict=True))
    inspect(state.program, folder, state.expected, {"CRASH_RC": "0" if saved else "75"})
    ask(state.program, folder, "run")
    check(state.program, folder, state.expected)


def test_commands_at_once_take_turns_and_lose_nothing(changed: State) -> None:
    """Three of them in each round; none ends otherwise than done or busy."""
    bad = []
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="race.", dir=scratch()) as folder:
            state = copy(changed.base, Path(folder, "state"))
            time.sleep(0.01)
            try:
                race(changed, state, random.Random(number))
            except Broken as broken:
                bad.append(f"round {number}: {broken}")
    assert not bad, "\n".join([*bad, f"{len(bad)} of {ROUNDS}"])
