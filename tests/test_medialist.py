"""A list of media keeps every name as it is, and the next list costs what changed."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup import deltas, deposit, durable, medialist
from anki_backup.errors import DamageError
from anki_backup.model import MediaFile
from anki_backup.objects import ObjectStore

ODD_NAMES = [
    b"caf\xe9.mp3",  # Latin-1
    "caf\u00e9.mp3".encode(),
    "cafe\u0301.mp3".encode(),
    b"\xed\xa0\x80 half a surrogate.png",
    b"\xff\xfe\x00x".replace(b"\0", b"0"),
    b'"quoted", [1].png',
    b"new\nline\r\n.png",
    b"\xe2\x80\xa8line separator.png",
    b"back\\slash \\udc80.png",
    b"\x1b[31mred\x07.png",
    "\U0001f0cf\u202e.png".encode(),
    b" ",
    b"x" * 255,
]
repeatable = settings(derandomize=True, max_examples=60)


def digest(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


files = st.builds(
    MediaFile,
    name=st.one_of(st.sampled_from(ODD_NAMES), st.binary(min_size=1, max_size=12)),
    size=st.integers(0, 1 << 50),
    mtime_ns=st.integers(-(1 << 62), 1 << 62),
    sha256=st.integers(0, 20).map(digest),
)
lists = st.lists(files, max_size=12, unique_by=lambda file: file.name)


def ordered(found: list[MediaFile]) -> list[MediaFile]:
    return sorted(found, key=lambda file: file.name)


def test_odd_names_come_back_as_they_were():
    found = [MediaFile(name, 1, 2, digest(3)) for name in ODD_NAMES]
    assert medialist.unpack_list(medialist.pack_list(found)) == ordered(found)


@repeatable
@given(lists)
def test_any_list_comes_back_in_the_order_of_its_names(found):
    assert medialist.unpack_list(medialist.pack_list(found)) == ordered(found)


@repeatable
@given(lists)
def test_the_order_of_a_folder_does_not_count(found):
    assert medialist.pack_list(found) == medialist.pack_list(found[::-1])


@repeatable
@given(lists)
def test_a_list_is_one_line_of_plain_json_a_file(found):
    data = medialist.pack_list(found)
    rows = [json.loads(line) for line in data.decode("ascii").split("\n")[:-1]]
    assert data.count(b"\n") == len(found)
    assert rows == [
        [file.name.decode("utf-8", "surrogateescape"), file.size, file.mtime_ns, file.sha256]
        for file in ordered(found)
    ]


def test_no_media_are_an_empty_list():
    assert medialist.pack_list([]) == b""
    assert medialist.unpack_list(b"") == []


@repeatable
@given(lists, lists)
def test_a_list_and_its_delta_give_the_next_one(before, after):
    old, new = medialist.pack_list(before), medialist.pack_list(after)
    table, frames = medialist.list_delta(old, new)
    made = bytearray()
    deltas.apply(
        deltas.unpack(table), frames, len(old), len(new), lambda at, count: old[at : at + count], made.extend
    )
    assert made == new


def many() -> list[MediaFile]:
    return [
        MediaFile(
            b"paste-%s.jpg" % digest(number)[:40].encode(), 40_000 + number, 10**18 + number, digest(-number)
        )
        for number in range(60_000)
    ]


def changed(found: list[MediaFile]) -> None:
    found[31_000] = MediaFile(found[31_000].name, 7, 10**18 + 7, digest(99))


def added(found: list[MediaFile]) -> None:
    found.append(MediaFile(b"paste-8.jpg", 7, 10**18 + 7, digest(99)))


def removed(found: list[MediaFile]) -> None:
    del found[31_000]


@pytest.mark.parametrize("before", [0, 1])
def test_one_file_among_60_000_costs_less_than_200_bytes(tmp_path, before):
    """Also where the list was empty once, or had one file: that is nothing to stand on."""
    (tmp_path / "objects").mkdir()
    store = ObjectStore(tmp_path / "objects", durable.Batch(tmp_path))
    found = many()
    newest = deposit.put_list(store, found[:before], None)
    newest = deposit.put_list(store, found, newest)
    for change in (changed, added, removed):
        change(found)
        began, before = time.process_time(), store.added_bytes
        newest = deposit.put_list(store, found, newest)
        # It takes a fraction of a second; a quadratic walk would take minutes.
        assert time.process_time() - began < 5
        assert store.path(newest).stat().st_size == store.added_bytes - before < 200


def test_the_same_list_again_costs_nothing(tmp_path: Path):
    (tmp_path / "objects").mkdir()
    store = ObjectStore(tmp_path / "objects", durable.Batch(tmp_path))
    found = many()[:500]
    first = deposit.put_list(store, found, None)
    before = store.added_bytes
    assert deposit.put_list(store, found[::-1], first) == first
    assert store.added_bytes == before


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b'["a",1,2,"x"', id="cut"),
        pytest.param(b'["a",1,2]\n', id="too few"),
        pytest.param(b'["a",1,2,"x",5]\n', id="too many"),
        pytest.param(b'["a","b","c","d"]\n', id="no numbers"),
        pytest.param(b'["a",NaN,2,"x"]\n', id="not a number"),
        pytest.param(b'[1,1,2,"x"]\n', id="no name"),
        pytest.param(b'["\\ud800",1,2,"x"]\n', id="a surrogate that stands for no byte"),
        pytest.param(b"[" * 100_000, id="nested"),
        pytest.param(b'["a",' + b"9" * 5000 + b',2,"x"]\n', id="5,000 digits"),
        pytest.param(b"\xff\n", id="no UTF-8"),
        pytest.param(b"null\n", id="nothing"),
        pytest.param(b'["a",1e999,2,"x"]\n', id="infinite"),
    ],
)
def test_what_is_no_list_is_damage(data):
    with pytest.raises(DamageError, match="list of media"):
        medialist.unpack_list(data)
