"""`rollback` and its undo: of a profile that was backed up this hour, and of one that was studied since."""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import BenchmarkError
from tests.benchmarks.peers import Ankibak, programs

HOURS = 12


def measure(site: Site) -> dict[str, Any]:
    """Return the figures of `rollback` to half a day ago; what undoes it is not measured."""
    profile = site.profile(site.reference())
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.capture()
    ankibak.environment["ANKIBAK_SECURITY__ROLLBACK_COOLDOWN"] = "0s"
    figures: dict[str, list[dict[str, float]]] = {"backed up": [], "studied since": []}
    with Student(profile) as student:
        for _ in range(HOURS):
            student.study()
            ankibak.capture()
        target = ankibak.backups()[-1]["id"]
        for _ in range(site.sizes.repeats):
            for state, repeats in figures.items():
                ankibak.command("run")
                if state == "studied since":
                    student.study()
                repeats.append(_roll_back(ankibak, target))
                _roll_back(ankibak, "--undo")
    return {"programs": figures}


def _roll_back(ankibak: Ankibak, word: str) -> dict[str, float]:
    measured = ankibak.command("rollback", word, "--yes", "--json")
    if json.loads(measured.stdout)["safety"] is None:
        raise BenchmarkError(f"no backup was made before: {measured.stdout!r}")
    return measured.figures()
