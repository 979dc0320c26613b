"""`tar.zst`: the files of a backup in a compressed archive, with all that a Unix knows of them.

collection.anki2   media/   metadata.json (the manifest)   stats.json   SHA256SUMS

POSIX.1-2001 (pax) headers, so names may be long and times exact; a name that is not
UTF-8 stands in it byte for byte.
"""

from __future__ import annotations

import tarfile
from contextlib import closing

import zstandard

from anki_backup.bundle import Bundle, File
from anki_backup.formats import Options, Outcome
from anki_backup.pieces import Contents
from anki_backup.zips import Sink

MEDIA = b"media"
LEVEL = 3
RECORD = 10_240


def stream(contents: Contents, sink: Sink, options: Options) -> Outcome:
    """Write the archive as one zstd frame."""
    bundle = Bundle(contents, MEDIA, media=options.media)
    # Without threads: each would want its own megabytes, and the bytes would be others.
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)
        if packed := packer.compress(data):
            sink.write(packed)

    with closing(bundle.files()) as files:
        for file in files:
            write(_header(file))
            for block in file.blocks:
                write(block)
            write(bytes(-written % tarfile.BLOCKSIZE))
    write(bytes(2 * tarfile.BLOCKSIZE))
    write(bytes(-written % RECORD))
    sink.write(packer.flush())
    return Outcome(bundle.warnings, bundle.damaged)


def _header(file: File) -> bytes:
    seconds, rest = divmod(file.mtime_ns, 10**9)
    info = tarfile.TarInfo(file.name.decode("utf-8", "surrogateescape"))
    info.size, info.mtime, info.mode = file.size, seconds, 0o600
    if rest and seconds >= 0:
        info.pax_headers = {"mtime": f"{seconds}.{rest:09d}"}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
