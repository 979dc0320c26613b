"""Judge the mutants of the table; exit 1 if one survives or can't be judged."""

from __future__ import annotations

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.mutants import KILLED, Broken, Verdict, fails_unbroken, judge, lost
from tests.mutants.table import MUTANTS


def main() -> int:
    """Print a line for each mutant, and how many there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="regular expression over names and files")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--list", action="store_true", help="only list them, and say which have lost their text"
    )
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if re.search(given.only, f"{mutant.file} {mutant.name}")]
    if not chosen:
        print("no mutant has such a name", file=sys.stderr)
        return 2
    if given.list:
        gone = lost(chosen)
        for mutant in chosen:
            print(f"{'NOT FOUND' if mutant in gone else '':10} {mutant.file:30} {mutant.name}")
        return 1 if gone else 0
    try:
        with ThreadPoolExecutor(given.jobs) as pool:
            tests = sorted({test for mutant in chosen for test in mutant.tests})
            failing = dict(zip(tests, pool.map(fails_unbroken, tests), strict=True))
            verdicts = [_told(verdict) for verdict in pool.map(lambda mutant: judge(mutant, failing), chosen)]
    except Broken as broken:
        print(broken, file=sys.stderr)
        return 2
    killed = sum(verdict.word == KILLED for verdict in verdicts)
    print(f"{len(verdicts)} mutants, {killed} killed")
    return 0 if killed == len(verdicts) else 1


def _told(verdict: Verdict) -> Verdict:
    print(f"{verdict.word:10} {verdict.seconds:6.1f} s  {verdict.mutant.name}", flush=True)
    print(f"{'':21}{verdict.mutant.file}: {verdict.by}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
