"""Whole commands at once, each held up at another system call: they take turns, and lose nothing."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults import tracing
from tests.faults.conftest import FULL, State
from tests.faults.inspect_repository import Broken, ask, backups, check, inspect
from tests.faults.program import command
from tests.faults.tracing import GROUPS, numbered, parse
from tests.faults.trial import STEADY, Trial, copy, scratch

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

ROUNDS = 200 if FULL else 10
HELD_US = 30_000
# Beside one run, which makes a third backup: what else timers and people start. A prune takes the oldest.
RETENTION = "\n[retention]\nlast = 2\n"
BESIDE = (
    "run",
    "pin latest --label a",
    "unpin latest",
    "catalog rebuild",
    "token add phone",
    "prune --yes --max-unused 0",
    "verify --read-data",
    "verify --restore",
    "export latest --format anki2 --overwrite -o out.anki2",
    "list",
    "show latest",
    "diff",
    "find step",
    "status",
)
WAITING = "run --wait 60s"
DONE, BUSY, TIMEOUT_S = 0, 75, 120
Call = tuple[str, int]


def calls_of(words: str, state: State, base: Path, folder: Path) -> list[Call]:
    """Return every call of a command that names something in the repository, as strace counts them."""
    trial = Trial(command(*words.split()), environment=state.environment)
    _, text = tracing.traced(trial, copy(base, folder / "state"), list(GROUPS), folder / "log")
    return [(call.name, nth) for call, nth in numbered(parse(text)) if "repository/" in call.rest]


def race(state: State, folder: Path, rnd: random.Random, calls: dict[str, list[Call]]) -> int:
    """Run three commands at once, each held up at a call of its own, and look; Broken says what was lost.

    Return how many were held up.
    """
    words = [WAITING if rnd.random() < 0.5 else "run", *rnd.sample(BESIDE, 2)]
    rnd.shuffle(words)
    oldest = backups(state.program, folder)[-1]["id"]
    logs = [folder.with_name(f"log {number}") for number in range(len(words))]
    started = []
    for word, log in zip(words, logs, strict=True):
        call, nth = rnd.choice(calls[word])
        inject = f"inject={call}:delay_enter={HELD_US}:when={nth}"
        strace = ["strace", "-f", "-o", str(log), "-e", f"trace={call}", "-e", inject, "--"]
        started.append(
            subprocess.Popen(
                strace + [each.replace("{D}", str(folder)) for each in command(*word.split()).split()],
                cwd=folder,
                env={**os.environ, **STEADY, **state.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
    ended = [(process.communicate(timeout=TIMEOUT_S)[0].decode(), process.returncode) for process in started]
    for word, (said, code) in zip(words, ended, strict=True):
        if code not in (DONE, BUSY) or "Traceback" in said:
            raise Broken(f"{words}: {word} exit {code}: {said[-300:]}")
    saved = any(word.startswith("run") and not code for word, (_, code) in zip(words, ended, strict=True))
    # What a prune may take need not be there; but if it is, it is whole.
    there = {backup["id"] for backup in backups(state.program, folder)}
    kept = {
        name: hashed for name, hashed in state.expected.backups.items() if name != oldest or name in there
    }
    expected = dataclasses.replace(state.expected, backups=kept)
    inspect(state.program, folder, expected, {"CRASH_RC": "0" if saved else "75"})
    ask(state.program, folder, "run")
    check(state.program, folder, expected)
    return sum("(DELAYED)" in log.read_text(errors="replace") for log in logs)


def test_commands_at_once_take_turns_and_lose_nothing(changed: State, tmp_path: Path) -> None:
    """Three of them in each round; none ends otherwise than done or busy, and most were held up."""
    base = copy(changed.base, tmp_path / "base")
    (base / "config.toml").write_text((base / "config.toml").read_text() + RETENTION)
    calls = {}
    for number, words in enumerate([WAITING, *BESIDE]):
        (tmp_path / f"{number}").mkdir()
        calls[words] = calls_of(words, changed, base, tmp_path / f"{number}")
    bad, held = [], 0
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="race.", dir=scratch()) as folder:
            state = copy(base, Path(folder, "state"))
            time.sleep(0.01)
            try:
                held += race(changed, state, random.Random(number), calls)
            except Broken as broken:
                bad.append(f"round {number}: {broken}")
    print(f"{ROUNDS} rounds, {3 * ROUNDS} commands, {held} held up")
    assert not bad, "\n".join([*bad, f"{len(bad)} of {ROUNDS}"])
    assert held > ROUNDS
