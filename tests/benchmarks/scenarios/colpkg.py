"""`export --format colpkg` against Anki's own export of the same profile.

Twice: of a collection that is kept whole, and of one that is a delta, after an hour
of study. Anki's time is that of the call alone, inside of a process that has loaded
and opened everything; ours is that of the whole process.
"""

from __future__ import annotations

import os
import sys
import zipfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import BenchmarkError, Measurement, alternate, process, stored
from tests.benchmarks.peers import Ankibak, programs

ANKI = """
import sys, time
from anki.collection import Collection
collection = Collection(sys.argv[1])
began = time.perf_counter()
collection.export_collection_package(sys.argv[2], include_media=True, legacy=False)
print(time.perf_counter() - began)
"""


def measure(site: Site) -> dict[str, Any]:
    """Return the repeats of both programs, for both forms of the collection."""
    profile = site.profile(site.reference(), site.sizes.package_media)
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    found: dict[str, Any] = {"media": site.sizes.package_media}
    for form in ("whole", "delta"):
        if form == "delta":
            with Student(profile) as student:
                student.study()
        ankibak.capture()
        actions = {"ankibak": partial(_ours, ankibak), "anki": partial(_anki, site, profile)}
        site.say(f"export a collection that is kept {form}")
        found[form] = alternate(site.sizes.media_repeats, actions)
    return found | {"source": asdict(stored(profile))}


def _ours(ankibak: Ankibak) -> Measurement:
    out = ankibak.place / "out.colpkg"
    out.unlink(missing_ok=True)
    measured = ankibak.command("export", "latest", "-o", str(out))
    _look(out)
    return measured


def _anki(site: Site, profile: Path) -> Measurement:
    out = site.place / "anki.colpkg"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-c", ANKI, str(profile / "collection.anki2"), str(out)]
    measured = process(command, os.environ, site.place)
    _look(out)
    return Measurement(float(measured.stdout), measured.cpu_seconds, measured.peak_rss_bytes, b"")


def _look(package: Path) -> None:
    """See that a package is one and has its collection; the tests import such packages."""
    with zipfile.ZipFile(package) as made:
        if not {"meta", "media", "collection.anki21b"} <= set(made.namelist()):
            raise BenchmarkError(f"{package} is no package")
