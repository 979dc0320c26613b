"""Deltas: how to make new content out of a base.

Both are counted in units: pages for a collection, bytes for a list of media. The
table of a delta is a row of unsigned LEB128 numbers:

    unit, count of ops, then for each op
        copy                units taken from the base as they are
        insert * 2 + moved  units that are new
        drop                only if moved is 1, else drop = insert: units of the base that are skipped
    count of frames, then for each frame
        ops, length         how many of the ops it fills, and the bytes of its zstd frame
        count of sources, then for each source: skip, take

After the last op the rest of the base is copied. Each frame is one zstd frame of
the inserted units of its ops, with raw bytes of the base as prefix (what `zstd --patch-from`
does): its sources where it names any (runs of units, each `skip` units after the end of the
one before), else what its ops drop; none where that is longer than `FRAME_LIMIT`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import zstandard

from anki_backup.errors import DamageError

LEVEL = 12
WINDOW_LOG_LIMIT = 27
TABLE_LIMIT = 4 << 20
LONG = re.compile(rb"[\x80-\xff]{1,9}[\x00-\x7f]?")  # a number of more than 7 bits, 64 at most
FRAME_LIMIT = 64 << 20

Run = tuple[int, int]
Data = bytes | bytearray
Prefix = zstandard.ZstdCompressionDict
ReadAt = Callable[[int, int], bytes]
Gather = Callable[[list[Run]], bytes]
Scatter = Callable[[list[Run], bytes], object]


class Op(NamedTuple):
    """Copy units from the base, then skip `drop` of its units and put in `insert` new ones."""

    copy: int
    drop: int
    insert: int


class Frame(NamedTuple):
    """One zstd frame: how many ops it fills, its compressed bytes, its prefix if not the dropped units."""

    ops: int
    length: int
    sources: tuple[tuple[int, int], ...]


class Table(NamedTuple):
    """The plan of a delta."""

    unit: int
    ops: tuple[Op, ...]
    frames: tuple[Frame, ...]


def prefix(data: Data) -> Prefix | None:
    """Return a copy of what a frame may refer to, None past the limit; the caller can let go of its own."""
    fits = 0 < len(data) <= FRAME_LIMIT
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if fits else None


def compress(new: Data, before: Prefix | None = None, level: int = LEVEL) -> bytes:
    """Compress `new` as one zstd frame that may refer to every byte of a prefix."""
    known = len(before) if before else 0
    window = max(10, min(WINDOW_LOG_LIMIT, (len(new) + known).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(new), dict_size=known, window_log=window
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=before).compress(new)


def decompress(frame: bytes, before: Prefix | None, size: int) -> bytes:
    """Return the `size` bytes of a frame; DamageError for anything else.

    The stated size is compared before a byte is unpacked: zstandard's own limit
    does not hold when the header states a size.
    """
    try:
        if zstandard.frame_content_size(frame) != size:
            raise DamageError("a frame of a delta has another size than its table says")
        decompressor = zstandard.ZstdDecompressor(dict_data=before, max_window_size=1 << WINDOW_LOG_LIMIT)
        data = decompressor.decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamageError(f"a frame of a delta can't be unpacked: {error}") from error
    if len(data) != size:
        raise DamageError("a frame of a delta is cut off")
    return data


def pack(table: Table) -> bytes:
    """Write a table as LEB128 numbers."""
    numbers = [table.unit, len(table.ops)]
    for op in table.ops:
        moved = op.drop != op.insert
        numbers += [op.copy, op.insert * 2 + moved]
        if moved:
            numbers.append(op.drop)
    numbers.append(len(table.frames))
    for frame in table.frames:
        numbers += [frame.ops, frame.length, len(frame.sources)]
        for skip, take in frame.sources:
            numbers += [skip, take]
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def unpack(data: bytes) -> Table:
    """Read a table; DamageError when it is not one, whatever its bytes."""
    # By index: a reader of a thousand tables feels every call.
    numbers = _numbers(data)
    try:
        unit, left, at = numbers[0], numbers[1], 2
        ops = []
        while left:
            copy, insert = numbers[at], numbers[at + 1]
            if insert & 1:
                ops.append(Op(copy, numbers[at + 2], insert >> 1))
                at += 3
            else:
                ops.append(Op(copy, insert >> 1, insert >> 1))
                at += 2
            left -= 1
        frames = []
        left, at = numbers[at], at + 1
        while left:
            count, length, sources = numbers[at : at + 3]
            at += 3
            ends = at + 2 * sources
            if ends > len(numbers):
                raise IndexError
            pairs = zip(numbers[at:ends:2], numbers[at + 1 : ends : 2], strict=True)
            frames.append(Frame(count, length, tuple(pairs)))
            at = ends
            left -= 1
    except (IndexError, ValueError) as error:
        raise DamageError("the table of a delta is cut off") from error
    if at != len(numbers) or unit < 1 or sum(frame.ops for frame in frames) != len(ops):
        raise DamageError("the table of a delta contradicts itself")
    return Table(unit, tuple(ops), tuple(frames))


def _numbers(data: bytes) -> list[int]:
    """Return the numbers of a table; those of one byte, as most are, are taken together."""
    numbers: list[int] = []
    at = 0
    for found in LONG.finditer(data):
        numbers += data[at : found.start()]
        at = found.end()
        if data[at - 1] > 0x7F:
            raise DamageError("the table of a delta is cut off, or holds a number beyond 64 bits")
        numbers.append(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(found[0])))
    return numbers + list(data[at:])


class _Step(NamedTuple):
    """One op in bytes: where it copies from, what it drops, how much it inserts."""

    copy_from: int
    copy: int
    drop_from: int
    drop: int
    insert: int


def _steps(table: Table, base_size: int, size: int) -> tuple[list[_Step], tuple[int, int]]:
    """Return the ops in bytes and the rest to copy (from, count); refuses what doesn't add up."""
    steps, base, made = [], 0, 0
    for op in table.ops:
        copy, drop, insert = (count * table.unit for count in op)
        steps.append(_Step(base, copy, base + copy, drop, insert))
        base += copy + drop
        made += copy + insert
    _fit(base, made, base_size, size)
    return steps, (base, base_size - base)


def _fit(base: int, made: int, base_size: int, size: int) -> None:
    """Refuse ops that take and make other sizes than there are."""
    if base > base_size or made + base_size - base != size:
        raise DamageError("the table of a delta doesn't fit its base")


def _filled(
    table: Table, steps: list[_Step], base_size: int, frames: Iterable[bytes], read_at: ReadAt
) -> Iterator[tuple[list[_Step], bytes]]:
    """Yield the steps of each frame with the bytes that they insert."""

    def gather(runs: list[Run]) -> bytes:
        return b"".join([read_at(start, count) for start, count in runs if count])

    first = 0
    for frame, data in zip(table.frames, frames, strict=True):
        group = steps[first : first + frame.ops]
        first += frame.ops
        runs = [(step.drop_from, step.drop) for step in group]
        if frame.sources:
            runs, end = [], 0
            for skip, take in frame.sources:
                runs.append(((end + skip) * table.unit, take * table.unit))
                end += skip + take
        size = sum(step.insert for step in group)
        if any(start + count > base_size for start, count in runs):
            raise DamageError("a frame of a delta refers beyond its base")
        yield group, _unpacked(data, runs, size, gather)


def _unpacked(packed: bytes, before: list[Run], size: int, gather: Gather) -> bytes:
    """Return the `size` bytes of a frame that refers to these runs of the base."""
    if size > FRAME_LIMIT:
        raise DamageError("a frame of a delta is larger than any of ours")
    refers = size and sum(count for _, count in before) <= FRAME_LIMIT  # else nothing is read of the base
    return decompress(packed, prefix(gather(before)) if refers else None, size)


def apply(
    table: Table,
    frames: Iterable[bytes],
    base_size: int,
    size: int,
    read_at: ReadAt,
    write: Callable[[bytes], object],
) -> None:
    """Write the new content from its start, reading the base through `read_at(offset, count)`.

    Raises DamageError before it writes a byte more than `size`.
    """
    steps, rest = _steps(table, base_size, size)
    for group, data in _filled(table, steps, base_size, frames, read_at):
        at = 0
        for step in group:
            _copy(step.copy_from, step.copy, read_at, write)
            write(data[at : at + step.insert])
            at += step.insert
    _copy(*rest, read_at, write)


def _copy(start: int, count: int, read_at: ReadAt, write: Callable[[bytes], object]) -> None:
    for at in range(start, start + count, 1 << 20):
        write(read_at(at, min(1 << 20, start + count - at)))


def in_place(table: Table, base_size: int | None = None) -> bool:
    """Say whether nothing moves: each unit stands where it stood, only the end may grow or shrink.

    Whether anything of the base follows the last op is known only with its size.
    """
    used, moved = 0, False
    for copy, drop, insert in table.ops:
        # Once an op moves the end, only growth may follow: nothing is left of the base to move.
        if moved and (copy or drop):
            return False
        used += copy + drop
        moved = moved or drop != insert
    followed = moved and base_size is not None and used * table.unit < base_size
    return not followed and not any(frame.sources for frame in table.frames)


def patch(
    table: Table, frames: Iterable[bytes], base_size: int, size: int, gather: Gather, scatter: Scatter
) -> None:
    """Turn the base into the new content where it lies; only for tables that are `in_place`.

    The caller cuts the content to `size` afterwards. A frame at a time: of small steps there
    are thousands.
    """
    if not in_place(table, base_size):
        raise DamageError("a delta moves units and can't be applied in place")
    unit, first, old, new = table.unit, 0, 0, 0
    base, made = (sum(op.copy + op[part] for op in table.ops) * unit for part in (1, 2))
    _fit(base, made, base_size, size)
    for frame, packed in zip(table.frames, frames, strict=True):
        dropped, inserted = list[Run](), list[Run]()
        for copy, drop, insert in table.ops[first : first + frame.ops]:
            old += copy
            new += copy
            if drop:
                dropped.append((old * unit, drop * unit))
            if insert:
                inserted.append((new * unit, insert * unit))
            old += drop
            new += insert
        first += frame.ops
        scatter(inserted, _unpacked(packed, dropped, sum(count for _, count in inserted), gather))
