"""Measure everything and write the report: `python -m tests.benchmarks.bench`.

Takes about half an hour and 10 GB of disk; `--quick` takes a few minutes, with fewer
hours, files and repeats. A simulated year and decade are measured only when `--only`
names them. A whole, full run replaces the published report; `--merge` puts only the
scenarios that were measured into it, so that a record can be made in several sittings.
`--out` means a report elsewhere.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import bars, record, report
from tests.benchmarks.inputs import CHECKOUT, QUICK, Site, Sizes
from tests.benchmarks.measure import machine
from tests.benchmarks.scenarios import LONG, SCENARIOS

NEEDED = {"restic": "restic", "borg": "borgbackup", "zstd": "zstd"}


def measure(
    names: Sequence[str], sizes: Sizes, work: Path, out: Path | None, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Measure the named scenarios one after the other; return all raw figures of this sitting.

    The report in `out`, with what was measured before, is written after each, so what was
    measured outlives an interruption. A scenario that fails leaves its error in place of figures.
    """
    raw = record.empty()
    inputs = work / "inputs"
    inputs.mkdir(exist_ok=True)
    for name in names:
        place = work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        measured = record.setting(sizes, work)
        began = time.monotonic()
        _say(f"{name} ...")
        try:
            figures = SCENARIOS[name](Site(place, inputs, sizes, partial(_say_of, name)))
        except Exception as error:  # the others are worth having all the same
            traceback.print_exc()
            figures = {"error": f"{type(error).__name__}: {error}"}
        finally:
            shutil.rmtree(place, ignore_errors=True)
        took = {"took_seconds": round(time.monotonic() - began, 1)}
        measured["machine"] = machine(work)  # how large this process has become
        raw["scenarios"][name] = {"measured": measured} | figures | took
        if out is not None:
            report.write(out, record.merged(before, raw))
    return raw


@contextmanager
def _work_folder(chosen: Path | None) -> Iterator[Path]:
    """Give the chosen folder, which keeps the inputs for next time, or one on disk that goes away again."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    # Not /tmp, which is often memory: the peers and we must meet a real disk.
    with tempfile.TemporaryDirectory(prefix="ankibak-bench-", dir="/var/tmp") as folder:
        yield Path(folder)


def _say_of(scenario: str, text: str) -> None:
    _say(f"{scenario}: {text}")


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; 1 if a scenario failed, whatever the bars say."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure ankibak beside restic and borg.")
    parser.add_argument("--quick", action="store_true", help="fewer hours, files and repeats")
    parser.add_argument(
        "--only", nargs="+", choices=list(SCENARIOS), metavar="NAME", help=", ".join(SCENARIOS)
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the report (default: docs, for a whole, full run)"
    )
    parser.add_argument("--merge", action="store_true", help="keep what the report has of other scenarios")
    parser.add_argument(
        "--work", type=Path, help="folder to work in, on disk; its inputs stay for the next run"
    )
    chosen = parser.parse_args(arguments)
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        parser.error(f"the peers are not installed: sudo apt-get install {' '.join(missing)}")
    out = chosen.out
    if out is None and chosen.merge and chosen.quick:
        parser.error("the published report has full runs only: name a folder with --out")
    if out is None and not chosen.quick and (chosen.merge or not chosen.only):
        out = CHECKOUT / "docs"
    before = record.read(out) if out and chosen.merge else record.empty()
    names = [name for name in SCENARIOS if (name in chosen.only if chosen.only else name not in LONG)]
    with _work_folder(chosen.work) as work:
        raw = measure(names, QUICK if chosen.quick else Sizes(), work, out, before)
    print(report.table(bars.rows(raw)))
    return int(any("error" in figures for figures in raw["scenarios"].values()))


if __name__ == "__main__":
    sys.exit(main())
