"""Whatever is put into a paged file comes out of it; pages that change again and again are written once."""

from __future__ import annotations

import os
import random
from contextlib import closing
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from anki_backup import chains, paged
from anki_backup.errors import StorageError
from anki_backup.paged import PAGE, PagedFile
from tests import test_chains
from tests.test_chains import fresh, put_next, sha


def runs_of(drawn: random.Random, size: int, unit: int) -> list[tuple[int, int]]:
    """Draw runs of whole units that lie in so many bytes, in order, none upon another."""
    places = sorted(drawn.sample(range(size // unit), drawn.randrange(2, 9)))
    return [
        (one * unit, drawn.randint(1, min(3, other - one)) * unit)
        for one, other in pairwise([*places, size // unit])
    ]


@pytest.mark.parametrize("limit", [0, 5, 1 << 20])
def test_it_holds_what_was_put_into_it(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(paged, "HELD_LIMIT", limit)
    drawn = random.Random(limit)
    model = bytearray(drawn.randbytes(40 * PAGE + 512))
    with closing(PagedFile(tmp_path / "file")) as file:
        file.append(bytes(model[:PAGE]))
        file.append(bytes(model[PAGE:]))
        for _ in range(300):
            runs = runs_of(drawn, len(model), drawn.choice([PAGE, PAGE, PAGE, 512]))
            assert file.gather(runs) == b"".join(model[at : at + count] for at, count in runs)
            data = drawn.randbytes(sum(count for _, count in runs))
            file.scatter(runs, data)
            for (at, count), end in zip(runs, accumulate(count for _, count in runs), strict=True):
                model[at : at + count] = data[end - count : end]
            if drawn.random() < 0.2:
                size = drawn.randrange(20 * PAGE, 60 * PAGE, 512)
                model = model[:size] + bytes(max(0, size - len(model)))
                file.resize(size)
            assert file.size == len(model)
        with closing(file.copied(tmp_path / "copy")) as copy:
            assert copy.size == len(model)
            assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes() == model
        with file.replaced(3) as append:
            append(b"new")
        assert (file.read_at(0, 99), file.size) == (b"new", 3)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file.part").exists()


def test_a_long_chain_writes_each_page_once(tmp_path, monkeypatch):
    drawn = random.Random(2)
    store = fresh(tmp_path)
    monkeypatch.setattr(test_chains, "UNIT", PAGE)
    states = [drawn.randbytes(50 * PAGE)]
    store.put(states[0])
    for _ in range(60):
        data = bytearray(states[-1])
        for page in range(0, 50, 7):
            data[page * PAGE + drawn.randrange(PAGE)] ^= 1
        states.append(bytes(data))
        put_next(store, sha(states[-2]), {sha(state): state for state in states}.__getitem__, states[-1])
    written: list[int] = []

    def pwrite(fd: int, data: bytes, at: int) -> None:
        written.extend(range(at, at + len(data), PAGE))
        os.pwrite(fd, data, at)

    monkeypatch.setattr(paged, "pwrite_fully", pwrite)
    chains.materialise(store, sha(states[-1]), tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == states[-1]
    assert written == [page * PAGE for page in range(0, 50, 7)]


def test_a_refusal_of_the_disk_is_told_with_its_place(tmp_path):
    with pytest.raises(StorageError, match=r"can't write .*missing"):
        PagedFile(Path(tmp_path / "missing" / "file"))
    with closing(PagedFile(tmp_path / "file")) as file:
        file.append(bytes(PAGE))
        file.scatter([(0, PAGE)], b"1" * PAGE)
        os.close(file._fd)
        try:
            with pytest.raises(StorageError, match=r"can't write .*file"):
                file.flush()
        finally:
            file._fd = os.open(tmp_path / "file", os.O_RDWR)
