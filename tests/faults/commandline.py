"""The options that the harnesses have in common when they are run as commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.faults.trial import Trial


def words(text: str) -> list[str]:
    """Return the parts of a list that was typed with commas."""
    return text.split(",")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that explains itself by its module's docstring and knows a trial's options."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--base", type=Path, required=True, help="the starting state; copied for every run")
    add("--cmd", required=True, help="the command to fault; {D} is the copy, where it also runs")
    add("--inspect", help="a reader that changes nothing, on exactly what the fault left")
    add("--recover", help="must succeed after the fault")
    add("--check", help="must succeed after the recovery")
    add("--forbid", default="Traceback", help="regular expression that no output may match")
    add("--jobs", type=int, default=2)
    add("--timeout", type=float, default=60)
    add("--keep", type=Path, help="folder for the states that were bad")
    add("--json", type=Path, help="write all results here")
    return made


def trial(given: argparse.Namespace) -> Trial:
    """Return the trial that was asked for."""
    return Trial(given.cmd, given.inspect, given.recover, given.check, given.timeout, given.forbid)
