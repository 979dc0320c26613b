"""Fuzz one target or all; exit 1 with the input if a reader can't stand it.

    python -m tests.fuzz [--runs N] [--seed 0] [--grow] [--keep DIR] [TARGET...]

Unless told, a target is run a million times, and 20,000 times where it is a conversation.
`--grow` adds what reaches new lines to the corpus. The address space is limited, so that
memory without bounds is a finding too; an input that hangs is reported by its traceback.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import resource
import sys
import time
from pathlib import Path

from tests.fuzz import CORPUS, Campaign, Finding, Target, corpus
from tests.fuzz.targets import TARGETS

HUNG_S = 60
STEP = 10_000
# Of conversations, which take some milliseconds each.
SHORT_STEP = 250
KEPT_SIZE = 4096


def main() -> int:
    """Fuzz from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--runs", type=int, help="so many for each target")
    parser.add_argument("--minutes", type=float, default=0, help="end a target after so long; 0: never")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path(), help="where an input that fails is written")
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    bad = 0
    for name in given.targets or TARGETS:
        bad += _fuzz(TARGETS[name], given)
    return 1 if bad else 0


def _fuzz(target: Target, given: argparse.Namespace) -> bool:
    """Fuzz one target and tell of it; return whether something is wrong."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (target.memory, hard))
    began, campaign = time.monotonic(), Campaign(target, given.seed)
    runs, step = given.runs or target.runs, STEP if target.rooms else SHORT_STEP
    inputs = corpus(target)
    findings = campaign.begin(inputs)
    end = began + given.minutes * 60 if given.minutes else float("inf")
    while not findings and campaign.runs < runs and time.monotonic() < end:
        faulthandler.dump_traceback_later(HUNG_S + STEP // 10, exit=True)
        if finding := campaign.go(min(step, runs - campaign.runs)):
            findings.append(finding)
    faulthandler.cancel_dump_traceback_later()
    finding, measured = campaign.end()
    findings += [finding] if finding else []
    grown = campaign.kept[len(inputs) :]
    print(
        f"{target.name}: {campaign.runs} runs, {len(findings)} findings, corpus {len(inputs)} + {len(grown)},"
        f" {len(campaign.reached)} ways {'between lines' if target.rooms else 'to be answered'}"
        f" ({time.monotonic() - began:.0f} s){measured and f'; {measured}'}",
        flush=True,
    )
    for finding in findings:
        _tell(target, finding, given.keep)
    if given.grow and not findings:
        for data in grown:
            _write(CORPUS / target.name, data)
    if not findings and campaign.runs > step and len(campaign.kept) < 2:
        print(f"{target.name}: nothing but the seed was reached", file=sys.stderr)
        return True
    return bool(findings)


def _tell(target: Target, finding: Finding, folder: Path) -> None:
    path = _write(folder / f"finding-{target.name}", finding.data)
    print(f"  {finding.why}\n  {path}: {finding.data[:120]!r}", flush=True)


def _write(folder: Path, data: bytes) -> Path:
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    if len(data) <= KEPT_SIZE or "finding" in folder.name:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
