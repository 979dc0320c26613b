"""What is measured, one file for each word of `bench --only`.

Each has `measure(site)`, which uses the empty folder `site.place` as it likes and
returns raw figures that JSON can hold: of every process the time, the processor
time and the peak memory, in the order of the repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.scenarios import (
    adopt,
    colpkg,
    decade,
    export,
    first,
    hours,
    listing,
    media,
    memory,
    rollback,
    seeing,
    serve,
    untouched,
    year,
)

Figures = dict[str, Any]

SCENARIOS: dict[str, Callable[[Site], Figures]] = {
    "first": first.measure,
    "untouched": untouched.measure,
    "hours": hours.measure,
    "listing": listing.measure,
    "media": media.measure,
    "memory": memory.measure,
    "rollback": rollback.measure,
    "export": export.measure,
    "adopt": adopt.measure,
    "colpkg": colpkg.measure,
    "seeing": seeing.measure,
    "serve": serve.measure,
    "year": year.measure,
    "decade": decade.measure,
}
# Half an hour to two hours each: measured only when they are named.
LONG = frozenset({"year", "decade"})
