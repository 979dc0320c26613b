"""The bars: what was promised, and how the raw figures stand against it.

Pure: takes the figures of `bench`, whole or in part, and gives rows of a table.
Times are medians, ratios are ratios of medians; KB and MB are powers of 1,000,
the stricter reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from tests.benchmarks.measure import middle

HOUR_BYTES = 24_000
MEMORY_BYTES = 200_000_000
PACKAGE_MEMORY_BYTES = 150_000_000
LIST_S = 0.25
SEEING_S = {"diff": 2.0, "diff, first to last": 2.0, "history": 5.0, "find": 20.0}
ADOPTED = 3
ROLLBACK_S = 3.0
YEAR_BYTES = 280_000_000
VERIFY_S = 600.0
PRUNE_S = 150.0
HOURS_PRUNE_S = 3.0
DECADE = 5
GROWTH_BYTES = 30_000_000

Raw = Mapping[str, Any]
Repeats = Mapping[str, Sequence[Mapping[str, float]]]


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


def seconds(value: float) -> str:
    """Write a duration with three digits."""
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def size(value: float) -> str:
    """Write a size in powers of 1,000 with three digits."""
    for unit in ("bytes", "KB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{ratio:.2f} ×"


def group(figures: Raw, newest: bool) -> list[Raw]:
    """Return the exports that were measured beside borg: of the newest hours, or of all."""
    return [each for each in figures["chosen"] if not newest or each["age"] < figures["newest"]]


def worst(steps: Mapping[str, Mapping[str, float]], command: str) -> float:
    """Return the largest peak memory among the steps of one command."""
    return max(figures["peak_rss_bytes"] for step, figures in steps.items() if step.startswith(command))


Result = tuple[Mapping[str, str], str, bool] | tuple[Mapping[str, str], str, bool, bool]


def _against(repeats: Repeats, peer: str, limit: float, aim: float | None = None) -> Result:
    medians = {name: middle(each) for name, each in repeats.items()}
    ratio = medians["ankibak"] / medians[peer]
    shown = {name: seconds(value) for name, value in medians.items()}
    if aim is None:
        return shown, f"{times(ratio)} {peer}", ratio <= limit
    return shown, f"{times(ratio)} {peer}", ratio <= limit, ratio <= aim


def _hours(figures: Raw) -> Iterator[Result]:
    added = {
        name: mean(each["added_bytes"] for each in repeats) for name, repeats in figures["programs"].items()
    }
    shown = {name: size(value) for name, value in added.items()}
    yield shown, size(added["ankibak"]), added["ankibak"] <= HOUR_BYTES
    yield _against(figures["programs"], "borg", 1.25, aim=1.0)


def _untouched(figures: Raw) -> Iterator[Result]:
    yield _against(figures["programs"], "borg", 0.6)
    yield _against(figures["programs"], "restic", 0.3)


def _first(figures: Raw) -> Iterator[Result]:
    yield _against(figures["programs"], "borg", 1.25)


def _export(figures: Raw) -> Iterator[Result]:
    for newest, limit in ((True, 1.5), (False, 3.0)):
        compared = [_against(each["programs"], "borg", limit) for each in group(figures, newest)]
        # The ratio stands first in its text, and all end alike.
        yield max(compared, key=lambda result: float(result[1].split()[0]))


def _colpkg(figures: Raw) -> Iterator[Result]:
    for form in ("whole", "delta"):
        yield _against(figures[form], "anki", 2.0)
    peak = max(each["peak_rss_bytes"] for form in ("whole", "delta") for each in figures[form]["ankibak"])
    label = f"{size(peak)} for {size(figures['source']['size_bytes'])}"
    yield {"ankibak": size(peak)}, label, peak <= PACKAGE_MEMORY_BYTES


def _media(figures: Raw) -> Iterator[Result]:
    yield _against(figures["first"], "restic", 0.8)
    yield _against(figures["untouched"], "restic", 0.5)


def _memory(figures: Raw) -> Iterator[Result]:
    for command in ("run", "export"):
        reference, larger = (worst(figures[name]["steps"], command) for name in ("reference", "larger"))
        label = f"{size(reference)} for {size(figures['reference']['source_bytes'])}"
        yield {"ankibak": size(reference)}, label, reference <= MEMORY_BYTES
        label = (
            f"{size(larger)} for {size(figures['larger']['source_bytes'])}, {times(larger / reference)} that"
        )
        yield {"ankibak": size(larger)}, label, larger <= MEMORY_BYTES


def _listing(figures: Raw) -> Iterator[Result]:
    taken, heavy = middle(figures["programs"]["ankibak"]), figures["heavy_imports"]
    imports = f"imports {', '.join(heavy)}" if heavy else "imports nothing heavy"
    yield {"ankibak": seconds(taken)}, f"{seconds(taken)}, {imports}", taken <= LIST_S and not heavy


def _rollback(figures: Raw) -> Iterator[Result]:
    for state in ("backed up", "studied since"):
        taken = middle(figures["programs"][state])
        yield {"ankibak": seconds(taken)}, seconds(taken), taken <= ROLLBACK_S


def _adopt(figures: Raw) -> Iterator[Result]:
    stored, newest = figures["stored_bytes"], figures["newest_zstd_bytes"]
    ratio = stored["ankibak"] / newest
    shown = {name: size(value) for name, value in stored.items()}
    yield shown, f"{times(ratio)} the newest one, {size(newest)}", ratio <= ADOPTED


def _seeing(figures: Raw) -> Iterator[Result]:
    for name, limit in SEEING_S.items():
        taken = middle(figures["programs"][name])
        yield {"ankibak": seconds(taken)}, seconds(taken), taken <= limit


def _year(figures: Raw) -> Iterator[Result]:
    size_bytes = figures["stored"]["size_bytes"]
    yield {"ankibak": size(size_bytes)}, size(size_bytes), size_bytes <= YEAR_BYTES
    for step, limit in (("verify", VERIFY_S), ("prune", PRUNE_S)):
        taken = figures[step]["seconds"]
        yield {"ankibak": seconds(taken)}, seconds(taken), taken <= limit
    peak = figures["prune"]["peak_rss_bytes"]
    yield {"ankibak": size(peak)}, size(peak), peak <= MEMORY_BYTES


def _decade(figures: Raw) -> Iterator[Result]:
    years = figures["years"]
    first, last = years[min(1, len(years) - 1)], years[-1]
    ratio = last["size_bytes"] / last["newest_bytes"]
    yield {"ankibak": size(last["size_bytes"])}, f"{times(ratio)} the newest", ratio <= DECADE
    grown = (last["size_bytes"] - first["size_bytes"]) / max(1, len(years) - 2)
    yield {"ankibak": size(grown)}, size(grown), grown <= GROWTH_BYTES
    oldest, newest = (middle(figures["exports"][name]) for name in ("oldest", "newest"))
    yield {"ankibak": seconds(oldest)}, f"{times(oldest / newest)} the newest", oldest <= 1.5 * newest
    taken = figures["hour"]["seconds"]
    yield {"ankibak": seconds(taken)}, seconds(taken), taken <= HOURS_PRUNE_S


JUDGES: list[tuple[str, Callable[[Raw], Iterator[Result]], list[tuple[str, str]]]] = [
    (
        "hours",
        _hours,
        [
            ("bytes that one changed hour adds, everything counted, mean", "≤ 24 KB"),
            ("`run`, one changed hour", "≤ 1.25 × borg, aim ≤ 1.0 ×"),
        ],
    ),
    (
        "untouched",
        _untouched,
        [("`run`, nothing touched", "≤ 0.6 × borg"), ("`run`, nothing touched", "≤ 0.3 × restic")],
    ),
    ("first", _first, [("first `run`, no media", "≤ 1.25 × borg")]),
    (
        "export",
        _export,
        [
            ("`export`, slowest of the newest 48 hours", "≤ 1.5 × borg"),
            ("`export`, slowest of a long history", "≤ 3 × borg"),
        ],
    ),
    (
        "colpkg",
        _colpkg,
        [
            ("`export` as colpkg, a whole collection", "≤ 2 × Anki's own"),
            ("`export` as colpkg, over deltas", "≤ 2 × Anki's own"),
            ("peak memory of `export` as colpkg", "≤ 150 MB"),
        ],
    ),
    (
        "media",
        _media,
        [
            ("first `run`, many media files", "≤ 0.8 × restic"),
            ("`run`, many media files, nothing touched", "≤ 0.5 × restic"),
        ],
    ),
    (
        "memory",
        _memory,
        [
            ("peak memory of `run`", "≤ 200 MB"),
            ("peak memory of `run`, larger collection", "≤ 200 MB, not growing"),
            ("peak memory of `export`", "≤ 200 MB"),
            ("peak memory of `export`, larger collection", "≤ 200 MB, not growing"),
        ],
    ),
    ("adopt", _adopt, [("all bytes after `import` of consecutive packages", "≤ 3 × the newest one, zstd")]),
    (
        "seeing",
        _seeing,
        [
            ("`diff`, two backups of an hour", "≤ 2 s"),
            ("`diff`, first to last of a long history", "≤ 2 s"),
            ("`history` of one note in a long history", "≤ 5 s"),
            ("`find` in a long history", "≤ 20 s"),
        ],
    ),
    ("listing", _listing, [("`list`, newest 50 of a long history", "≤ 0.25 s, imports nothing heavy")]),
    (
        "rollback",
        _rollback,
        [("`rollback`, what is there was backed up", "≤ 3 s"), ("`rollback`, studied since", "≤ 3 s")],
    ),
    (
        "year",
        _year,
        [
            ("a year of 16 hours a day, nothing pruned", "≤ 280 MB"),
            ("`verify --read-data` of all of it", "≤ 10 min"),
            ("`prune` of it to the default policy", "≤ 150 s"),
            ("peak memory of that `prune`", "≤ 200 MB"),
        ],
    ),
    (
        "decade",
        _decade,
        [
            ("ten years of 8 hours a day, pruned", "≤ 5 × the newest one, zstd"),
            ("what it grows by in each year after the first", "≤ 30 MB"),
            ("`export` of the oldest", "≤ 1.5 × the newest"),
            ("`prune` after an hour", "≤ 3 s"),
        ],
    ),
]
