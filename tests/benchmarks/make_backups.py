"""Make a long history out of one backup: `python -m tests.benchmarks.make_backups REPOSITORY COUNT`.

The manifests of the newest backup are sealed again under earlier ids, an hour
apart; all stand for the same objects. `catalog rebuild` then finds them.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from anki_backup import model


def make(repository: Path, count: int) -> None:
    """Make `count` backups in all; the one that is there becomes the newest, number `count`."""
    folder = repository / "backups"
    (newest,) = folder.iterdir()
    stats = (newest / "stats.json").read_bytes()
    manifest = model.unseal((newest / "metadata.json").read_bytes(), model.BackupManifest, newest.name)
    for age in range(count):
        created_at = manifest.created_at - timedelta(hours=age)
        name = created_at.strftime("%Y-%m-%dT%H-%M-%SZ") if age else manifest.id
        place = folder / name
        place.mkdir(mode=0o700, exist_ok=not age)
        aged = replace(manifest, id=name, created_at=created_at, sequence=count - age)
        (place / "metadata.json").write_bytes(model.seal(aged))
        (place / "stats.json").write_bytes(stats)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
