"""Pages that moved: the delta of a vacuumed database is small, exact, and bounded."""

import os
import random
import sqlite3

import pytest

from anki_backup import deltas, moved

PAGES = [512, 1024, 4096, 65536]


def make(path, page, rows=4000, seed=1):
    """A database with rows of many sizes, overflow pages among them, in an order that VACUUM will change."""
    rng = random.Random(seed)
    db = sqlite3.connect(path)
    db.execute(f"pragma page_size = {page}")
    db.execute("create table notes (id integer primary key, guid text, flds text)")
    db.execute("create index by_guid on notes (guid)")
    for number in rng.sample(range(rows), rows):
        text = rng.randbytes(rng.choice([30, 200, 900])).hex()
        db.execute("insert into notes values (?, ?, ?)", (number, f"{rng.random():.12f}", text))
    db.commit()
    db.execute("delete from notes where id % 7 = 3")
    db.commit()
    db.close()


def vacuumed(path, target):
    target.write_bytes(path.read_bytes())
    db = sqlite3.connect(target)
    db.execute("vacuum")
    db.close()


def reader(data):
    return lambda at, count: data[at : at + count]


def delta(old, new, page, limit=1 << 30):
    return moved.encode(reader(old), reader(new), page, len(old), len(new), limit=limit)


def applied(old, encoded, size):
    table, frames = encoded
    made = bytearray()
    deltas.apply(deltas.unpack(table), frames, len(old), size, reader(old), made.extend)
    return bytes(made)


@pytest.mark.parametrize("page", PAGES)
def test_a_vacuumed_database_comes_back_exactly(tmp_path, page):
    make(tmp_path / "a", page, rows=1500)
    vacuumed(tmp_path / "a", tmp_path / "b")
    old, new = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    assert moved.page_size(old) == page
    assert applied(old, delta(old, new, page), len(new)) == new
    assert applied(new, delta(new, old, page), len(old)) == old


def test_what_only_moved_costs_a_fraction_of_a_copy(tmp_path):
    make(tmp_path / "a", 4096)
    vacuumed(tmp_path / "a", tmp_path / "b")
    old, new = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    table, frames = delta(old, new, 4096)
    assert len(table) + sum(map(len, frames)) < len(deltas.compress(new, level=3)) / 5


def test_a_delta_beyond_the_limit_is_given_up(tmp_path):
    assert delta(os.urandom(1 << 16), os.urandom(1 << 16), 4096, limit=1 << 12) is None


@pytest.mark.parametrize("seed", range(30))
def test_pages_that_are_none_do_no_harm(seed):
    rng = random.Random(seed)
    old = bytearray(rng.randbytes(4096 * rng.randint(1, 6)))
    new = bytearray(rng.randbytes(4096 * rng.randint(1, 6)))
    for data in (old, new):
        for at in range(0, len(data), 4096):
            data[at] = rng.choice([2, 5, 10, 13, 0])  # looks like a b-tree page, and isn't one
    old, new = bytes(old), bytes(new)
    assert applied(old, delta(old, new, 4096), len(new)) == new


def test_a_moved_delta_is_never_applied_in_place(tmp_path):
    make(tmp_path / "a", 1024, rows=300)
    vacuumed(tmp_path / "a", tmp_path / "b")
    old, new = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    table, _ = delta(old, new, 1024)
    assert not deltas.in_place(deltas.unpack(table))
