"""A walk gives every version once, each exactly as it was; what is damaged costs only what stands on it."""

from __future__ import annotations

import itertools
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from anki_backup import chains, durable, medialist, moved, scratch, walk
from anki_backup.errors import DamageError
from anki_backup.model import MediaFile
from anki_backup.objects import ObjectStore
from anki_backup.scratch import Scratch
from tests.test_chains import fresh, long_chain, put_next, sha  # noqa: F401

HEADER = 68


def contents(found: walk.Walk) -> dict[str, bytes]:
    return {version.name: bytes(version.content.read_at(0, 1 << 30)) for version in found.versions()}


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_every_version_of_a_long_chain_is_as_it_was(limit, long_chain, monkeypatch):  # noqa: F811
    monkeypatch.setattr(scratch, "MEMORY_LIMIT", limit)
    store, states = long_chain
    found = contents(walk.Walk(store, map(sha, states)))
    assert found == {sha(state): state for state in states}
    assert list(found) == [sha(state) for state in states]


def test_what_did_not_change_is_where_it_was(long_chain):  # noqa: F811
    store, states = long_chain
    before: dict[str, bytes] = {}
    for version in walk.Walk(store, map(sha, states)).versions():
        content = bytes(version.content.read_at(0, 1 << 30))
        if version.base is not None:
            assert version.changed is not None
            patched = bytearray(before[version.base].ljust(len(content), b"\0")[: len(content)])
            for at, count in version.changed:
                patched[at : at + count] = content[at : at + count]
            assert bytes(patched) == content
        before[version.name] = content


def test_only_what_stands_on_damage_is_lost(long_chain, tmp_path):  # noqa: F811
    _, states = long_chain
    store = fresh(tmp_path)
    store.put(states[0])
    for before, after in itertools.pairwise(states[:70]):
        put_next(store, sha(before), {sha(state): state for state in states}.__getitem__, after)
    hurt = store.path(sha(states[40]))
    data = bytearray(hurt.read_bytes())
    data[-1] ^= 1
    hurt.write_bytes(data)
    found = walk.Walk(store, [sha(state) for state in states[:70]])
    assert contents(found) == {sha(state): state for state in [*states[:40], *states[64:70]]}
    assert set(found.damaged) == {sha(state) for state in states[40:64]}


def test_a_missing_object_is_told_and_the_rest_is_walked(store_of_two):
    store, one, other = store_of_two
    found = walk.Walk(store, [one, "0" * 64, other])
    assert list(contents(found)) == [one, other]
    assert "missing" in found.damaged["0" * 64]


@pytest.fixture
def store_of_two(tmp_path: Path) -> tuple[ObjectStore, str, str]:
    store = ObjectStore(tmp_path / "objects", durable.Batch(tmp_path))
    (tmp_path / "objects").mkdir()
    return store, store.put(b"one" * 99), store.put(b"other" * 99)


def test_pages_that_moved_are_walked_too(tmp_path):
    drawn, page = random.Random(5), 4096
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        db.execute("CREATE TABLE t (id integer PRIMARY KEY, x)")
        db.executemany("INSERT INTO t (x) VALUES (?)", [(drawn.randbytes(300),) for _ in range(2000)])
        old = (tmp_path / "db").read_bytes()
        db.execute("DELETE FROM t WHERE id < 700")
        db.execute("VACUUM")
        new = (tmp_path / "db").read_bytes()
    store = fresh(tmp_path)
    store.put(old)
    table, frames = moved.encode(
        lambda at, count: old[at : at + count],
        lambda at, count: new[at : at + count],
        page,
        len(old),
        len(new),
        limit=1 << 30,
    )
    chains.put_delta(store, sha(new), len(new), sha(old), 1, table, frames)
    found = {version.name: version.changed for version in walk.Walk(store, [sha(new)]).versions()}
    assert found == {sha(old): None, sha(new): None}
    assert contents(walk.Walk(store, [sha(new)]))[sha(new)] == new


def test_lists_of_media_are_walked_too(tmp_path):
    store = fresh(tmp_path)
    files = [MediaFile(b"%03d" % n, n, 0, "1" * 64) for n in range(50)]
    lists = [medialist.pack_list(files[:n] + files[n + 1 :]) for n in range(5)]
    store.put(lists[0])
    for position, (old, new) in enumerate(itertools.pairwise(lists), 1):
        table, frames = medialist.list_delta(old, new)
        chains.put_delta(store, sha(new), len(new), sha(old), position, table, frames)
    assert contents(walk.Walk(store, map(sha, lists))) == {sha(data): data for data in lists}


def test_copies_come_out_byte_for_byte_or_not_at_all(long_chain, tmp_path):  # noqa: F811
    store, states = long_chain
    wanted = {
        tmp_path / "a": sha(states[3]),
        tmp_path / "b": sha(states[90]),
        tmp_path / "c": sha(states[90]),
    }
    walk.copy_out(store, wanted)
    assert {path.name: sha(path.read_bytes()) for path in wanted} == {
        p.name: name for p, name in wanted.items()
    }
    with pytest.raises(DamageError, match="missing"):
        walk.copy_out(store, {tmp_path / "d": "0" * 64})


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_what_was_written_is_undone(limit, monkeypatch):
    monkeypatch.setattr(scratch, "MEMORY_LIMIT", limit)
    drawn = random.Random(3)
    with closing(Scratch(1 << 16)) as content:
        start = drawn.randbytes(20_000)
        content.write_at(0, start)
        content.resize(len(start))
        for _ in range(20):
            with content.undone():
                content.write_at(100, b"x" * 300)
                with content.undone():
                    content.write_at(200, b"y" * 9_000)
                    content.resize(5_000)
                content.scatter([(0, 5), (19_990, 30)], b"z" * 35)
                content.resize(20_020)
                assert content.remembers
                assert bytes(content.read_at(90, 20)) == start[90:100] + b"x" * 10
            assert bytes(content.read_at(0, 1 << 20)) == start
