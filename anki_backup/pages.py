"""SQLite page arithmetic: which pages changed, and the delta that says so.

An hour of study changes 1 % of the pages by some 40 bytes each; with the old
pages as prefix they compress a hundredfold. One large frame is 4 to 6 times
smaller than many small ones, so a frame is as large as memory allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anki_backup import heap
from anki_backup.deltas import Frame, Op, Table, compress, pack, prefix

PAGE = 4096
FRAME_BYTES = 20 << 20
# From here on compressing a frame decides about the peak of a process.
LARGE_BYTES = 4 << 20

Change = tuple[int, bytes, bytes]


def unit_for(*sizes: int) -> int:
    """Return the unit in which files of these sizes can be compared page by page."""
    return next(unit for unit in (PAGE, 1024, 512, 1) if all(size % unit == 0 for size in sizes))


def changed(blocks: Iterable[tuple[bytes, bytes]], unit: int = PAGE) -> Iterator[Change]:
    """Yield (number, old, new) for each unit that differs, in order.

    `blocks` are pairs of blocks from the same place of the old and the new file,
    each a whole number of units long but for the last. `old` is shorter or
    empty where the old file has ended.
    """
    first = 0
    for old, new in blocks:
        if old != new:
            for at in range(0, len(new), unit):
                before, after = old[at : at + unit], new[at : at + unit]
                if before != after:
                    yield first + at // unit, before, after
        first += len(new) // unit


def encode(
    changes: Iterable[Change],
    unit: int,
    old_size: int,
    new_size: int,
    *,
    count: int,
    limit: int,
    frame_bytes: int = FRAME_BYTES,
) -> tuple[bytes, list[bytes]] | None:
    """Return the table and the compressed frames of a page delta, None if it would pass `limit` bytes.

    Sizes are whole units; `count` is how many changes there are. Holds at most two times
    `frame_bytes` of pages at once.
    """
    ops: list[Op] = []
    frames: list[Frame] = []
    data: list[bytes] = []
    stored = 0
    for run_ops, old, new in _frames(changes, count * unit, frame_bytes):
        ops.extend(run_ops)
        before = prefix(old)
        old.clear()  # it may be as large as anything that compressing takes
        if len(new) >= LARGE_BYTES:
            heap.give_back()
        data.append(compress(new, before))
        frames.append(Frame(len(run_ops), len(data[-1]), ()))
        stored += len(data[-1])
        if stored > limit:
            return None
    tail = _tail(ops, old_size // unit, new_size // unit)
    if tail:
        ops.append(tail)
        data.append(compress(b""))
        frames.append(Frame(1, len(data[-1]), ()))
        stored += len(data[-1])
    table = pack(Table(unit, tuple(ops), tuple(frames)))
    return (table, data) if stored + len(table) <= limit else None


def _frames(
    changes: Iterable[Change], length: int, frame_bytes: int
) -> Iterator[tuple[list[Op], bytearray, bytearray]]:
    """Gather changed units into runs and runs into frames: (ops, old bytes, new bytes).

    The first frame takes what is left over of `length`. The end of a collection is where
    reviews are added and what their indexes grow by, which say the same twice: in one
    frame that costs up to a quarter less.
    """
    room = length % frame_bytes or frame_bytes
    ops: list[Op] = []
    old, new, end = bytearray(), bytearray(), 0
    for number, before, after in changes:
        drop = 1 if before else 0
        if ops and number == end:
            copy, dropped, inserted = ops[-1]
            ops[-1] = Op(copy, dropped + drop, inserted + 1)
        else:
            ops.append(Op(number - end, drop, 1))
        old += before
        new += after
        end = number + 1
        if len(new) >= room:
            yield ops, old, new
            ops, old, new = [], bytearray(), bytearray()
            room = frame_bytes
    if ops:
        yield ops, old, new


def _tail(ops: list[Op], old_units: int, new_units: int) -> Op | None:
    """The op that drops the end of a base that is longer than the new content."""
    used = sum(op.copy + op.drop for op in ops)
    kept = sum(op.copy + op.insert for op in ops)
    copy = new_units - kept
    drop = old_units - used - copy
    return Op(copy, drop, 0) if drop > 0 else None
