"""Cut the power at every system call: which disk states can be left, and are they good?

    python -m tests.faults.powercut --base DIR --cmd 'prog backup {D}' --inspect 'prog verify {D}'

The command runs once under strace on a copy of DIR, with every byte that it writes in
the log. A model of the file system replays the log and keeps apart what is in memory
and what is on disk. Before every call that changes something, and after the last one,
all states that the disk may then be in are built and put through the trial: names
missing, bytes missing, zeros, torn writes, changes out of order (see `powercut_model`).

--fs posix promises no more than POSIX; with --fs ext4 any sync also commits all earlier
name changes in order. Equal states are tried once. CRASH_RC is 0 for the states after
the command's end, when its work must be on disk, and -9 before.

There is no verdict (exit 2) when the model's tree differs from what the run really left,
as after writes through mmap (SQLite's `-shm` excepted), or when nothing was changed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import commandline, powercut_log, tracing
from tests.faults.powercut_model import Tree, build, digest
from tests.faults.powercut_replay import Replay
from tests.faults.trial import CampaignError, Empty, Trial, copy, keep, sample, scratch

END = "after the end"
# How many states `Model.states` begins with that are about everything at once.
WHOLE = 5


@dataclass(frozen=True)
class Cut:
    """One state that a power cut may leave: when it was cut, what arrived, and the tree."""

    moment: str
    arrived: str
    tree: Tree

    @property
    def ended(self) -> bool:
        """Whether the command had already ended, and so had promised that its work is saved."""
        return self.moment == END


@dataclass(frozen=True)
class Result:
    """What became of one state; `why` says what was bad."""

    moment: str
    arrived: str
    why: str = ""
    kept: Path | None = None

    def __str__(self) -> str:
        """Two lines for a person: when, and why."""
        kept = f"\n    kept in {self.kept}" if self.kept else ""
        return f"FAIL {self.moment}: {self.arrived}\n    {self.why}{kept}"


@dataclass
class Campaign:
    """All distinct states that a power cut during one command may leave.

    With `same_place` all are built, one after the other, where the command ran: for one
    that writes down where that was. `on_cuts` sees all of them, before a sample is drawn.
    """

    base: Path
    trial: Trial
    fs: str = "posix"
    max_states: int = 0
    seed: int | None = None
    jobs: int = 2
    same_place: bool = False
    keep: Path | None = None
    on_cuts: Callable[[list[Cut]], None] | None = None
    on_result: Callable[[Result], None] | None = None
    distinct: int = 0

    def run(self) -> list[Result]:
        """Try the states and return what came of each; CampaignError when nothing can be said."""
        with tempfile.TemporaryDirectory(prefix="power.", dir=scratch()) as folder:
            cuts = self.cuts(Path(folder))
            if self.on_cuts:
                self.on_cuts(cuts)
            chosen = self._chosen(cuts)
            with ThreadPoolExecutor(1 if self.same_place else self.jobs) as pool:
                return list(pool.map(lambda work: self._try(Path(folder), *work), enumerate(chosen)))

    def cuts(self, folder: Path) -> list[Cut]:
        """Record the command once and return its distinct states, in order."""
        state, log = copy(self.base, folder / "run"), folder / "log"
        self._record(state, log)
        replay = Replay(log.read_text(), self.base, state, journal=self.fs == "ext4")
        seen: dict[tuple[bytes, bool], Cut] = {}
        for moment, arrived, tree in replay.run():
            seen.setdefault((digest(tree), False), Cut(moment, arrived, tree))
        if not seen:
            raise Empty("the command changes nothing: no moment to cut")
        for arrived, tree in replay.model.states():
            seen.setdefault((digest(tree), True), Cut(END, arrived, tree))
        compare(replay.model.now(), state)
        shutil.rmtree(state)
        self.distinct = len(seen)
        return list(seen.values())

    def _record(self, state: Path, log: Path) -> None:
        if reason := tracing.why_not():
            raise CampaignError(reason)
        argv = self.trial.argv(self.trial.command, state)
        if tracing.shell_shim(argv[0]):
            raise CampaignError("the command is a shell script: name the program itself")
        outcome = self.trial.run([*powercut_log.arguments(str(log)), *argv], state, {})
        if outcome.code:
            raise CampaignError(
                f"the command fails without any fault (exit {outcome.code}): {outcome.output[-2000:]}"
            )

    def _chosen(self, cuts: list[Cut]) -> list[Cut]:
        """Return the sample to try: of the states after the end, which prove the most, a third.

        Those in which all of a kind is missing are among them.
        """
        if not self.max_states:
            return cuts
        after = [cut for cut in cuts if cut.ended]
        before = [cut for cut in cuts if not cut.ended]
        late = after[:WHOLE] + sample(after[WHOLE:], max(1, self.max_states // 3 - WHOLE), seed=self.seed)
        return sample(before, max(1, self.max_states - len(late)), seed=self.seed) + late

    def _try(self, folder: Path, number: int, cut: Cut) -> Result:
        state = folder / ("run" if self.same_place else f"s{number:06d}")
        facts = {"CRASH_MODE": "power", "CRASH_POINT": f"{cut.moment}: {cut.arrived}", "CRASH_SYSCALL": ""}
        try:
            build(cut.tree, state)
            why = self.trial.judge(state, {**facts, "CRASH_RC": "0" if cut.ended else "-9"})
            result = Result(cut.moment, cut.arrived, why)
            if why and self.keep:
                # As the cut left it, not as the trial did.
                shutil.rmtree(state)
                build(cut.tree, state)
                result = replace(result, kept=keep(state, self.keep, f"{number:06d}"))
            if self.on_result:
                self.on_result(result)
            return result
        finally:
            shutil.rmtree(state, ignore_errors=True)


def compare(tree: Tree, real: Path) -> None:
    """Raise CampaignError unless the model's tree is what the run really left in `real`."""
    found: dict[bytes, tuple[str, bytes]] = {}
    top = os.fsencode(real)
    for folder, inner, names in os.walk(top):
        found[os.path.relpath(folder, top)] = ("directory", b"")
        for path in (os.path.join(folder, name) for name in [*inner, *names]):
            link = os.path.islink(path)
            if os.path.isdir(path) and not link:
                continue
            content = os.readlink(path) if link else Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, top)] = ("link" if link else "file", content)
    modelled = {path or b".": (entry.kind, entry.content) for path, entry in tree.items()}
    differ = [path for path in found.keys() | modelled.keys() if found.get(path) != modelled.get(path)]
    differ = sorted(path for path in differ if not path.endswith(b"-shm"))
    if differ:
        raise CampaignError(f"the model differs from the real run in {differ[:5]}: no verdict")


def summary(results: list[Result], distinct: int) -> tuple[int, str]:
    """Return the exit status of a campaign, and a line on it."""
    bad = sum(bool(result.why) for result in results)
    text = f"{distinct} distinct states, {len(results)} tried, {bad} failures"
    return (1 if bad else 0 if results else 2), text


def main() -> int:
    """Run one campaign from the command line."""
    parser = commandline.parser(__doc__)
    parser.add_argument("--fs", choices=["posix", "ext4"], default="posix")
    parser.add_argument("--max-states", type=int, default=0, help="0: all")
    parser.add_argument("--seed", type=int, help="draw the sample, instead of spreading it evenly")
    given = parser.parse_args()
    campaign = Campaign(
        given.base.absolute(),
        commandline.trial(given),
        given.fs,
        given.max_states,
        given.seed,
        given.jobs,
        given.keep,
        on_result=lambda result: print(result, flush=True) if result.why else None,
    )
    return commandline.conclude(given, campaign.run, lambda results: summary(results, campaign.distinct))


if __name__ == "__main__":
    sys.exit(main())
