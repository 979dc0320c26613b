"""The pictures of the report: which figures are drawn, under which titles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean

from tests.benchmarks import chart
from tests.benchmarks.chart import Curve
from tests.benchmarks.details import PROGRAMS
from tests.benchmarks.judges import YEAR_BYTES, Raw
from tests.benchmarks.measure import middle

MB = 1_000_000


@dataclass(frozen=True)
class Picture:
    """A picture, the name of its file, and what stands for it where it can't be seen."""

    file: str
    instead: str
    svg: str


def drawn(scenarios: Mapping[str, Raw]) -> Iterator[Picture]:
    """Yield a picture of everything that was measured and is drawn."""
    for scenario, draw in (("hours", _hours), ("year", _year), ("export", _export)):
        figures = scenarios.get(scenario, {})
        if figures and "error" not in figures:
            yield from draw(figures)


def _hours(figures: Raw) -> Iterator[Picture]:
    programs = figures["programs"]
    added = {name: mean(hour["added_bytes"] for hour in hours) for name, hours in programs.items()}
    title = "What one hour of study adds to the repository"
    yield Picture("benchmarks.svg", "bytes that an hour of study adds", chart.bars(title, added))
    taken = [
        Curve(name, [(number, hour["seconds"]) for number, hour in enumerate(programs[name], start=1)])
        for name in ("ankibak", *PROGRAMS)
        if name in programs
    ]
    svg = chart.curves("Time of a run after each hour of study", "hour", "seconds", taken)
    yield Picture("benchmarks-runs.svg", "time of each run", svg)


def _year(figures: Raw) -> Iterator[Picture]:
    if grown := figures.get("grown"):
        days = [(each["day"], each["size_bytes"] / MB) for each in grown]
        bar = [(0, YEAR_BYTES / MB), (days[-1][0], YEAR_BYTES / MB)]
        title = "A repository in a year of 16 hours a day, every one kept"
        svg = chart.curves(title, "days", "MB", [Curve("ankibak", days), Curve("the bar", bar)])
        yield Picture("benchmarks-year.svg", "bytes of a repository over a year", svg)


def _export(figures: Raw) -> Iterator[Picture]:
    both = {
        name: {each["age"]: middle(each["programs"][name]) for each in figures["chosen"]}
        for name in ("ankibak", "borg")
    }
    # Those that were looked at once stand only where there is no median, measured in turns with borg.
    both["ankibak"] = {each["age"]: each["seconds"] for each in figures["looked"]} | both["ankibak"]
    curves = [Curve(name, sorted(points.items()), joined=False) for name, points in both.items()]
    svg = chart.curves(
        "Time of an export by the age of its backup", "captured hours before the newest", "seconds", curves
    )
    yield Picture("benchmarks-export.svg", "time of an export by age", svg)
