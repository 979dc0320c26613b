"""`anki2`: the collection alone, byte for byte as it was backed up."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from anki_backup import durable
from anki_backup.errors import UsageError
from anki_backup.formats import Contents, beside, refuse_leftovers

BLOCK = 1 << 20


def write(contents: Contents, target: Path | None, *, media: bool) -> list[str]:
    """Write the collection to `target` or to standard output; media have no place in it."""
    if target is None:
        return _stream(contents)
    if target.is_dir():
        raise UsageError(f"{target} is a folder", hint="Name a file, or choose --format dir.")
    refuse_leftovers(target)
    part = beside(target)
    try:
        contents.collection(part)
        durable.publish_synced(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return []


def _stream(contents: Contents) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="ankibak-") as folder:
        path = Path(folder) / "collection.anki2"
        contents.collection(path)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    return []
