"""Peak memory of `run` and `export`, on the reference collection and on one several times as large."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.peers import Ankibak, programs


def measure(site: Site) -> dict[str, Any]:
    """Return for both collections what each kind of run and export took."""
    found = {}
    for name, collection in (("reference", site.reference()), ("larger", site.larger())):
        site.say(f"{name}: {collection.stat().st_size} bytes")
        found[name] = {"source_bytes": collection.stat().st_size, "steps": _steps(site, collection)}
    return found


def _steps(site: Site, collection: Path) -> dict[str, Any]:
    """Go through what can make a run large: all of it new, a few pages, many, every page."""
    profile = site.profile(collection)
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    steps = {"run, first": ankibak.capture().figures()}
    with Student(profile) as student:
        student.study()
        steps["run, one hour"] = ankibak.capture().figures()
        steps["run, nothing touched"] = ankibak.skip().figures()
        for _ in range(site.sizes.repeats):
            student.study()
        steps[f"run, {site.sizes.repeats} hours"] = ankibak.capture().figures()
        newest = ankibak.backups()[0]["id"]
        steps["export, over deltas"] = _export(ankibak, newest)
        student.vacuum()
        student.study()
    steps["run, after VACUUM"] = ankibak.capture().figures()
    steps["export, after VACUUM"] = _export(ankibak, "latest")
    shutil.rmtree(ankibak.place)
    return steps


def _export(ankibak: Ankibak, name: str) -> dict[str, float]:
    out = ankibak.place / "exported.anki2"
    out.unlink(missing_ok=True)
    return ankibak.extract(name, out).figures()
