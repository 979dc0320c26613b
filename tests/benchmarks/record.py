"""The raw figures of several sittings as one: each scenario says when, where and on how much it was measured.

A document of schema 1 said that once for all of its scenarios; `read` gives it to each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.measure import machine, versions
from tests.benchmarks.scenarios import SCENARIOS

SCHEMA = 2
FILE = "benchmarks.json"


def empty() -> dict[str, Any]:
    """Return a record of nothing."""
    return {"schema": SCHEMA, "scenarios": {}}


def setting(sizes: Sizes, work: Path) -> dict[str, Any]:
    """Return what the figures of a scenario that begins now depend on."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reduced": sizes != Sizes(),
        "sizes": asdict(sizes),
        "machine": machine(work),
        "versions": versions(),
    }


def read(folder: Path) -> dict[str, Any]:
    """Return the record in a folder, of nothing where there is none."""
    path = folder / FILE
    raw: dict[str, Any] = json.loads(path.read_text()) if path.exists() else empty()
    if raw["schema"] == 1:
        shared = {name: raw[name] for name in ("reduced", "sizes", "machine", "versions")}
        measured = {"at": raw["measured_at"]} | shared
        scenarios = {name: {"measured": measured} | each for name, each in raw["scenarios"].items()}
        return {"schema": SCHEMA, "scenarios": scenarios}
    return raw


def merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with what was measured now, in the order in which a whole run measures.

    A scenario that failed takes no figures away.
    """
    kept = before["scenarios"]
    taken = {name: each for name, each in now["scenarios"].items() if name not in kept or "error" not in each}
    both = {**kept, **taken}
    return {"schema": SCHEMA, "scenarios": {name: both[name] for name in SCENARIOS if name in both}}
