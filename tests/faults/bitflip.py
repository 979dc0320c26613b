"""Damage every file of a repository in every way that disks do; `verify` must notice each.

    python -m tests.faults.bitflip --base DIR --verify 'prog verify {D}' [--only REGEX] [--ignore REGEX]

For each file: single bits flipped (in the first, the last and other bytes), cut to
nothing, to half and by one byte, one byte more, a block of zeros, the bytes of another
file like it, gone. The verification must exit 0 on the whole copy and not 0 on each damaged one, print
no traceback, and leave every file as it found it.

Exit 1: a damage was not noticed, or not in an orderly way. Exit 2: nothing can be said.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.faults.trial import CampaignError, Outcome, Step, Trial, copy, sample, scratch

BLOCK = 512
UNNOTICED = "not noticed"
# Told what was damaged and how the verification ended, says what is wrong with that.
Judge = Callable[["Damage", Path, Outcome], str]


@dataclass(frozen=True)
class Damage:
    """What happens to one file: its new content, or None when it is gone."""

    file: str
    what: str
    content: bytes | None

    def do(self, directory: Path) -> None:
        """Damage the file in a copy; a new inode, so that nothing shared suffers."""
        path = directory / self.file
        path.unlink()
        if self.content is not None:
            path.write_bytes(self.content)

    def __str__(self) -> str:
        """For a person: which file, and how."""
        return f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Result:
    """What came of one damage; `why` says what was bad."""

    damage: Damage
    why: str = ""


@dataclass
class Campaign:
    """Every damage to every file below `base` whose path fits `only` and not `ignore`."""

    base: Path
    verify: Step
    only: str = ""
    ignore: str = r"(?!)"
    flips: int = 24
    max_damages: int = 0
    seed: int = 0
    jobs: int = 2
    timeout: float = 60
    forbid: str = "Traceback"
    must_notice: bool = True
    judge: Judge | None = None
    _trial: Trial = field(init=False)

    def __post_init__(self) -> None:
        """Make the trial that runs the verification and looks at its output."""
        self._trial = Trial("", check=self.verify, timeout=self.timeout, forbid=self.forbid)

    def run(self) -> list[Result]:
        """Try every damage and return what came of each; CampaignError when nothing can be said."""
        todo = sample(self.damages(), self.max_damages, seed=self.seed if self.max_damages else None)
        if not todo:
            raise CampaignError("no file to damage: nothing was tried")
        with tempfile.TemporaryDirectory(prefix="damage.", dir=scratch()) as folder:
            if why := self._trial.judge(copy(self.base, Path(folder, "whole")), {}):
                raise CampaignError(f"the undamaged copy is not good: {why}")
            with ThreadPoolExecutor(self.jobs) as pool:
                return list(pool.map(lambda numbered: self._try(Path(folder), *numbered), enumerate(todo)))

    def damages(self) -> list[Damage]:
        """Return every damage, in the order of the files."""
        files = [path for path in self._files(self.base) if re.search(self.only, path)]
        files = [path for path in files if not re.search(self.ignore, path)]
        drawn = random.Random(self.seed)
        contents = {path: (self.base / path).read_bytes() for path in files}
        found = []
        for path in files:
            others = {other: contents[other] for other in _relatives(path, files)}
            ways = _ways(contents[path], others, self.flips, drawn)
            found += [Damage(path, what, content) for what, content in ways if content != contents[path]]
        return found

    @staticmethod
    def _files(directory: Path) -> list[str]:
        files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(str(path.relative_to(directory)) for path in files)

    def _digests(self, directory: Path) -> dict[str, str]:
        return {
            path: hashlib.sha256((directory / path).read_bytes()).hexdigest()
            for path in self._files(directory)
            if not re.search(self.ignore, path)
        }

    def _try(self, folder: Path, number: int, damage: Damage) -> Result:
        state = copy(self.base, folder / f"d{number:06d}")
        try:
            damage.do(state)
            before = self._digests(state)
            outcome = self._trial.step(self.verify, state, {"CRASH_POINT": str(damage)})
            return Result(damage, self._complaint(damage, state, outcome, before))
        finally:
            shutil.rmtree(state, ignore_errors=True)

    def _complaint(self, damage: Damage, state: Path, outcome: Outcome, before: dict[str, str]) -> str:
        if outcome.code == 0 and self.must_notice:
            return UNNOTICED
        if forbidden := self._trial.forbidden(outcome):
            return forbidden
        after = self._digests(state)
        changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
        if changed:
            return f"the verification changed {min(changed)}"
        return self.judge(damage, state, outcome) if self.judge else ""


def _relatives(path: str, files: list[str]) -> set[str]:
    """Return whose bytes a mix-up would most likely bring: a sibling's, and a namesake's next door.

    `backups/1/metadata.json` has `backups/1/stats.json` and `backups/2/metadata.json`;
    for `objects/ab/cd…` an object in any other folder will do.
    """
    mine = PurePosixPath(path)
    others = [PurePosixPath(other) for other in files if other != path]
    siblings = [other for other in others if other.parent == mine.parent]
    nearby = [other for other in others if other.parent.parent == mine.parent.parent]
    cousins = [other for other in nearby if other.parent != mine.parent]
    namesakes = [other for other in cousins if other.name == mine.name]
    return {str(found[0]) for found in (siblings, namesakes or cousins) if found}


def _ways(
    content: bytes, others: dict[str, bytes], flips: int, drawn: random.Random
) -> Iterator[tuple[str, bytes | None]]:
    """Yield every way to damage one file's content."""
    size = len(content)
    places = {0, size - 1, *(drawn.randrange(size) for _ in range(flips - 2))} if size else set()
    for place in sorted(places):
        bit = drawn.randrange(8)
        flipped = bytes([content[place] ^ 1 << bit])
        yield f"bit {bit} of byte {place} flipped", content[:place] + flipped + content[place + 1 :]
    if size:
        start = drawn.randrange(max(1, size - BLOCK))
        zeros = bytes(min(BLOCK, size - start))
        yield "cut to nothing", b""
        yield "last byte gone", content[:-1]
        yield "cut to half", content[: size // 2]
        yield f"zeros at {start}", content[:start] + zeros + content[start + BLOCK :]
    yield "one byte more", content + b"\0"
    for name, other in others.items():
        yield f"the bytes of {name}", other
    yield "gone", None


def main() -> int:
    """Run one campaign from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--base", type=Path, required=True)
    add("--verify", required=True, help="a command; {D} is the damaged copy")
    add("--only", default="", help="regular expression over paths in DIR")
    add("--ignore", default=r"(?!)", help="regular expression over paths in DIR")
    add("--flips", type=int, default=24, help="single bits for each file")
    add("--max-damages", type=int, default=0, help="0: all")
    add("--seed", type=int, default=0)
    add("--jobs", type=int, default=2)
    add("--timeout", type=float, default=60)
    add("--forbid", default="Traceback", help="regular expression that no output may match")
    given = vars(parser.parse_args())
    began = time.monotonic()
    try:
        results = Campaign(given.pop("base").absolute(), **given).run()
    except CampaignError as error:
        print(error, file=sys.stderr)
        return 2
    bad = [result for result in results if result.why]
    for result in bad:
        print(f"FAIL {result.damage}\n    {result.why}")
    files = len({result.damage.file for result in results})
    print(f"{len(results)} damages to {files} files, {len(bad)} failures ({time.monotonic() - began:.1f} s)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
