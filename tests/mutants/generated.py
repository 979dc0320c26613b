"""Mutants that nobody thought of: all that mutmut makes of the rooms where a mistake would lose cards.

`python -m tests.mutants.generated` lets it work in a copy of the checkout, as `[tool.mutmut]`
of pyproject.toml says, and prints each change that no test noticed, and the score: how
many of a hundred changes a test noticed. One that nobody can tell from the program as it
is (`equivalent`) counts neither way. Exit 1 below BAR, 2 when not all were tried.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import TEST_DATA
from tests.mutants import KILLED, SURVIVED, checkout
from tests.mutants.equivalent import EQUIVALENT, Equivalent

BAR = 90.0
MUTMUT = Path(sys.executable).with_name("mutmut")
MEMORY = Path("/dev/shm")
SAME, UNTRIED = "same", "UNTRIED"
# What pytest's exit code says; whatever ends a run in another way was noticed too.
WORDS = {None: UNTRIED, 0: SURVIVED, 5: SURVIVED, 33: SURVIVED}


@dataclass(frozen=True)
class Change:
    """A change by mutmut's name for it, and what became of it."""

    name: str
    word: str

    @property
    def place(self) -> str:
        """Return room, class and function: `objects.ObjectStore.put`."""
        _, room, function = self.name.partition("__mutmut_")[0].split(".")
        return ".".join([room, *function.removeprefix("x").removeprefix("_").strip("ǁ").split("ǁ")])


def tried(copy: Path) -> Iterator[Change]:
    """Yield what became of each change of a copy in which mutmut was at work."""
    for results in sorted(copy.glob("mutants/anki_backup/*.meta")):
        for name, code in json.loads(results.read_text())["exit_code_by_key"].items():
            yield Change(name, WORDS.get(code, KILLED))


def difference(change: Change) -> tuple[str, str]:
    """Return the lines before and after, each in one; of the copy that is the working directory."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # reads the configuration there

    lines = get_diff_for_mutant(change.name).splitlines()[3:]
    before, after = (" ".join(line[1:] for line in lines if line.startswith(sign)) for sign in "-+")
    return " ".join(before.split()), " ".join(after.split())


def run(copy: Path, jobs: int, names: list[str]) -> int:
    """Let mutmut work in a copy; what it says goes to the terminal."""
    environment = {**os.environ, "ANKIBAK_TEST_DATA": str(TEST_DATA), "TMPDIR": str(copy.parent)}
    words = [str(MUTMUT), "run", "--max-children", str(jobs), *names]
    return subprocess.run(words, cwd=copy, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def report(copy: Path) -> int:
    """Print what was not noticed, and how many were; return the exit status."""
    counts: dict[str, Counter[str]] = {}
    used: set[Equivalent] = set()
    with chdir(copy):
        for change in tried(Path()):
            word = change.word
            if word == SURVIVED:
                before, after = difference(change)
                same = [entry for entry in EQUIVALENT if entry.covers(change.place, before, after)]
                used.update(same)
                word = SAME if same else word
                if not same:
                    print(f"{change.name}\n    - {before}\n    + {after}")
            counts.setdefault(change.place.partition(".")[0], Counter())[word] += 1
    for room, count in counts.items():
        print(f"{room:12} {_line(count)}")
    total = sum(counts.values(), Counter())
    print(f"{'all':12} {_line(total)}")
    if total[UNTRIED]:
        return 2
    for entry in EQUIVALENT:
        if entry not in used:
            print(f"no longer there, or noticed: {entry}")
    return 0 if _score(total) >= BAR else 1


def _line(count: Counter[str]) -> str:
    said = (
        f"{count.total()} changes, {count[SAME]} equivalent, {count[KILLED]} noticed, {count[SURVIVED]} not"
    )
    return f"{said}: {_score(count):.1f} %" + (f" ({count[UNTRIED]} not tried)" if count[UNTRIED] else "")


def _score(count: Counter[str]) -> float:
    return 100 * count[KILLED] / max(1, count[KILLED] + count[SURVIVED])


def main() -> int:
    """Try them all, or those of a name; go on in a folder that is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.generated", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, as mutmut calls them: '*pages*'")
    parser.add_argument("--at", type=Path, help="work in this folder: once more only what survived there")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="only say what came of it so far")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants.", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        home = (given.at or Path(folder)).absolute()
        copy = home / "checkout"
        if not given.report:
            before = {change.name for change in tried(copy) if change.word == SURVIVED}
            checkout(home)
            # Which test runs which function may be another now.
            (copy / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
            if code := run(copy, given.jobs, given.names):
                return code
            again = [
                change.name for change in tried(copy) if change.word == SURVIVED and change.name in before
            ]
            if again and not given.names and (code := run(copy, given.jobs, again)):
                return code
        return report(copy)


if __name__ == "__main__":
    sys.exit(main())
