"""A delta and its base give the new content back, and no bytes at all do harm in place of a delta."""

from __future__ import annotations

import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anki_backup import deltas, pages
from anki_backup.deltas import Frame, Op, Table
from anki_backup.errors import DamageError
from tests.patching import patched

PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
NO_LIMIT = 1 << 40
TEN_GB = 10 << 30
repeatable = settings(derandomize=True, max_examples=80)


@st.composite
def file_pairs(draw, sizes=PAGE_SIZES):
    """Draw an old and a new file of whole pages: some changed, some moved, the end longer or shorter."""
    size = draw(st.sampled_from(sizes))
    fillings = st.binary(min_size=1, max_size=8)

    def page(filling: bytes) -> bytes:
        return (filling * (size // len(filling) + 1))[:size]

    old = [page(draw(fillings)) for _ in range(draw(st.integers(0, 8)))]
    new = list(old)
    for at in draw(st.lists(st.integers(0, 7), max_size=5)):
        if at < len(new):
            change = draw(fillings)
            new[at] = new[at][:40] + change + new[at][40 + len(change) :]
    grown = [page(draw(fillings)) for _ in range(draw(st.integers(0, 4)))]
    kept = draw(st.integers(0, len(new)))
    return b"".join(old), b"".join(new + grown if grown else new[:kept])


def blocks(old: bytes, new: bytes, size: int = 1 << 17) -> Iterator[tuple[bytes, bytes]]:
    for at in range(0, len(new), size):
        yield old[at : at + size], new[at : at + size]


def encode(
    old: bytes, new: bytes, limit: int = NO_LIMIT, frame_bytes: int = pages.FRAME_BYTES
) -> tuple[bytes, list[bytes]] | None:
    unit = pages.unit_for(len(old), len(new))
    changes = list(pages.changed(blocks(old, new), unit))
    return pages.encode(
        changes, unit, len(old), len(new), count=len(changes), limit=limit, frame_bytes=frame_bytes
    )


def reader(base: bytes) -> deltas.ReadAt:
    return lambda at, count: base[at : at + count]


def applied(table: Table, frames: list[bytes], base: bytes, size: int) -> bytes:
    made = bytearray()
    deltas.apply(table, frames, len(base), size, reader(base), made.extend)
    assert len(made) == size
    return bytes(made)


def harmless(table: bytes, frames: list[bytes], base: bytes, size: int) -> bytes | None:
    """Apply what may be no delta: the bytes that it makes, None when it is refused."""
    made = bytearray()
    try:
        deltas.apply(deltas.unpack(table), frames, len(base), size, reader(base), made.extend)
    except DamageError:
        assert len(made) <= size
        return None
    return bytes(made)


@contextmanager
def little_memory(extra: int = 512 << 20) -> Iterator[None]:
    """Let this process grow by `extra` bytes only."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def zeros_frame(size: int) -> bytes:
    """Return a sound zstd frame of `size` zeros, a whole number of 128 KiB blocks, in little room."""
    # https://www.rfc-editor.org/rfc/rfc8878: magic, descriptor, window of 2^20, size of the content
    head = b"\x28\xb5\x2f\xfd" + bytes([0b11000000, 10 << 3]) + struct.pack("<Q", size)
    block = 1 << 17 << 3 | 1 << 1
    count = size >> 17
    return (
        head + (block.to_bytes(3, "little") + b"\0") * (count - 1) + (block | 1).to_bytes(3, "little") + b"\0"
    )


@repeatable
@given(file_pairs())
def test_a_base_and_its_delta_give_the_new_pages(pair):
    (old, new), (table, frames) = pair, encode(*pair)
    read = deltas.unpack(table)
    assert applied(read, frames, old, len(new)) == new
    assert [frame.length for frame in read.frames] == [len(frame) for frame in frames]


@repeatable
@given(file_pairs())
def test_a_page_delta_can_be_applied_where_the_base_lies(pair):
    (old, new), (table, frames) = pair, encode(*pair)
    read = deltas.unpack(table)
    assert deltas.in_place(read)
    assert patched(read, frames, old, len(new)) == new


@repeatable
@given(st.sampled_from(PAGE_SIZES), st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_the_unit_divides_every_size_and_is_a_page_where_it_can_be(size, counts):
    sizes = [count * size for count in counts]
    unit = pages.unit_for(*sizes)
    assert all(number % unit == 0 for number in sizes) and pages.unit_for(*sizes, 4097) == 1
    assert unit == min(size, 4096) or unit > size or (size == 2048 and unit == 1024)


def test_only_what_changed_is_stored():
    old = b"".join(number.to_bytes(4, "big") * 1024 for number in range(2000))
    new = bytearray(old)
    new[5 * 4096 + 7] ^= 1
    new[1999 * 4096 + 9] ^= 1
    table, frames = encode(old, bytes(new))
    assert deltas.unpack(table).ops == ((5, 1, 1), (1993, 1, 1))
    assert len(table) + sum(map(len, frames)) < 100


def test_equal_files_need_no_frame():
    assert encode(b"x" * 8192, b"x" * 8192) == (deltas.pack(Table(4096, (), ())), [])


@repeatable
@given(
    file_pairs(sizes=[512]),
    st.sampled_from([-100, -1, 0, 1]),
    st.sampled_from([512, 1024, pages.FRAME_BYTES]),
)
@example((b"a" * 2048, b"b" * 512), -1, 1024)
def test_a_delta_that_would_pass_its_limit_is_given_up(pair, more, frame_bytes):
    whole = encode(*pair, frame_bytes=frame_bytes)
    size = len(whole[0]) + sum(map(len, whole[1]))
    assert encode(*pair, limit=size + more, frame_bytes=frame_bytes) == (whole if more >= 0 else None)


@repeatable
@given(file_pairs(sizes=[512]))
def test_many_frames_give_what_one_gives(pair):
    table, frames = encode(*pair, frame_bytes=1024)
    assert applied(deltas.unpack(table), frames, pair[0], len(pair[1])) == pair[1]


def test_growth_beyond_one_frame_is_applied_where_the_base_lies():
    old, new = b"a" * 4 * 4096, b"a" * 3 * 4096 + b"b" * 9 * 4096
    table, frames = encode(old, new, frame_bytes=4 * 4096)
    # The first frame takes what is over.
    assert [zstandard.frame_content_size(frame) // 4096 for frame in frames] == [1, 4, 4]
    assert patched(deltas.unpack(table), frames, old, len(new)) == new


@st.composite
def moves(draw):
    """Draw a base, ops that take it apart, and the content that they make."""
    base = draw(st.binary(min_size=1, max_size=300))
    at, made, ops, inserted = 0, b"", [], []
    for _ in range(draw(st.integers(0, 5))):
        copy = draw(st.integers(0, len(base) - at))
        drop = draw(st.integers(0, len(base) - at - copy))
        new = draw(st.binary(max_size=30))
        made += base[at : at + copy] + new
        at += copy + drop
        ops.append(Op(copy, drop, len(new)))
        inserted.append((base[at - drop : at], new))
    return base, made + base[at:], ops, inserted


@repeatable
@given(moves(), st.integers(1, 3), st.data())
def test_ops_may_move_and_frames_may_lean_on_any_part_of_the_base(drawn, group, data):
    base, new, ops, inserted = drawn
    frames, packed = [], []
    for first in range(0, len(ops), group):
        some = inserted[first : first + group]
        prefix, sources = b"".join(old for old, _ in some), ()
        if data.draw(st.booleans()):
            skip = data.draw(st.integers(0, len(base) - 1))
            take = data.draw(st.integers(1, len(base) - skip))
            prefix, sources = base[skip : skip + take], ((skip, take), (0, 0))
        packed.append(deltas.compress(b"".join(bytes_ for _, bytes_ in some), deltas.prefix(prefix)))
        frames.append(Frame(len(some), len(packed[-1]), sources))
    table = Table(1, tuple(ops), tuple(frames))
    assert deltas.unpack(deltas.pack(table)) == table
    assert applied(table, packed, base, len(new)) == new
    if deltas.in_place(table) and (not ops or ops[-1].drop == ops[-1].insert):
        assert patched(table, packed, base, len(new)) == new


@repeatable
@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_damage(data):
    try:
        table = deltas.unpack(data)
    except DamageError:
        return
    assert sum(frame.ops for frame in table.frames) == len(table.ops)


def sample() -> tuple[bytes, bytes, bytes, list[bytes]]:
    old = b"".join(bytes([number]) * 4096 for number in range(40))
    new = old[:4096] + b"new".ljust(4096) + old[8192:] + b"grown".ljust(4096)
    return old, new, *encode(old, new)


def test_a_table_cut_anywhere_is_damaged():
    _, _, table, _ = sample()
    for length in range(len(table)):
        with pytest.raises(DamageError):
            deltas.unpack(table[:length])


def test_no_changed_bit_makes_a_delta_do_more_than_fail():
    old, new, table, frames = sample()
    whole = table + frames[0]
    assert harmless(table, frames, old, len(new)) == new
    for at in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        parts = bytes(damaged[: len(table)]), [bytes(damaged[len(table) :])]
        harmless(*parts, old, len(new))


@pytest.mark.parametrize(
    ("table", "size"),
    [
        pytest.param(Table(1, (Op(11, 0, 0),), (Frame(1, 0, ()),)), 10, id="copies beyond its base"),
        pytest.param(Table(1, (Op(0, 11, 0),), (Frame(1, 0, ()),)), 10, id="drops beyond its base"),
        pytest.param(Table(1 << 60, (Op(1, 0, 0),), (Frame(1, 0, ()),)), 10, id="counts in huge units"),
        pytest.param(Table(1, (Op(0, 0, 1 << 62),), (Frame(1, 0, ()),)), 10, id="inserts what no disk holds"),
        pytest.param(Table(1, (Op(0, 0, 1),), (Frame(1, 0, ((10, 1),)),)), 11, id="leans beyond its base"),
        pytest.param(Table(1, (Op(0, 0, 1),), (Frame(1, 0, ()),)), 10, id="makes more than was said"),
        pytest.param(Table(1, (Op(0, 1, 0),), (Frame(1, 0, ()),)), 10, id="makes less than was said"),
    ],
)
def test_a_table_that_does_not_add_up_is_refused_before_it_does_anything(table, size):
    frame = deltas.compress(b"x" * min(10, table.ops[0].insert))
    with little_memory():
        assert harmless(deltas.pack(table), [frame], b"0123456789", size) is None


@pytest.mark.parametrize("field", ["ops", "frames", "sources"])
def test_a_huge_count_costs_nothing(field):
    many = b"\xff" * 8 + b"\x7f"
    data = {"ops": b"\x01" + many, "frames": b"\x01\0" + many, "sources": b"\x01\0\x01\0\0" + many}[field]
    with little_memory(), pytest.raises(DamageError, match="cut off"):
        deltas.unpack(data)
    with pytest.raises(DamageError, match="64 bits"):
        deltas.unpack(b"\x01" + b"\xff" * 20)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no zstd at all", id="other bytes"),
        pytest.param(deltas.compress(b"x" * 11), id="one byte more"),
        pytest.param(deltas.compress(b"x" * 9), id="one byte less"),
        pytest.param(deltas.compress(bytes(range(10)))[:-3], id="cut"),
        pytest.param(b"\x28\xb5\x2f\xfd\x00\x00", id="no size"),
        pytest.param(zeros_frame(TEN_GB), id="ten gigabytes"),
    ],
)
def test_a_frame_of_another_size_than_its_table_says_is_refused_unpacked(frame):
    with little_memory(), pytest.raises(DamageError):
        deltas.decompress(frame, None, 10)


def test_ten_gigabytes_on_which_frame_and_table_agree_are_refused():
    frame = zeros_frame(TEN_GB)
    table = Table(1 << 20, (Op(0, 0, TEN_GB >> 20),), (Frame(1, len(frame), ()),))
    with little_memory():
        assert harmless(deltas.pack(table), [frame], b"", TEN_GB) is None
