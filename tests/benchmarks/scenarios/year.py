"""A year of 16 hours a day, every one kept; then all of it verified, and pruned to the default policy."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.benchmarks.inputs import Site
from tests.benchmarks.peers import SOURCE, Ankibak, programs
from tests.benchmarks.simulated import Simulation, hours_of

HOURS_A_DAY = 16
TOLD_EVERY = 30
WEEK = 7


def measure(site: Site) -> dict[str, Any]:
    """Return what a year takes, and how long reading all of it and pruning it takes."""
    profile = site.profile(site.reference())
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.reset()
    with Simulation(ankibak.repository, profile / "collection.anki2", SOURCE) as simulation:
        return _measured(site, ankibak, simulation)


def _measured(site: Site, ankibak: Ankibak, simulation: Simulation) -> dict[str, Any]:
    days = site.sizes.year_days
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    simulation.keep(end - timedelta(days=days))
    grown = []
    for day in range(days):
        if day % WEEK == 0:
            grown.append({"day": day, "size_bytes": ankibak.stored().size_bytes})
        if day % TOLD_EVERY == 0:
            site.say(f"day {day} of {days}")
        for at in hours_of(end - timedelta(days=days - day), HOURS_A_DAY):
            simulation.keep(at, 1)
    ankibak.command("catalog", "rebuild")
    backups = 1 + days * HOURS_A_DAY
    figures: dict[str, Any] = {
        "backups": backups,
        "grown": [*grown, {"day": days, "size_bytes": ankibak.stored().size_bytes}],
        "stored": asdict(ankibak.stored()),
        "deepest": simulation.deepest(),
    }
    site.say(f"verify {backups} backups: {figures}")
    figures["verify"] = ankibak.command("verify", "--read-data").figures()
    site.say(f"prune {backups} backups: {figures['verify']}")
    pruned = ankibak.command("prune", "--yes", "--json")
    told = json.loads(pruned.stdout)
    figures["prune"] = pruned.figures() | {"kept": sum(item["keep"] for item in told["verdicts"])}
    figures["left"] = asdict(ankibak.stored()) | {"deepest": simulation.deepest()}
    site.say(f"pruned: {figures['prune']} {figures['left']}")
    return figures
