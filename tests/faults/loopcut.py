"""Cut the power on a real file system, at every system call that changes files.

    python -m tests.faults.loopcut --fs xfs --base DIR --cmd 'prog backup {D}' --inspect 'prog verify {D}'

A file system in a file in memory is mounted, and the command runs there on a copy of
DIR. It is killed on entry of one call, and the file is copied at once, without any
sync: the copy holds what had reached the device, as after a power cut. It is mounted,
where the file system's own journal makes of it what it can, then inspected while it
can't be written, and only then recovered and checked. The last point is after the end:
the command ended with 0, and what it promised must be there.

ext4 is mounted with `commit=600`: its journal goes to the disk when a program asks for
it, not because five seconds are over. Needs root, and a loop device for each of `jobs`.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from tests.faults import commandline, modes, tracing
from tests.faults.crashpoints import SHIFTS, Result, summary
from tests.faults.tracing import GROUPS, Point
from tests.faults.trial import CampaignError, Empty, Outcome, Trial, copy, keep, sample, scratch

# Sparse files: what is not written costs nothing. XFS wants 300 MB at least.
SIZES = {"ext4": 64 << 20, "xfs": 300 << 20}
# Two copies of one XFS have one UUID.
OPTIONS = {"ext4": "loop,commit=600", "xfs": "loop,nouuid"}
BUSY_TRIES = 100
END = Point("after the end", 1, "", -1)
# Whoever mounts may be killed himself, so another process cleans up, when its input ends.
GUARD = """\
cat >/dev/null
for place in "$1"/place*/; do
    mountpoint -q "$place" && { umount "$place" 2>/dev/null || umount -l "$place"; }
done
rm -rf --one-file-system "$1"
"""


def why_not(fs: str) -> str | None:
    """Return why no such file system can be made and mounted here, or None when it can."""
    if os.geteuid():
        return "only root may mount"
    if not shutil.which(f"mkfs.{fs}"):
        return f"mkfs.{fs} is not installed"
    try:
        with workplace() as folder:
            make(fs, folder / "image")
            with mounted(fs, folder / "image", folder / "place"):
                return None
    except CampaignError as error:
        return f"{fs} can't be mounted here: {error}"


def told(*words: str | Path) -> None:
    """Run a program of the system; CampaignError with what it says against it."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CampaignError(f"{words[0]}: {done.stderr.strip()}")


def make(fs: str, image: Path) -> None:
    """Make an empty file system in a new file."""
    with open(image, "xb") as file:
        file.truncate(SIZES[fs])
    told(f"mkfs.{fs}", "-q", image)


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a folder; whatever is mounted below it is unmounted, and it goes, even if we are killed."""
    folder = tempfile.mkdtemp(prefix="loop.", dir=scratch())
    with subprocess.Popen(
        ["sh", "-c", GUARD, "guard", folder], stdin=subprocess.PIPE, start_new_session=True
    ):
        yield Path(folder)


@contextmanager
def mounted(fs: str, image: Path, place: Path) -> Iterator[None]:
    """Mount an image at a folder for a while."""
    place.mkdir(exist_ok=True)
    told("mount", "-t", fs, "-o", OPTIONS[fs], image, place)
    try:
        yield
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Unmount; a reader of ours that nobody has collected yet may still have a file open."""
    for _ in range(BUSY_TRIES):
        gc.collect()
        with suppress(CampaignError):
            return told("umount", place)
        time.sleep(0.1)
    told("umount", place)


@dataclass
class Campaign:
    """Cuts during one command on one file system, each on its own copy of `base`."""

    base: Path
    trial: Trial
    fs: str
    max_points: int = 0
    jobs: int = 2
    keep: Path | None = None
    groups: list[str] = field(default_factory=lambda: list(GROUPS))
    on_result: Callable[[Result], None] | None = None

    def run(self) -> list[Result]:
        """Try the points and the end, and return what came of each; CampaignError if nothing can be said."""
        if reason := tracing.why_not() or why_not(self.fs):
            raise CampaignError(reason)
        with workplace() as folder:
            make(self.fs, folder / "image")
            with mounted(self.fs, folder / "image", folder / "place"):
                copy(self.base, folder / "place" / "state")
            desks: SimpleQueue[Path] = SimpleQueue()
            for number in range(self.jobs):
                desk = folder / f"desk-{number}"
                desk.mkdir()
                desks.put(desk)
            chosen = [*sample(self._points(folder), self.max_points), END]
            with ThreadPoolExecutor(self.jobs) as pool:
                return list(pool.map(lambda point: self._try(desks, folder / "image", point), chosen))

    def _points(self, folder: Path) -> list[Point]:
        """Return the calls of a run without any fault, made on this file system."""
        if tracing.shell_shim(self.trial.argv(self.trial.command, folder)[0]):
            raise CampaignError("the command is a shell script, whose shell would be faulted")
        ran, place = clone(folder / "image", folder / "ran"), folder / "place"
        with mounted(self.fs, ran, place):
            outcome, text = tracing.traced(self.trial, place / "state", self.groups, folder / "log")
        ran.unlink()
        if outcome.code:
            raise CampaignError(
                f"the command fails without any fault (exit {outcome.code}): {outcome.output[-2000:]}"
            )
        if found := tracing.points(text, place / "state"):
            return found
        raise Empty("the command changes nothing: no point to cut")

    def _try(self, desks: SimpleQueue[Path], image: Path, point: Point) -> Result:
        """Cut at a point; as in `crashpoints`, a run that made its calls otherwise gets other chances."""
        desk = desks.get()
        try:
            for shift in SHIFTS:
                result = self._cut(desk, image, point, shift)
                if result.verdict != "miss":
                    break
        finally:
            desks.put(desk)
        if self.on_result:
            self.on_result(result)
        return result

    def _cut(self, desk: Path, image: Path, point: Point, shift: int) -> Result:
        ran, left, place = clone(image, desk / "ran"), desk / "left", desk.with_name(f"place-{desk.name}")
        state = place / "state"
        inject = None if point is END else modes.injection("kill", point, shift)
        try:
            with mounted(self.fs, ran, place):
                outcome, text = tracing.traced(self.trial, state, self.groups, desk / "log", inject)
                clone(ran, left)
            if point is not END and not modes.struck("kill", point, outcome.code, text, state, shift):
                why = f"the fault did not strike (exit {outcome.code}): {outcome.last_line}"
                return Result("cut", point, "miss", outcome.code, why)
            why = self.trial.forbidden(outcome)
            with mounted(self.fs, left, place):
                why = why or self._judged(place, state, point, outcome)
                kept = keep(state, self.keep, f"{self.fs}-{point.id}") if why else None
            return Result("cut", point, "fail" if why else "ok", outcome.code, why, kept)
        finally:
            ran.unlink()
            left.unlink(missing_ok=True)

    def _judged(self, place: Path, state: Path, point: Point, outcome: Outcome) -> str:
        """Inspect what the journal made of it before anything can write, then recover and check."""
        if point is END and outcome.code:
            return f"the command ended with exit {outcome.code}: {outcome.last_line}"
        facts = {
            "CRASH_MODE": "cut",
            "CRASH_POINT": point.id,
            "CRASH_SYSCALL": point.name,
            "CRASH_RC": str(outcome.code),
        }
        if not state.is_dir():
            return "nothing is left"
        told("mount", "-o", "remount,ro", place)
        why = dataclasses.replace(self.trial, recover=None, check=None).judge(state, facts)
        told("mount", "-o", "remount,rw", place)
        return why or dataclasses.replace(self.trial, inspect=None).judge(state, facts)


def clone(image: Path, target: Path) -> Path:
    """Copy an image as it is now on its device, syncing nothing."""
    told("cp", "--sparse=always", image, target)
    return target


def in_short(results: list[Result]) -> tuple[int, str]:
    """Return the exit status of a campaign, and a line on it: there is but one mode."""
    code, text = summary(results)
    return code, text.splitlines()[-1]


def main() -> int:
    """Run one campaign from the command line."""
    parser = commandline.parser(__doc__)
    parser.add_argument("--fs", choices=list(SIZES), default="ext4")
    parser.add_argument("--max-points", type=int, default=0, help="0: all")
    given = parser.parse_args()
    campaign = Campaign(
        given.base.absolute(),
        commandline.trial(given),
        given.fs,
        given.max_points,
        given.jobs,
        given.keep,
        on_result=lambda result: None if result.verdict == "ok" else print(result, flush=True),
    )
    return commandline.conclude(given, campaign.run, in_short)


if __name__ == "__main__":
    sys.exit(main())
