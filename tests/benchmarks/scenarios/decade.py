"""Ten years of 8 hours a day at the default retention.

What retention would have let go long since is not made: before the last year a
backup is the whole month's study, before the last 90 days a week's, before the
last two a day's. The year that keeps every hour (`year`) shows that pruning hours
comes to the same. After the end comes one more day, pruned after each of its hours, as
a timer does.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.measure import alternate
from tests.benchmarks.peers import SOURCE, Ankibak, programs
from tests.benchmarks.simulated import Simulation, hours_of

HOURS_A_DAY = 8
WEEKS_FROM, DAYS_FROM, HOURS_FROM = 365, 90, 3


def steps(years: int, end: datetime) -> Iterator[tuple[datetime, int]]:
    """Yield when a backup is made, and how many hours were studied since the one before."""
    day, since = years * 365, 0
    while day > HOURS_FROM:
        since += 1
        at = end - timedelta(days=day)
        month_ends = (at + timedelta(days=1)).month != at.month
        weekly, daily = day <= WEEKS_FROM, day <= DAYS_FROM
        if daily or month_ends or (weekly and at.weekday() == 6):
            yield at + timedelta(hours=23), since * HOURS_A_DAY
            since = 0
        day -= 1
    for left in range(HOURS_FROM, 0, -1):
        yield from ((at, 1) for at in hours_of(end - timedelta(days=left), HOURS_A_DAY))


def measure(site: Site) -> dict[str, Any]:
    """Return the size at the end of each year, and what prune and export take at the end."""
    profile = site.profile(site.reference())
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.reset()
    collection = profile / "collection.anki2"
    with Simulation(ankibak.repository, collection, SOURCE) as simulation:
        return _measured(site, ankibak, collection, simulation)


def _measured(site: Site, ankibak: Ankibak, collection: Path, simulation: Simulation) -> dict[str, Any]:
    # The day after it is yesterday: what lies in the future is not pruned.
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    years: list[dict[str, float]] = []
    planned = list(steps(site.sizes.decade_years, end))
    prunes = []
    for number, (at, hours) in enumerate(planned):
        simulation.keep(at, hours)
        last = number + 1 == len(planned)
        if last or planned[number + 1][0].year != at.year:
            prunes.append(_prune(ankibak))
            packed = _packed_bytes(collection)
            size = ankibak.stored().size_bytes
            years.append({"year": at.year, "size_bytes": size, "newest_bytes": packed})
            site.say(f"{at.year}: {years[-1]}, {prunes[-1]}")
    after = []
    for at in hours_of(end, HOURS_A_DAY):
        simulation.keep(at, 1)
        after.append(_prune(ankibak))
    site.say(f"the day after: {after}")
    listed = ankibak.backups()
    ends = {"newest": listed[0]["id"], "oldest": listed[-1]["id"]}
    actions = {name: lambda name=name: _export(ankibak, name, ends[name]) for name in ends}
    return {
        "backups": len(listed),
        "stored": asdict(ankibak.stored()),
        "years": years,
        "deepest": simulation.deepest(),
        "prunes": prunes,
        "day_after": after,
        "exports": alternate(site.sizes.media_repeats, actions),
    }


def _packed_bytes(path: Path) -> int:
    """Return what a file takes compressed, by the zstd of everybody."""
    done = subprocess.run(["zstd", "-3", "-q", "-c", path], stdout=subprocess.PIPE, check=True)
    return len(done.stdout)


def _prune(ankibak: Ankibak) -> dict[str, float]:
    pruned = ankibak.command("prune", "--yes", "--json")
    removed = sum(not item["keep"] for item in json.loads(pruned.stdout)["verdicts"])
    return pruned.figures() | {"removed": removed}


def _export(ankibak: Ankibak, name: str, backup: str) -> Any:
    out = ankibak.place / f"out-{name}"
    out.unlink(missing_ok=True)
    return ankibak.extract(backup, out)
