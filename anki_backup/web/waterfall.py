"""What the time of a backup went into, as a waterfall: each bar begins where the one before it ended."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from anki_backup.model import BackupManifest, Step
from anki_backup.web import charts

WORDS = {
    "sync": "syncing the account",
    "look": "looking for changes",
    "capture": "taking a copy",
    "compare": "comparing its pages",
    "media": "media files",
    "read": "checking and counting",
    "store": "storing and reading back",
    "flush": "writing to the disk",
    "rest": "all else",
}

# We write fewer; a manifest may say what it likes.
MOST = 24


class Fall(NamedTuple):
    """One step in words, its milliseconds, and its bar: the row of a table is the bar's text."""

    words: str
    ms: int
    bar: Markup


def waterfall(manifest: BackupManifest) -> list[Fall]:
    """Return the steps that took a backup any time, in their order; none where only the whole is known."""
    steps = [step for step in manifest.steps[:MOST] or _of_before(manifest) if step.ms]
    whole = sum(step.ms for step in steps)
    falls, begun = [], 0
    for step in steps:
        falls.append(Fall(WORDS.get(step.name, step.name), step.ms, charts.span(begun, step.ms, whole)))
        begun += step.ms
    return falls


def _of_before(manifest: BackupManifest) -> list[Step]:
    """Return the two parts that are known of a backup whose steps were not measured."""
    took = manifest.duration_ms
    return [Step("sync", took.sync), Step("rest", max(0, took.total - took.sync))] if took.sync else []
