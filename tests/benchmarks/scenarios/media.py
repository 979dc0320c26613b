"""A collection with many media files: the first run, and runs that find nothing touched.

For up to six minutes ext4 steps around inodes that were freed (`recently_deleted` in its `ialloc.c`),
which makes whoever creates many files look twice as slow as on a disk that was left alone.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.measure import alternate, stored
from tests.benchmarks.peers import programs
from tests.benchmarks.scenarios.first import from_nothing
from tests.benchmarks.scenarios.untouched import SETTLED_S, again


def measure(site: Site) -> dict[str, Any]:
    """Return the repeats of both kinds of run, and what the repositories take."""
    time.sleep(site.sizes.media_wait_seconds)
    profile = site.profile(site.reference(), site.sizes.media)
    time.sleep(SETTLED_S)
    made = programs(site.place, profile)
    first = alternate(site.sizes.media_repeats, {name: partial(from_nothing, made[name]) for name in made})
    return {
        "source": asdict(stored(profile)),
        "first": first,
        "stored": {name: asdict(program.stored()) for name, program in made.items()},
        "untouched": alternate(site.sizes.repeats, again(made)),
    }
