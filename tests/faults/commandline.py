"""The options that the harnesses have in common when they are run as commands."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.trial import CampaignError, Trial


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


def conclude(
    given: argparse.Namespace, run: Callable[[], list[Any]], summary: Callable[[list[Any]], tuple[int, str]]
) -> int:
    """Run a campaign, keep its results if that was asked for, tell them in short; return the exit status."""
    began = time.monotonic()
    try:
        results = run()
    except CampaignError as error:
        print(error, file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], default=str, indent=1))
    code, text = summary(results)
    print(f"{text} ({time.monotonic() - began:.1f} s)")
    return code
