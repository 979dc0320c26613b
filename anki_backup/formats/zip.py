"""`zip`: the files of a backup in an archive that every system opens.

collection.anki2   media/   metadata.json (the manifest)   stats.json   SHA256SUMS

A name that is not UTF-8 stands in it byte for byte, without the mark for UTF-8.
"""

from __future__ import annotations

from contextlib import closing

from anki_backup.bundle import Bundle
from anki_backup.filenames import is_utf8
from anki_backup.formats import Options, Outcome
from anki_backup.model import file_name_text
from anki_backup.pieces import Contents
from anki_backup.zips import Sink, Writer

MEDIA = b"media"


def stream(contents: Contents, sink: Sink, options: Options) -> Outcome:
    """Write the archive; media are stored as they are, all else is deflated."""
    bundle = Bundle(contents, MEDIA, media=options.media)
    archive = Writer(sink)
    with closing(bundle.files()) as files:
        for file in files:
            if not is_utf8(file.name):
                shown = file_name_text(file.name.removeprefix(MEDIA + b"/"))
                bundle.warnings.append(
                    f"media file {shown!r} is not named in UTF-8; unzipping may rename it, use tar.zst"
                )
            if file.is_media and isinstance(file.blocks, list):
                archive.put(file.name, file.blocks[0], file.mtime_ns)
            else:
                archive.stream(file.name, file.blocks, deflate=not file.is_media, mtime_ns=file.mtime_ns)
    archive.close()
    return Outcome(bundle.warnings, bundle.damaged)
