"""Every object of a chain comes back byte for byte, in few steps, or is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from anki_backup import chains, deltas, durable, pages
from anki_backup.errors import DamageError, StorageError
from anki_backup.header import DELTA, HEADER_BYTES, ZSTD, Info
from anki_backup.objects import ObjectStore

UNIT = 512
PAGES = 60


def fresh(root: Path) -> ObjectStore:
    (root / "objects").mkdir()
    return ObjectStore(root / "objects", durable.Batch(root))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return fresh(tmp_path)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def page_delta(old: bytes, new: bytes) -> tuple[bytes, list[bytes]]:
    changes = list(pages.changed([(old, new)], UNIT))
    return pages.encode(changes, UNIT, len(old), len(new), count=len(changes), limit=1 << 30)


def put_next(store: ObjectStore, newest: str, content: Callable[[str], bytes], new: bytes) -> str:
    """Keep `new` as the page delta that follows `newest`, as a run does."""
    base, position = chains.base_for_next(store, newest)
    old = content(base.name)
    table, frames = page_delta(old, new)
    chains.put_delta(store, sha(new), len(new), base.name, position, table, frames)
    return sha(new)


def put_header(store: ObjectStore, name: str, base: str, position: int, payload: bytes = b"") -> None:
    """Keep a delta that says of itself what the caller likes."""
    info = Info(name, DELTA, 10, HEADER_BYTES, len(payload), zlib.crc32(payload), position, base)
    store.put_payload(info, [payload])


@pytest.fixture(scope="module")
def long_chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectStore, list[bytes]]:
    """Return a chain of 110 states of a file that changes, grows and shrinks; read it only."""
    drawn = random.Random(1)
    store = fresh(tmp_path_factory.mktemp("chain"))
    states = [drawn.randbytes(PAGES * UNIT)]
    store.put(states[0])
    for number in range(1, 110):
        data = bytearray(states[-1])
        for _ in range(3):
            data[drawn.randrange(len(data))] ^= 0xFF
        if number % 7 == 0:
            data += drawn.randbytes(2 * UNIT)
        if number % 11 == 0:
            del data[-UNIT:]
        states.append(bytes(data))
        put_next(store, sha(states[-2]), {sha(state): state for state in states}.__getitem__, states[-1])
    return store, states


def test_every_64th_skips_back_over_64_and_every_256th_over_256():
    for position in range(1, 5000):
        span = position - chains.base_position(position)
        assert span == (256 if position % 256 == 0 else 64 if position % 64 == 0 else 1)


def test_the_way_back_takes_63_steps_then_three_and_one_for_each_256():
    steps = [0]
    for position in range(1, 6000):
        steps.append(steps[chains.base_position(position)] + 1)
    assert max(steps[:64]) == 63
    assert max(steps[:1024]) == 69
    assert max(steps[:5800]) == 87


def test_a_way_that_is_too_long_or_too_costly_carries_no_more():
    assert chains.Way(chains.DEEPEST - 1, 0, 100).carries_more()
    assert not chains.Way(chains.DEEPEST - 1, 0, 100).longer(1).carries_more()
    assert chains.Way(1, 100 * chains.COSTLIEST, 100).carries_more()
    assert not chains.Way(1, 100 * chains.COSTLIEST + 1, 100).carries_more()


def test_the_base_that_comes_next_is_always_on_the_way_back():
    for newest in range(5000):
        way = [newest]
        while way[-1]:
            way.append(chains.base_position(way[-1]))
        assert chains.base_position(newest + 1) in way


def test_every_object_of_a_long_chain_comes_back(long_chain, tmp_path):
    store, states = long_chain
    path = tmp_path / "made"
    for state in states:
        chains.materialise(store, sha(state), path)
        assert path.read_bytes() == state
    assert {entry.name for entry in tmp_path.iterdir()} <= {"made", "home"}


def test_every_object_of_a_long_chain_is_read_alike(long_chain):
    store, states = long_chain
    assert all(chains.read(store, sha(state)) == state for state in states[::9])


def test_a_long_chain_follows_the_law(long_chain):
    store, states = long_chain
    for position, state in enumerate(states):
        way = chains.ancestry(store, sha(state))
        assert way[0].position == position
        assert way[-1].position == 0
        assert len(way) <= 65
        if position:
            assert way[1].name == sha(states[chains.base_position(position)])
    assert store.info(sha(states[64])).base == sha(states[0])
    assert store.info(sha(states[65])).base == sha(states[64])


def test_an_older_content_that_is_there_is_gone_on_from(long_chain):
    store, states = long_chain
    base, position = chains.base_for_next(store, sha(states[40]))
    assert (base.position, position) == (40, 41)


def test_where_a_position_is_gone_the_nearest_before_it_serves(store):
    whole = store.put(b"0123456789")
    put_header(store, "a" * 64, whole, 60)
    put_header(store, "b" * 64, "a" * 64, 127)
    base, position = chains.base_for_next(store, "b" * 64)
    assert (base.position, position) == (60, 128)


def test_a_longer_file_in_the_way_is_replaced(long_chain, tmp_path):
    store, states = long_chain
    (tmp_path / "made").write_bytes(b"x" * 10 * PAGES * UNIT)
    chains.materialise(store, sha(states[5]), tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == states[5]


def test_what_moves_is_applied_through_a_second_file(store, tmp_path):
    old, new = b"0123456789" * 50, b"x" + b"0123456789" * 50 + b"y"
    frame = deltas.compress(b"xy")
    table = deltas.Table(
        1, (deltas.Op(0, 0, 1), deltas.Op(len(old), 0, 1)), (deltas.Frame(2, len(frame), ()),)
    )
    chains.put_delta(store, sha(new), len(new), store.put(old), 1, deltas.pack(table), [frame])
    chains.materialise(store, sha(new), tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == new == chains.read(store, sha(new))
    assert not (tmp_path / "made.part").exists()


def refused(store: ObjectStore, name: str, path: Path, words: str) -> None:
    """See that no way of getting an object back gives anything."""
    assert not chains.is_sound(store, name)
    with pytest.raises(DamageError, match=words):
        chains.read(store, name)
    with pytest.raises(DamageError, match=words):
        chains.materialise(store, name, path)
    with pytest.raises(DamageError, match=words):
        chains.base_for_next(store, name)


def test_a_cycle_is_refused(store, tmp_path):
    put_header(store, "a" * 64, "b" * 64, 2)
    put_header(store, "b" * 64, "a" * 64, 1)
    put_header(store, "c" * 64, "c" * 64, 1)
    for name in ("a" * 64, "b" * 64, "c" * 64):
        refused(store, name, tmp_path / "made", "has no end")


def test_a_cycle_is_seen_when_it_closes(store, monkeypatch):
    put_header(store, "a" * 64, "b" * 64, 2)
    put_header(store, "b" * 64, "a" * 64, 1)
    read, info = [], store.info
    monkeypatch.setattr(store, "info", lambda name: (read.append(name), info(name))[1])
    with pytest.raises(DamageError, match="has no end"):
        chains.ancestry(store, "a" * 64)
    assert read == ["a" * 64, "b" * 64]


def test_a_chain_without_end_is_refused(store, tmp_path):
    name = store.put(b"0123456789")
    for number in range(chains.STEPS_LIMIT + 1):
        put_header(store, f"{number:064x}", name, number + 1)
        name = f"{number:064x}"
    assert len(chains.ancestry(store, f"{chains.STEPS_LIMIT - 1:064x}")) == chains.STEPS_LIMIT + 1
    refused(store, name, tmp_path / "made", "has no end")


def test_a_missing_base_is_refused(store, tmp_path):
    put_header(store, "a" * 64, "b" * 64, 1)
    refused(store, "a" * 64, tmp_path / "made", f"object {'b' * 64} is missing")


@pytest.mark.parametrize("other", [b"z" * 20 * UNIT, b"z" * 19 * UNIT, b"", b"z"])
def test_a_wrong_base_never_passes_for_the_right_one(store, tmp_path, other):
    old = bytes(range(256)) * 40
    new = old[:UNIT] + b"n" * UNIT + old[2 * UNIT :]
    table, frames = page_delta(old, new)
    chains.put_delta(store, sha(new), len(new), store.put(other), 1, table, frames)
    with pytest.raises(DamageError):
        chains.read(store, sha(new))
    with pytest.raises(DamageError):
        chains.materialise(store, sha(new), tmp_path / "made")


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x01\0\0", id="no length"),
        pytest.param(b"\xff\xff\xff\xff", id="a table of 4 GiB"),
        pytest.param(b"\0\0\0\x03" + b"\x01\0\0", id="a table of 48 MiB"),
        pytest.param(b"\x03\0\0\0\x01\0", id="a table cut off"),
        pytest.param(b"\x06\0\0\0\x01\x01\0\0\x01\x01\x40\0", id="a frame cut off"),
        pytest.param(b"\0\0\0\0", id="no table"),
    ],
)
def test_a_payload_that_is_no_delta_is_refused(store, tmp_path, payload):
    put_header(store, "a" * 64, store.put(b"0123456789"), 1, payload)
    with pytest.raises(DamageError):
        chains.read(store, "a" * 64)
    with pytest.raises(DamageError):
        chains.materialise(store, "a" * 64, tmp_path / "made")


def test_a_delta_of_what_is_too_large_for_memory_is_not_read_into_it(store):
    put_header(store, "a" * 64, store.put(b"x"), 1, b"\x03\0\0\0\x01\0\0")
    huge = store.info("a" * 64)._replace(name="c" * 64, size=1 << 40)
    store.put_payload(huge, [b"\x03\0\0\0\x01\0\0"])
    with pytest.raises(DamageError, match="larger"):
        chains.read(store, "c" * 64)


def test_a_chain_with_a_damaged_link_carries_no_more(store):
    whole = random.Random(2).randbytes(PAGES * UNIT)
    first, second = b"1" * UNIT + whole[UNIT:], b"2" * UNIT + whole[UNIT:]
    contents = {sha(data): data for data in (whole, first, second)}.__getitem__
    put_next(store, store.put(whole), contents, first)
    put_next(store, sha(first), contents, second)
    assert chains.is_sound(store, sha(second))
    file = bytearray(store.path(sha(first)).read_bytes())
    file[-1] ^= 1
    store.path(sha(first)).write_bytes(file)
    assert not chains.is_sound(store, sha(second))
    assert chains.is_sound(store, sha(whole))


@pytest.mark.parametrize("get_back", ["read", "materialise"])
def test_a_delta_that_the_disk_cannot_read_is_damage(long_chain, tmp_path, monkeypatch, get_back):
    store, states = long_chain
    delta, pread = str(store.path(sha(states[3]))), os.pread

    def failing(fd: int, count: int, at: int) -> bytes:
        if at >= HEADER_BYTES and os.readlink(f"/proc/self/fd/{fd}") == delta:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", failing)
    arguments = [] if get_back == "read" else [tmp_path / "made"]
    with pytest.raises(DamageError):
        getattr(chains, get_back)(store, sha(states[5]), *arguments)


def test_a_place_that_cannot_be_written_is_named(long_chain, tmp_path):
    store, states = long_chain
    with pytest.raises(StorageError, match="missing/made"):
        chains.materialise(store, sha(states[0]), tmp_path / "missing" / "made")


def test_a_whole_object_needs_no_steps(store, tmp_path):
    name = store.put(b"text " * 1000)
    assert store.info(name).kind == ZSTD
    assert [info.name for info in chains.ancestry(store, name)] == [name]
    chains.materialise(store, name, tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == b"text " * 1000
