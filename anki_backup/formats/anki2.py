"""`anki2`: the collection alone, byte for byte as it was backed up."""

from __future__ import annotations

from pathlib import Path

from anki_backup import durable
from anki_backup.formats import Options, Outcome, beside, refuse_folder, refuse_leftovers
from anki_backup.pieces import Contents
from anki_backup.temporary import TemporaryFolder
from anki_backup.zips import Sink

BLOCK = 1 << 20


def write(contents: Contents, target: Path, options: Options) -> Outcome:
    """Make `target` the collection, straight where it is to lie; media have no place in it."""
    refuse_folder(target)
    refuse_leftovers(target)
    part = beside(target)
    try:
        contents.collection(part)
        durable.publish_synced(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Outcome([], [])


def stream(contents: Contents, sink: Sink, options: Options) -> Outcome:
    """Write the collection to a sink, once all of it was compared."""
    with TemporaryFolder(prefix="ankibak-") as folder:
        path = Path(folder) / "collection.anki2"
        contents.collection(path)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                sink.write(block)
    return Outcome([], [])
