"""`list`, `show`, `status` and `runs` with a long history in the catalog, and the event log of such years."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from typing import Any

from tests.benchmarks.inputs import CHECKOUT, Site, make_collection
from tests.benchmarks.measure import BenchmarkError, alternate
from tests.benchmarks.peers import Ankibak, programs

SHOWN = 50
HEAVY = {"anki", "litestar", "uvicorn", "jinja2", "apprise", "obstore", "fsspec", "s3fs", "boto3"}


def measure(site: Site) -> dict[str, Any]:
    """Return what these and `catalog rebuild` take, and what heavy `list` imports."""
    small = site.place / "small.anki2"
    make_collection(small, "--notes", "100", "--reviews", "1000")
    ankibak = programs(site.place, site.profile(small), ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.capture()
    site.say(f"make {site.sizes.backups} backups")
    maker = [sys.executable, "-m", "tests.benchmarks.make_backups"]
    subprocess.run([*maker, str(ankibak.repository), str(site.sizes.backups)], cwd=CHECKOUT, check=True)
    rebuilt = ankibak.command("catalog", "rebuild").figures()
    lines = ankibak.command("list").stdout.count(b"\n")
    if lines != min(SHOWN, site.sizes.backups):
        raise BenchmarkError(f"list printed {lines} lines")
    middle = ankibak.backups()[site.sizes.backups // 2]["id"]
    words = {"list": (), "show": (middle,), "status": (), "runs": ()}
    repeats = alternate(
        site.sizes.repeats, {word: partial(ankibak.command, word, *more) for word, more in words.items()}
    )
    return {
        "backups": site.sizes.backups,
        "events_bytes": (ankibak.repository / "state" / "events.jsonl").stat().st_size,
        "rebuild": rebuilt,
        "programs": {"ankibak": repeats.pop("list")},
        "others": repeats,
        "heavy_imports": _heavy_imports(ankibak),
    }


def _heavy_imports(ankibak: Ankibak) -> list[str]:
    """Return which of the heavy libraries a `list` loads, as the interpreter reports them."""
    command = ankibak.words("list")
    told = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        env=ankibak.environment,
        cwd=ankibak.source,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    loaded = re.findall(r"^import time:.*\| *(\w+)(?:\.|$)", told, re.MULTILINE)
    return sorted(HEAVY & set(loaded))
