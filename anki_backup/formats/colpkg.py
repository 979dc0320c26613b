"""`colpkg`: Anki's own package of a whole collection, streamed from objects.

The layout is that of Anki 2.1.50 and later: meta, collection.anki21b, the media as
numbered entries, and the list of them. Nothing has to be sought, so it can go into
a pipe. What is kept as a zstd frame already is copied as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from anki_backup import filenames, library, packages, parts
from anki_backup.formats import Options, Outcome
from anki_backup.pieces import Contents
from anki_backup.temporary import TemporaryFolder
from anki_backup.zips import Sink, Writer

# A message of protobuf that says: version 3.
META = b"\x08\x03"
LEVEL = 3
BLOCK = 1 << 20


def stream(contents: Contents, sink: Sink, options: Options) -> Outcome:
    """Write the package; Anki takes it by File > Import, or by a double click."""
    files, warnings = filenames.named(contents.media() if options.media else [], library.media_names)
    if options.legacy:
        return _old(contents, sink, filenames.Named(files, warnings), options)
    package = Writer(sink)
    with _collection(contents) as blocks:
        package.put(b"meta", META)
        package.stream(b"collection.anki21b", blocks)
    damaged = packages.put_media(package, files, contents, old=False)
    package.close()
    return Outcome(warnings, damaged)


def _old(contents: Contents, sink: Sink, named: filenames.Named, options: Options) -> Outcome:
    """Write what Anki before 2.1.50 reads; Anki's library brings the collection into that form."""
    with TemporaryFolder(prefix="ankibak-") as place:
        path, package = Path(place) / "collection.anki2", Path(place) / "package"
        contents.collection(path)
        packages.put_stand_ins(path.with_suffix(".media"), named.files)
        with library.opened(path) as collection:
            parts.write_old_colpkg(collection, package, media=options.media)
        path.unlink()
        _, damaged = packages.fill(package, named.files, contents, sink, old=True)
    return Outcome(named.warnings, damaged)


@contextmanager
def _collection(contents: Contents) -> Iterator[Iterator[bytes]]:
    """Give the zstd frame of a collection that was compared."""
    name = contents.backup.collection_sha256
    frame = contents.frame(name)
    if frame is not None:
        for _ in contents.blocks(name):
            pass
        yield frame
        return
    with TemporaryFolder(prefix="ankibak-") as place:
        path = Path(place) / "collection.anki2"
        contents.collection(path)
        yield _packed(path)


def _packed(path: Path) -> Iterator[bytes]:
    # Without threads: each would want megabytes of its own, and the media take far longer.
    packer = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=os.stat(path).st_size)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            if packed := packer.compress(block):
                yield packed
    yield packer.flush()
