"""Pages that moved: the delta of a database that was vacuumed or checked.

VACUUM writes all rows anew, so no page is where it was, but nearly every cell is
in some old page. The first cell of each old page (or the bytes after the pointer
of an overflow page) serves as its fingerprint; the old pages whose fingerprints
turn up in a stretch of new pages are what that stretch is compressed against.
A tenth of a new copy, found without holding either file in memory.

Cells are found as the SQLite file format says: sqlite.org/fileformat2.html, 1.6.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from anki_backup import heap
from anki_backup.deltas import Frame, Op, ReadAt, Table, compress, pack, prefix

STRETCH_BYTES = 4 << 20
SOURCES_BYTES = 8 << 20
FINGERPRINT = 20
LEVEL = 9
HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
DATABASE_HEADER = 100


def encode(
    read_old: ReadAt, read_new: ReadAt, page: int, old_size: int, new_size: int, *, limit: int
) -> tuple[bytes, list[bytes]] | None:
    """Return the table and frames of a delta in which any page may have moved; None past `limit` bytes.

    Both files have whole pages of `page` bytes. Reads each file about twice.
    """
    heap.keep_steady()
    index = _index(read_old, page, old_size)
    ops: list[Op] = []
    frames: list[Frame] = []
    data: list[bytes] = []
    last: set[int] = set()
    stored = 0
    for at in range(0, new_size, STRETCH_BYTES):
        new = read_new(at, min(STRETCH_BYTES, new_size - at))
        found, last = _sources(index, new, at, page, last)
        old = b"".join([read_old(number * page, page) for number in sorted(found)])
        data.append(compress(new, prefix(old), LEVEL))
        ops.append(Op(0, 0, len(new) // page))
        frames.append(Frame(1, len(data[-1]), tuple(_runs(sorted(found)))))
        stored += len(data[-1])
        if stored > limit:
            return None
    # Nothing is copied, so the last op drops the whole base.
    ops[-1] = Op(0, old_size // page, ops[-1].insert)
    return pack(Table(page, tuple(ops), tuple(frames))), data


def page_size(head: bytes) -> int:
    """Return the page size that the first bytes of a database name."""
    (size,) = struct.unpack_from(">H", head, 16)
    return 65536 if size == 1 else int(size)


def _cells(data: bytes, start: int, page: int, number: int) -> tuple[int, ...] | None:
    """Return where the cells of the page at `start` begin; None for what is no b-tree page."""
    first = start + (DATABASE_HEADER if number == 0 else 0)
    header = HEADERS.get(data[first])
    if header is None:
        return None
    count = int.from_bytes(data[first + 3 : first + 5], "big")
    if first + header + 2 * count > start + page:
        return ()
    return struct.unpack_from(f">{count}H", data, first + header)


def _pages(data: bytes, page: int, number: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number of each page and the fingerprints of its cells."""
    for start in range(0, len(data), page):
        cells = _cells(data, start, page, number)
        begins = [start + 8] if cells is None else [start + cell for cell in cells]
        yield number, [data[begin : begin + FINGERPRINT] for begin in begins]
        number += 1


def _index(read_old: ReadAt, page: int, size: int) -> dict[bytes, int]:
    index: dict[bytes, int] = {}
    for at in range(0, size, STRETCH_BYTES):
        data = read_old(at, min(STRETCH_BYTES, size - at))
        for number, fingerprints in _pages(data, page, at // page):
            if fingerprints:
                index[fingerprints[0]] = number
    return index


def _sources(
    index: dict[bytes, int], new: bytes, at: int, page: int, last: set[int]
) -> tuple[set[int], set[int]]:
    """Return the old pages that a stretch is made of, and the one it ends in: the next begins there."""
    found = Counter(last)
    for _, fingerprints in _pages(new, page, at // page):
        hits = [index[key] for key in fingerprints if key in index]
        if hits:
            found.update(hits)
            last = {hits[-1]}
    # Alike rows can lead everywhere: only so much of the old file helps, and fits into memory.
    return {number for number, _ in found.most_common(SOURCES_BYTES // page)}, last


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Write sorted numbers as (skip, take): each run begins `skip` after the end of the one before."""
    end = begin = 0
    for position, number in enumerate(numbers):
        if position == 0 or number != numbers[position - 1] + 1:
            if position:
                yield begin - end, numbers[position - 1] + 1 - begin
                end = numbers[position - 1] + 1
            begin = number
    if numbers:
        yield begin - end, numbers[-1] + 1 - begin
