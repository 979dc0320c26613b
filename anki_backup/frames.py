"""zstd frames that nothing was compressed for: bytes in raw blocks, at the speed of copying.

After RFC 8878: any decoder reads them. What doesn't compress, as pictures and sounds
don't, gets into a package of Anki's this way without a compressor at work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# The magic number; a descriptor with 8 bytes of size, no checksum; a window of 128 KB.
HEAD = bytes.fromhex("28b52ffd c0 38")
BLOCK_LIMIT = 1 << 17
END = (1).to_bytes(3, "little")


def stored(data: bytes) -> bytes:
    """Return a frame that unpacks to `data`."""
    return b"".join(stored_blocks([data], len(data)))


def stored_blocks(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield a frame that unpacks to the blocks, which are `size` bytes together."""
    yield HEAD + size.to_bytes(8, "little")
    for block in blocks:
        for at in range(0, len(block), BLOCK_LIMIT):
            part = block[at : at + BLOCK_LIMIT]
            yield (len(part) << 3).to_bytes(3, "little")
            yield part
    yield END
