"""A delta applied where its base lies, in memory."""

from __future__ import annotations

from anki_backup import deltas


def patched(table: deltas.Table, frames: list[bytes], base: bytes, size: int) -> bytes:
    """Return what a delta makes of its base; DamageError for what can't be."""
    file = bytearray(base)

    def gather(runs: list[deltas.Run]) -> bytes:
        return b"".join([bytes(file[at : at + count]) for at, count in runs])

    def scatter(runs: list[deltas.Run], data: bytes) -> None:
        for at, count in runs:
            file[at : at + count], data = data[:count], data[count:]
        assert not data

    deltas.patch(table, frames, len(base), size, gather, scatter)
    return bytes(file[:size])
