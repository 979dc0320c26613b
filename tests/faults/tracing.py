"""What strace tells: the calls that change a tree, and whether a fault hit the one it was meant for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.trial import Outcome, Trial

_NAMES = {
    "data": "write pwrite64 writev pwritev pwritev2 copy_file_range sendfile splice fallocate "
    "ftruncate truncate ioctl",
    "sync": "fsync fdatasync sync_file_range syncfs sync",
    "name": "rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir "
    "mkdir mkdirat mknod mknodat",
    "meta": "chmod fchmod fchmodat chown fchown lchown fchownat utimensat setxattr fsetxattr lsetxattr",
    "open": "open openat openat2 creat",
}
GROUPS = {group: names.split() for group, names in _NAMES.items()}
LINE = re.compile(r"^(\d+)\s+([a-z_0-9]+)\((.*)$")
RESUMED = re.compile(r"^(\d+)\s+<\.\.\. [a-z_0-9]+ resumed>(.*)$")
RESULT = re.compile(r"\)\s+= ")
VARYING = re.compile(r"(?:\w*\d\w*-?)+")
UNFINISHED = "<unfinished ...>"
SHOWN = "SIGTERM,SIGINT"


@dataclass(frozen=True)
class Call:
    """One traced call: who made it, its name, and its arguments and result as text."""

    tid: str
    name: str
    rest: str


@dataclass(frozen=True)
class Point:
    """A moment to fault: the `nth` call of that name by the first thread that gets so far."""

    name: str
    nth: int
    arguments: str
    sequence: int

    @property
    def id(self) -> str:
        """How a person names the point: `rename#2`."""
        return f"{self.name}#{self.nth}"


def why_not() -> str | None:
    """Return why nothing can be traced here, or None when it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"strace may not trace here: {(probe.stderr.strip().splitlines() or ['?'])[-1]}"
    return None


def shell_shim(program: str) -> bool:
    """Tell whether a program is a shell script: strace would count and fault the shell's calls."""
    path = shutil.which(program)
    if path is None:
        return False
    with open(path, "rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" not in first


def parse(text: str) -> Iterator[Call]:
    """Yield the calls of a log in the order of their ends, joining what strace had to split.

    A call that never came back, because its process was killed in it, comes last.
    """
    waiting: dict[str, Call] = {}
    for line in text.splitlines():
        if resumed := RESUMED.match(line):
            tid, rest = resumed.groups()
            if begun := waiting.pop(tid, None):
                yield Call(tid, begun.name, begun.rest + rest.lstrip())
        elif whole := LINE.match(line):
            call = Call(*whole.groups())
            if call.rest.endswith(UNFINISHED):
                waiting[call.tid] = Call(call.tid, call.name, call.rest[: -len(UNFINISHED)].rstrip())
            else:
                yield call
    yield from waiting.values()


def changes(call: Call, tree: Path) -> bool:
    """Tell whether a call is one that changes something below `tree`."""
    opens = call.name in GROUPS["open"] and call.name != "creat"
    if opens and not re.search(r"O_CREAT|O_TRUNC", call.rest):
        return False
    if call.name == "ioctl" and "FICLONE" not in call.rest:
        return False
    # The folder that a name counts from is shown even beside a name that is absolute.
    rest = re.sub(r'AT_FDCWD<[^>]*>, "/', '"/', call.rest)
    # The command runs inside the tree, so a bare relative name is in it too.
    return str(tree) in rest or bool(re.match(r'"[^/]', call.rest)) or call.name == "sync"


def numbered(calls: Iterable[Call]) -> Iterator[tuple[Call, int]]:
    """Number calls as strace's `when=` does: for each thread and each name from 1."""
    count: Counter[tuple[str, str]] = Counter()
    for call in calls:
        count[call.tid, call.name] += 1
        yield call, count[call.tid, call.name]


def points(text: str, tree: Path) -> list[Point]:
    """Return every call of a log that changes the tree, as something to be faulted."""
    found: dict[tuple[str, int], Point] = {}
    for call, nth in numbered(parse(text)):
        if changes(call, tree) and (call.name, nth) not in found:
            found[call.name, nth] = Point(call.name, nth, _shown(call, tree), len(found))
    return list(found.values())


def _shown(call: Call, tree: Path) -> str:
    """Return a call's arguments for a person, without the tree's own path."""
    return RESULT.split(call.rest)[0].replace(f"{tree}/", "").replace(str(tree), ".").strip()


def _alike(one: str, other: str) -> bool:
    """Compare arguments without what times, hashes and counters put into them."""
    return VARYING.sub("#", one) == VARYING.sub("#", other)


def hit(text: str, point: Point, tree: Path, *, shift: int = 0, injected: bool) -> bool:
    """Tell whether the fault meant for `point` struck a call that changes the tree.

    A run that made its calls in another order may have been struck elsewhere, at a
    line of its log, say: that proves nothing. With a `shift` the call was counted
    anew, so it must also look like the point's. `injected`: strace marks failed calls.
    """
    for call, nth in numbered(parse(text)):
        if call.name == point.name and nth == point.nth + shift and changes(call, tree):
            meant = not shift or _alike(_shown(call, tree), point.arguments)
            return meant and (not injected or "(INJECTED)" in call.rest)
    return False


def signalled(text: str, name: str) -> bool:
    """Tell whether a signal came, as a log shows it: `--- SIGTERM {si_signo=...} ---`."""
    return f"--- {name} {{" in text


def arguments(log: Path, groups: Sequence[str], inject: str | None = None) -> list[str]:
    """Return how to call strace for groups of calls, each ignored where a kernel lacks it.

    With --seccomp-bpf all other calls are as quick as ever, but strace 6.1 then drops
    injected signals without a word.
    """
    names = ",".join(f"?{name}" for group in groups for name in GROUPS[group])
    words = ["strace", "-f", "-y", "-s", "0", "-o", str(log), "-e", f"signal={SHOWN}", "-e", f"trace={names}"]
    words += ["-e", f"inject={inject}"] if inject else []
    return words if inject and ":signal=" in inject else [*words, "--seccomp-bpf"]


def traced(
    trial: Trial, state: Path, groups: list[str], log: Path, inject: str | None = None
) -> tuple[Outcome, str]:
    """Run a trial's command under strace in `state`; return how it ended, and what strace wrote."""
    words = arguments(log, groups, inject)
    outcome = trial.run([*words, "--", *trial.argv(trial.command, state)], state, {})
    text = log.read_text(errors="replace") if log.exists() else ""
    log.unlink(missing_ok=True)
    return outcome, text
