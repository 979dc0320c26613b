"""`diff`, `history` and `find` in a long history of changed hours.

What is looked for was edited in the middle of it, so that something changed, and
is in the reference collection, so that every backup has it.
"""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import BenchmarkError, alternate
from tests.benchmarks.peers import Ankibak, programs

TOLD_EVERY = 50


def measure(site: Site) -> dict[str, Any]:
    """Return the repeats of each command, and how many backups they looked at."""
    profile = site.profile(site.reference())
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    ankibak.capture()
    with Student(profile) as student:
        for hour in range(site.sizes.export_hours):
            if hour % TOLD_EVERY == 0:
                site.say(f"hour {hour} of {site.sizes.export_hours}")
            student.study()
            ankibak.capture()
    listed = [backup["id"] for backup in ankibak.backups()]
    changed = json.loads(ankibak.command("diff", "--notes", "--json").stdout)["items"]
    note = next(str(item["id"]) for item in changed if item["kind"] == "note" and item["fields"])
    text = f" {site.sizes.export_hours // 2}"
    site.say("look")
    repeats = alternate(
        site.sizes.repeats,
        {
            "diff": lambda: ankibak.command("diff"),
            "diff, first to last": lambda: ankibak.command("diff", listed[-1], listed[0]),
            "history": lambda: ankibak.command("history", note),
            "find": lambda: ankibak.command("find", text),
        },
    )
    life = json.loads(ankibak.command("history", note, "--json").stdout)["lives"][0]
    if life["backups"] != len(listed) or len(life["events"]) < 2:
        raise BenchmarkError(f"the history of note {note} is not the one that was made: {life}")
    return {"backups": len(listed), "programs": repeats}
