"""The first run, without media: an empty repository each time."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.measure import Measurement, alternate, read_all, touch_memory
from tests.benchmarks.peers import Program, programs

WORKING_BYTES = 512 << 20


def measure(site: Site) -> dict[str, Any]:
    """Return the repeats of each program, and what its repository takes after one capture."""
    collection = site.reference()
    made = programs(site.place, site.profile(collection))
    repeats = alternate(site.sizes.repeats, {name: partial(from_nothing, made[name]) for name in made})
    return {
        "source_bytes": collection.stat().st_size,
        "programs": repeats,
        "stored": {name: asdict(program.stored()) for name, program in made.items()},
    }


def from_nothing(program: Program) -> Measurement:
    """Capture into an empty repository; making it empty is not measured.

    The source is in the page cache, and warm is the memory that it takes to work and to write as much again.
    """
    program.reset()
    touch_memory(WORKING_BYTES + read_all(program.source))
    return program.capture()
