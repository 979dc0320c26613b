"""What the time of an attempt goes into, step by step, as its backup tells it."""

from __future__ import annotations

import time

from msgspec import structs

from anki_backup.model import BackupManifest, Durations, Step


class Laps:
    """What the time of an attempt goes into, one thing after the other.

    What is done beside another thing counts as far as it is waited for, so the laps add up to the whole.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._laps: dict[str, int] = {}

    @property
    def total(self) -> int:
        """The milliseconds of all laps."""
        return sum(self._laps.values())

    def end(self, name: str) -> None:
        """Count what went by since the last lap to a step, which may have had laps before."""
        so_far = round((time.monotonic() - self._began) * 1000)
        self._laps[name] = self._laps.get(name, 0) + so_far - self.total

    def flushed(self, manifest: BackupManifest) -> BackupManifest:
        """Return a manifest with what its backup took, now that what it names is on disk."""
        self.end("flush")
        sync_ms = manifest.duration_ms.sync
        took = Durations(sync=sync_ms, total=self.total)
        return structs.replace(manifest, duration_ms=took, steps=self.steps(sync_ms or 0))

    def steps(self, sync_ms: int) -> list[Step]:
        """Return the steps; a source that is first brought up to date does that as it is looked at."""
        first, *others = self._laps.items()
        synced = min(sync_ms, first[1])
        begun = [Step("sync", synced)] if synced else []
        return [*begun, Step(first[0], first[1] - synced), *(Step(*lap) for lap in others)]
