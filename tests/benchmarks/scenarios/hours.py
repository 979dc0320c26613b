"""Changed hours: 60 answers and 3 edits, then a capture by every program of the very same file."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import rotated
from tests.benchmarks.peers import PROGRAMS, programs
from tests.benchmarks.simple import simple


def measure(site: Site) -> dict[str, Any]:
    """Return of each program and hour the process and the bytes that the repository grew by."""
    profile = site.profile(site.reference())
    made = {**programs(site.place, profile, tuple(PROGRAMS)), **simple(site.place, profile)}
    for program in made.values():
        program.capture()
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in made}
    with Student(profile) as student:
        for hour in range(site.sizes.hours):
            site.say(f"hour {hour + 1} of {site.sizes.hours}")
            student.study()
            for name in rotated(list(made), hour):
                before = made[name].stored()
                captured = made[name].capture()
                added = made[name].stored() - before
                figures[name].append(
                    captured.figures()
                    | {"added_bytes": added.size_bytes, "added_block_bytes": added.block_bytes}
                )
    return {"hours": site.sizes.hours, "programs": figures}
