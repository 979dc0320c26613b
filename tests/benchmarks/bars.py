"""The bars: what was promised, and how the raw figures stand against it.

Pure: takes the figures of `bench`, whole or in part, and gives rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.benchmarks import judges
from tests.benchmarks.judges import Raw, Result


@dataclass(frozen=True)
class Row:
    """One bar: what was promised, each program's figure, what came out; `met` is None if not measured."""

    what: str
    bar: str
    figures: Mapping[str, str] = field(default_factory=dict)
    result: str = ""
    met: bool | None = None
    aim_met: bool | None = None

    @property
    def verdict(self) -> str:
        """Say in a word or two whether the bar is met."""
        if self.met is None:
            return "not measured"
        if self.met and self.aim_met is False:
            return "yes, the aim not"
        return "yes" if self.met else "**no**"


def rows(raw: Raw) -> list[Row]:
    """Return all rows, in the order of the promises; those without figures say so."""
    found: list[Row] = []
    for scenario, judge, promised in JUDGES:
        figures = raw["scenarios"].get(scenario, {})
        if not figures or "error" in figures:
            found += [Row(what, bar) for what, bar in promised]
        else:
            for (what, bar), row in zip(promised, judge(figures), strict=True):
                found.append(Row(what, bar, *row))
    return found


JUDGES: list[tuple[str, Callable[[Raw], Iterator[Result]], list[tuple[str, str]]]] = [
    (
        "hours",
        judges.hours,
        [
            ("bytes that one changed hour adds, everything counted, mean", "≤ 24 KB"),
            ("`run`, one changed hour", "≤ 1.25 × borg, aim ≤ 1.0 ×"),
        ],
    ),
    (
        "untouched",
        judges.untouched,
        [("`run`, nothing touched", "≤ 0.6 × borg"), ("`run`, nothing touched", "≤ 0.3 × restic")],
    ),
    ("first", judges.first, [("first `run`, no media", "≤ 1.25 × borg")]),
    (
        "export",
        judges.export,
        [
            ("`export`, slowest of the newest 48 hours", "≤ 1.5 × borg"),
            ("`export`, slowest of a long history", "≤ 3 × borg"),
        ],
    ),
    (
        "colpkg",
        judges.colpkg,
        [
            ("`export` as colpkg, a whole collection", "≤ 2 × Anki's own"),
            ("`export` as colpkg, over deltas", "≤ 2 × Anki's own"),
            ("peak memory of `export` as colpkg", "≤ 150 MB"),
        ],
    ),
    (
        "media",
        judges.media,
        [
            ("first `run`, many media files", "≤ 0.8 × restic"),
            ("`run`, many media files, nothing touched", "≤ 0.5 × restic"),
        ],
    ),
    (
        "memory",
        judges.memory,
        [
            ("peak memory of `run`", "≤ 200 MB"),
            ("peak memory of `run`, larger collection", "≤ 200 MB, not growing"),
            ("peak memory of `export`", "≤ 200 MB"),
            ("peak memory of `export`, larger collection", "≤ 200 MB, not growing"),
        ],
    ),
    (
        "adopt",
        judges.adopt,
        [("all bytes after `import` of consecutive packages", "≤ 3 × the newest one, zstd")],
    ),
    (
        "seeing",
        judges.seeing,
        [
            ("`diff`, two backups of an hour", "≤ 2 s"),
            ("`diff`, first to last of a long history", "≤ 2 s"),
            ("`history` of one note in a long history", "≤ 5 s"),
            ("`find` in a long history", "≤ 20 s"),
        ],
    ),
    ("listing", judges.listing, [("`list`, newest 50 of a long history", "≤ 0.25 s, imports nothing heavy")]),
    (
        "serve",
        judges.serve,
        [
            ("`serve`, the slowest kind of page", "≤ 50 ms"),
            ("`serve`, the slowest kind of answer of the API", "≤ 50 ms"),
            ("the largest of these, on the wire", "≤ 60 KB"),
            ("the home page while 40 slow clients stall", "≤ 50 ms"),
            ("peak memory of `serve`, a download of 1 GB", "≤ 90 MB"),
            ("from the start of `serve` to its first answer", "≤ 0.6 s"),
        ],
    ),
    (
        "rollback",
        judges.rollback,
        [("`rollback`, what is there was backed up", "≤ 3 s"), ("`rollback`, studied since", "≤ 3 s")],
    ),
    (
        "year",
        judges.year,
        [
            ("a year of 16 hours a day, nothing pruned", "≤ 280 MB"),
            ("`verify --read-data` of all of it", "≤ 10 min"),
            ("`prune` of it to the default policy", "≤ 150 s"),
            ("peak memory of that `prune`", "≤ 200 MB"),
        ],
    ),
    (
        "decade",
        judges.decade,
        [
            ("ten years of 8 hours a day, pruned", "≤ 5 × the newest one, zstd"),
            ("what it grows by in a year after the first, on average", "≤ 30 MB"),
            ("`export` of the oldest", "≤ 1.5 × the newest"),
            ("`prune` after an hour of the day after", "≤ 3 s"),
        ],
    ),
]
