"""A run that finds nothing touched since the one before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.measure import Measurement, alternate
from tests.benchmarks.peers import Ankibak, Program, programs

# A file as young as the look at it may change once more without a new time stamp, so no program trusts it.
SETTLED_S = 3


def measure(site: Site) -> dict[str, Any]:
    """Return the repeats of each program on a source that it has captured before."""
    profile = site.profile(site.reference())
    made = programs(site.place, profile)
    time.sleep(SETTLED_S)
    for program in made.values():
        program.capture()
    repeats = alternate(site.sizes.repeats, again(made))
    # borg never trusts the newest of all files, which is here the only one; beside a newer one it may.
    (profile / "newer").touch()
    time.sleep(SETTLED_S)
    made["borg"].capture()
    return {
        "programs": repeats,
        "beside_newer": alternate(site.sizes.repeats, {"borg": made["borg"].capture}),
    }


def again(made: Mapping[str, Program]) -> dict[str, Callable[[], Measurement]]:
    """Return what each program does a second time; ours has to say that it skipped."""
    return {
        name: program.skip if isinstance(program, Ankibak) else program.capture
        for name, program in made.items()
    }
