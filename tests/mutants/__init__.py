"""Breakages on purpose: a test suite that passes a broken program is broken itself.

`python -m tests.mutants` copies the checkout, breaks one line of the copy, runs the
tests that must notice, and goes on to the next breakage of the table. A breakage that
survives shows a promise that no test holds the program to.

Guards against lying: the tests must pass in an unbroken copy; they must import the
copy and not an installed program; what was broken must be found exactly once in its
file; and only failing tests kill a mutant, not a file that pytest can't run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, TEST_DATA

PACKAGE = "anki_backup"
TIMEOUT_S = 900
PASSED, FAILED = 0, 1
KILLED, SURVIVED, NOT_FOUND, NO_VERDICT = "killed", "SURVIVED", "NOT FOUND", "NO VERDICT"


@dataclass(frozen=True)
class Mutant:
    """A breakage: what it takes away, where, and the tests that must fail because of it."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str | None:
        """Return the broken source, None unless what is to be broken is there exactly once."""
        return text.replace(self.before, self.after) if text.count(self.before) == 1 else None


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant; `by` is the test that noticed, or what went wrong."""

    mutant: Mutant
    word: str
    by: str
    seconds: float


class Broken(Exception):
    """Nothing can be said of any mutant."""


def lost(mutants: Iterable[Mutant], root: Path = ROOT) -> list[Mutant]:
    """Return the mutants whose source text is no longer there, or is there twice."""
    return [mutant for mutant in mutants if mutant.applied((root / mutant.file).read_text()) is None]


def fails_unbroken(test: str) -> str:
    """Return which test of a file fails in a copy that nothing was done to; nothing if all pass."""
    with tempfile.TemporaryDirectory(prefix="mutant.") as folder:
        code, output = _pytest(checkout(Path(folder)), [test])
        return "" if code == PASSED else _first_failure(output) or f"{test}: pytest exit {code}"


def judge(mutant: Mutant, failing: Mapping[str, str]) -> Verdict:
    """Break a copy of the checkout and see whether its tests notice; `failing` ones prove nothing."""
    began = time.monotonic()
    if known := [failing[test] for test in mutant.tests if failing[test]]:
        return Verdict(mutant, NO_VERDICT, f"fails without the breakage: {known[0]}", 0.0)
    with tempfile.TemporaryDirectory(prefix="mutant.") as folder:
        copy = checkout(Path(folder))
        file = copy / mutant.file
        text = mutant.applied(file.read_text())
        if text is None:
            return Verdict(mutant, NOT_FOUND, mutant.file, 0.0)
        file.write_text(text)
        try:
            compile(text, mutant.file, "exec")
            code, output = _pytest(copy, list(mutant.tests))
        except SyntaxError as error:
            code, output = -1, str(error)
        except subprocess.TimeoutExpired:
            code, output = FAILED, "FAILED every test: it hung"
    seconds = time.monotonic() - began
    if code in (PASSED, FAILED):
        return Verdict(mutant, KILLED if code == FAILED else SURVIVED, _first_failure(output), seconds)
    return Verdict(mutant, NO_VERDICT, f"pytest exit {code}: {output.strip()[-300:]}", seconds)


def checkout(folder: Path) -> Path:
    """Copy the checkout, without byte code: a stale one would run instead of the breakage."""
    copy, left_out = folder / "checkout", shutil.ignore_patterns(".*", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, copy, ignore=left_out, dirs_exist_ok=True)
    return copy


def _pytest(copy: Path, tests: list[str]) -> tuple[int, str]:
    """Run tests in a copy of the checkout, up to the first failure."""
    environment = {
        **os.environ,
        "ANKIBAK_TEST_DATA": str(TEST_DATA),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(copy),
    }
    whose = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    if not Path(whose.stdout.strip()).is_relative_to(copy):
        raise Broken(f"the tests would import {whose.stdout.strip()}, not the copy")
    words = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, *tests],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _first_failure(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output, re.MULTILINE)
    return found[1] if found else ""
