"""`export` out of a long history, against `borg extract` of the same files.

After many hours of study, each captured, every one of the newest 48 and a sample
of the others (the deepest among them) is exported once. The slowest of both
groups, the newest, the deepest and the oldest are then measured beside borg,
which holds exactly the files that were exported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import BenchmarkError, Measurement, alternate
from tests.benchmarks.peers import Ankibak, Borg, Program, programs

DELTA = 3
DEEPEST = 5
TOLD_EVERY = 50

Listed = list[dict[str, Any]]


def measure(site: Site) -> dict[str, Any]:
    """Return how the repository grew, the first look at many exports, and the repeats of the chosen ones."""
    ankibak, grown = _study(site)
    listed = ankibak.backups()
    for age, backup in enumerate(listed):
        backup["age"] = age
        backup["depth"] = depth(ankibak.repository, backup["collection_sha256"])
    site.say("export a sample")
    looked = {backup["age"]: _look(ankibak, backup) for backup in _sample(listed, site)}
    chosen = [listed[age] for age in _chosen(listed, looked, site.sizes.export_newest)]
    return {
        "hours": len(grown),
        "newest": site.sizes.export_newest,
        "grown": grown,
        "looked": [{"age": age, "depth": listed[age]["depth"], **figures} for age, figures in looked.items()],
        "chosen": _beside_borg(site, ankibak, chosen),
    }


def depth(repository: Path, name: str) -> int:
    """Count the deltas from an object to the whole one; reads the headers that ARCHITECTURE.md lays out."""
    steps = 0
    while True:
        with open(repository / "objects" / name[:2] / name[2:], "rb") as file:
            header = file.read(64)
        if header[4] != DELTA:
            return steps
        name, steps = header[32:64].hex(), steps + 1


def _study(site: Site) -> tuple[Ankibak, list[dict[str, float]]]:
    """Study and capture hour after hour; return the program and what each hour cost."""
    profile = site.profile(site.reference())
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.capture()
    grown = []
    before = ankibak.stored()
    with Student(profile) as student:
        for hour in range(site.sizes.export_hours):
            if hour % TOLD_EVERY == 0:
                site.say(f"hour {hour} of {site.sizes.export_hours}")
            student.study()
            seconds = round(ankibak.capture().seconds, 4)
            after = ankibak.stored()
            grown.append({"seconds": seconds, "added_bytes": (after - before).size_bytes})
            before = after
    return ankibak, grown


def _sample(listed: Listed, site: Site) -> Listed:
    """Return the newest, some others evenly spread with the oldest, and the deepest of all."""
    newest, others = listed[: site.sizes.export_newest], listed[site.sizes.export_newest :]
    spread = max(1, len(others) // site.sizes.export_samples)
    deepest = sorted(others, key=lambda backup: -backup["depth"])[:DEEPEST]
    sampled = {backup["age"]: backup for backup in [*newest, *others[::-1][::spread], *deepest]}
    return [sampled[age] for age in sorted(sampled)]


def _chosen(listed: Listed, looked: dict[int, dict[str, float]], newest: int) -> list[int]:
    """Return the ages that are worth repeats: the ends, the deepest and the slowest of both groups."""
    ages = {0, min(newest, len(listed)) - 1, len(listed) - 1}
    for group in ([age for age in looked if age < newest], [age for age in looked if age >= newest]):
        if group:
            ages.add(max(group, key=lambda age: looked[age]["seconds"]))
            ages.add(max(group, key=lambda age: int(listed[age]["depth"])))
    return sorted(ages)


def _look(ankibak: Ankibak, backup: dict[str, Any]) -> dict[str, float]:
    """Export a backup once, and compare what came out with what its manifest says."""
    out = ankibak.place / "out"
    measured = _extract(ankibak, backup["id"], out)
    with open(out, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != backup["collection_sha256"]:
            raise BenchmarkError(f"the export of {backup['id']} has other bytes than were captured")
    return measured.figures()


def _beside_borg(site: Site, ankibak: Ankibak, chosen: Listed) -> list[dict[str, Any]]:
    """Give borg the very files, then extract each in turns with both."""
    given = site.place / "given"
    given.mkdir()
    borg = Borg(site.place / "borg", given)
    borg.reset()
    for backup in chosen:
        _extract(ankibak, backup["id"], given / "exported")
        os.replace(given / "exported", given / "collection.anki2")
        borg.capture()
    compared = []
    for number, backup in enumerate(chosen, start=1):
        actions = {
            "ankibak": partial(_extract, ankibak, backup["id"], ankibak.place / "out"),
            "borg": partial(_extract, borg, str(number), borg.place / "out"),
        }
        site.say(f"export number {backup['age']}, {backup['depth']} deltas")
        repeats = alternate(site.sizes.repeats, actions)
        compared.append({"age": backup["age"], "depth": backup["depth"], "programs": repeats})
    return compared


def _extract(program: Program, name: str, out: Path) -> Measurement:
    """Extract to where nothing is; taking the last one away is not measured."""
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)
    return program.extract(name, out)
