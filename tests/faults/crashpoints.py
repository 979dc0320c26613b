"""Kill or fail a command at every system call that changes files, then look at what is left.

    python -m tests.faults.crashpoints --base DIR --cmd 'prog backup {D}' --check 'prog verify {D}'

The command runs once under strace on a copy of DIR: every call that changes something
below the copy is a point. For each point and mode it runs again on a fresh copy, and on
entry of exactly that call strace does one thing:

    kill, term, int     sends that signal; a killed process does not make the call
    enospc, eio, edquot, erofs, eacces, emfile, eintr
                        the call fails with that error; with `+` behind, all later ones too

Then the state is inspected, recovered and checked (see `trial`). A run whose fault did
not strike is a miss, and no point at all is an error: exit 2. Exit 1: a state was bad.

strace counts for each thread and name, so give the command one worker. A killed process
loses nothing that it wrote: for what the disk loses see `powercut`.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.faults import commandline, modes, tracing
from tests.faults.modes import KILLED, Codes
from tests.faults.tracing import GROUPS, Point
from tests.faults.trial import CampaignError, Empty, Outcome, Trial, copy, keep, sample, scratch

# A run may make one call more or less than the first one did: which thread is the first to
# want random numbers opens their device. Such a run is given other chances.
SHIFTS = (0, 1, -1) * 8
BATCH = 64


@dataclass(frozen=True)
class Result:
    """What one fault led to."""

    mode: str
    point: Point
    verdict: Literal["ok", "fail", "miss"]
    code: int
    why: str = ""
    kept: Path | None = None

    def __str__(self) -> str:
        """Two lines for a person: where, and why."""
        kept = f"\n    kept in {self.kept}" if self.kept else ""
        return (
            f"{self.verdict.upper()} {self.mode} at {self.point.id} {self.point.arguments[:90]}"
            f"\n    {self.why}{kept}"
        )


@dataclass
class Campaign:
    """All faults of some modes against one command, each on its own copy of `base`.

    Copies are made in `place`, one after the other, if the state remembers where it was.
    """

    base: Path
    trial: Trial
    modes: list[str]
    groups: list[str] = field(default_factory=lambda: list(GROUPS))
    only: str = ""
    max_points: int = 0
    seed: int | None = None
    nested: int = 0
    jobs: int = 2
    codes: Codes = field(default_factory=dict)
    settle_s: float = 0
    may_fail: bool = False
    place: Path | None = None
    keep: Path | None = None
    on_result: Callable[[Result], None] | None = None

    def run(self) -> list[Result]:
        """Try every point and return what came of it; CampaignError when nothing can be said."""
        if reason := tracing.why_not():
            raise CampaignError(reason)
        if unknown := [mode for mode in self.modes if not modes.known(mode)]:
            raise CampaignError(f"no such mode: {', '.join(unknown)}")
        with tempfile.TemporaryDirectory(prefix="crash.", dir=scratch()) as folder:
            found = self._faultless(Path(folder))
            plan = [(mode, point) for mode in self.modes for point in self.points_for(mode, found)]
            results: list[Result] = []
            for at in range(0, len(plan), BATCH):
                results += self._batch(Path(folder), plan[at : at + BATCH])
            for point in sample(found, self.nested) if self.nested else []:
                results += self._again(Path(folder), point)
        return results

    def list_points(self) -> list[Point]:
        """Return every point of the command, in order, without faulting any."""
        with tempfile.TemporaryDirectory(prefix="crash.", dir=scratch()) as folder:
            return self._record(Path(folder, "run"))[0]

    def points_for(self, mode: str, found: list[Point]) -> list[Point]:
        """Return the sample of points that a mode is tried at; none is an error."""
        fit = [
            point
            for point in found
            if modes.fits(mode, point) and re.search(self.only, f"{point.id} {point.arguments}")
        ]
        if not fit:
            raise CampaignError(f"no point for mode {mode}: nothing would be tried")
        return sample(fit, self.max_points, seed=self.seed)

    def _traced(self, state: Path, inject: str | None = None) -> tuple[Outcome, str]:
        return tracing.traced(self.trial, state, self.groups, state.with_name(state.name + ".log"), inject)

    def _record(self, state: Path) -> tuple[list[Point], Outcome]:
        """Run without a fault in a new copy at `state`; return the points, and how the run ended."""
        if tracing.shell_shim(self.trial.argv(self.trial.command, state)[0]):
            raise CampaignError("the command is a shell script, whose shell would be faulted")
        copy(self.base, state)
        time.sleep(self.settle_s)
        outcome, text = self._traced(state)
        if outcome.code and not self.may_fail:
            raise CampaignError(
                f"the command fails without any fault (exit {outcome.code}): {outcome.output[-2000:]}"
            )
        return tracing.points(text, state), outcome

    def _faultless(self, folder: Path) -> list[Point]:
        """Run without any fault; the inspection and the check must like what that leaves."""
        state = self.place or folder / "faultless"
        found, outcome = self._record(state)
        facts = dict(CRASH_MODE="none", CRASH_POINT="end", CRASH_SYSCALL="", CRASH_RC=str(outcome.code))
        if why := self.trial.forbidden(outcome) or self.trial.judge(state, facts, recover=False):
            raise CampaignError(f"a run without any fault is not good: {why}")
        if not found:
            raise Empty("the command changes nothing: no point to fault")
        shutil.rmtree(state)
        return found

    def _batch(self, folder: Path, plan: list[tuple[str, Point]]) -> list[Result]:
        """Fault a few points, on copies that all have settled before the first is used."""
        if self.place:
            return [self._fault(self.place, *planned) for planned in plan]
        states = [copy(self.base, folder / f"p{number:06d}") for number in range(len(plan))]
        time.sleep(self.settle_s)
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(lambda state, planned: self._fault(state, *planned), states, plan))

    def _fault(self, state: Path, mode: str, point: Point) -> Result:
        for shift in SHIFTS:
            if not state.exists():
                copy(self.base, state)
                time.sleep(self.settle_s)
            result = self._judged(state, mode, point, shift)
            shutil.rmtree(state)
            if result.verdict != "miss":
                break
        if self.on_result:
            self.on_result(result)
        return result

    def _judged(self, state: Path, mode: str, point: Point, shift: int) -> Result:
        outcome, text = self._traced(state, modes.injection(mode, point, shift))
        code = modes.exit_status(mode, outcome)
        if not modes.struck(mode, point, code, text, state, shift):
            why = f"the fault did not strike (exit {code}): {outcome.last_line}"
            return Result(mode, point, "miss", code, why)
        facts = {
            "CRASH_MODE": mode,
            "CRASH_POINT": point.id,
            "CRASH_SYSCALL": point.name,
            "CRASH_RC": str(code),
        }
        why = modes.complaint(mode, outcome, self.codes) or self.trial.forbidden(outcome)
        why = f"the command {why}" if why else self.trial.judge(state, facts)
        if not why:
            return Result(mode, point, "ok", code)
        return Result(mode, point, "fail", code, why, keep(state, self.keep, f"{mode}-{point.id}"))

    def _again(self, folder: Path, point: Point) -> Iterator[Result]:
        """Kill the recovery itself at every call, starting from what a kill at `point` left."""
        if not isinstance(self.trial.recover, str):
            raise CampaignError("nested faults need a recovery that is a command line")
        state = copy(self.base, folder / "nested")
        outcome, text = self._traced(state, modes.injection("kill", point, 0))
        if not modes.struck("kill", point, outcome.code, text, state):
            shutil.rmtree(state)
            yield Result("kill", point, "miss", outcome.code, "the kill to recover from did not strike")
            return
        left = state.rename(folder / "killed")
        inner = dataclasses.replace(
            self,
            base=left,
            place=state,
            trial=dataclasses.replace(self.trial, command=self.trial.recover),
            modes=["kill"],
            max_points=0,
            nested=0,
        )
        try:
            yield from inner.run()
        except Empty:
            pass  # the kill came so late that nothing was left to do
        except CampaignError as error:
            yield Result("kill", point, "fail", KILLED, f"the recovery after it: {error}")
        finally:
            shutil.rmtree(left)
            shutil.rmtree(state, ignore_errors=True)


def summary(results: list[Result]) -> tuple[int, str]:
    """Return the exit status of a campaign and a line for each mode and for all."""
    if not results:
        return 2, "no points: nothing was tried"
    lines = []
    for mode in [*dict.fromkeys(result.mode for result in results), ""]:
        of_mode = [result for result in results if mode in ("", result.mode)]
        bad = sum(result.verdict == "fail" for result in of_mode)
        missed = sum(result.verdict == "miss" for result in of_mode)
        lines.append(f"{mode or 'all'}: {len(of_mode)} points, {bad} failures, {missed} missed")
    return (2 if missed else 1 if bad else 0), "\n".join(lines)


def _arguments() -> argparse.ArgumentParser:
    parser = commandline.parser(__doc__)
    add = parser.add_argument
    add("--modes", default=["kill"], type=commandline.words)
    add("--groups", default=list(GROUPS), type=commandline.words, help="of " + ", ".join(GROUPS))
    add("--only", default="", help="regular expression over 'call#n arguments'")
    add("--max-points", type=int, default=0, help="for each mode; 0: all")
    add("--seed", type=int, help="draw the sample, instead of spreading it evenly")
    add(
        "--nested",
        type=int,
        default=0,
        metavar="K",
        help="also kill --recover everywhere, after K of the kills",
    )
    add(
        "--codes",
        action="append",
        default=[],
        metavar="KIND=N,N",
        help="exits allowed after error, term, int",
    )
    add("--settle", type=float, default=0, dest="settle_s", help="seconds between copying and running")
    add("--may-fail", action="store_true", help="the command may fail without any fault")
    add("--list", action="store_true", help="only list the points")
    return parser


def main() -> int:
    """Run one campaign from the command line."""
    given = _arguments().parse_args()
    options = (
        "modes",
        "groups",
        "only",
        "max_points",
        "seed",
        "nested",
        "jobs",
        "settle_s",
        "may_fail",
        "keep",
    )
    campaign = Campaign(
        given.base.absolute(),
        commandline.trial(given),
        codes=modes.allowed(given.codes),
        on_result=lambda result: None if result.verdict == "ok" else print(result, flush=True),
        **{name: getattr(given, name) for name in options},
    )
    if not given.list:
        return commandline.conclude(given, campaign.run, summary)
    try:
        print("\n".join(f"{point.id:18} {point.arguments}" for point in campaign.list_points()))
    except CampaignError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
