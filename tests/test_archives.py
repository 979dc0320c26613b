"""Packages: what Anki writes is read whole, and nothing that anybody wrote is believed."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
import zipfile
import zlib

import pytest
import zstandard
from anki.collection import Collection
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import archives, collection
from anki_backup.archives import Item, Package
from anki_backup.errors import SourceError
from tests.made_collections import make_varied
from tests.packages import current, field, legacy, listed, varint

MEDIA = {b"cat.jpg": b"meow" * 1000, "ü 日.mp3".encode(): bytes(range(256)) * 99, b"empty.txt": b""}


def read(path, most=1 << 30):
    """Return the collection, the media by name and what was left out."""
    with Package(path) as package:
        whole = b"".join(package.collection())
        items, skipped = package.media()
        found = {item.name: b"".join(package.blocks(item)) for item in items}
        assert len(whole) + sum(map(len, found.values())) < most
        return whole, found, {item.name: item.reason for item in skipped}


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = make_varied(tmp_path_factory.mktemp("made") / "collection.anki2")
    for name, data in MEDIA.items():
        (path.with_suffix(".media") / name.decode()).write_bytes(data)
    return path


@pytest.mark.parametrize("is_legacy", [False, True], ids=["current", "legacy"])
def test_what_anki_exports_is_read_whole(profile, tmp_path, is_legacy):
    package, copy = tmp_path / "all.colpkg", tmp_path / "copy.anki2"
    col = Collection(str(profile))
    cards = col.card_count()
    col.export_collection_package(str(package), include_media=True, legacy=is_legacy)
    col.close()
    whole, found, skipped = read(package)
    assert (found, skipped) == (MEDIA, {})
    copy.write_bytes(whole)
    assert collection.check(copy, thorough=True) == (11 if is_legacy else 18)
    assert collection.statistics(copy).stats.cards == cards


@pytest.mark.parametrize(
    "write",
    [
        lambda path: current(path, b"right", MEDIA),
        lambda path: legacy(path, b"right", {name.decode(): data for name, data in MEDIA.items()}),
        lambda path: legacy(
            path, b"right", {name.decode(): data for name, data in MEDIA.items()}, newer=False
        ),
    ],
    ids=["current", "2.1", "2.0"],
)
def test_the_collection_for_older_programs_is_not_taken(write, tmp_path):
    whole, found, skipped = read(write(tmp_path / "p.colpkg"))
    assert (whole, found, skipped) == (b"right", MEDIA, {})


def test_names_that_lead_elsewhere_are_left_out_and_the_rest_is_read(tmp_path):
    odd = [b"../x", b"/etc/passwd", b"a/b", b".", b"..", b"", b"nul\0", b"n" * 256]
    media = {**dict.fromkeys(odd, b"bad"), b"\xff\xfe.jpg": b"bytes", b"n" * 255: b"long"}
    _, found, skipped = read(current(tmp_path / "p.colpkg", b"c", media))
    assert found == {b"\xff\xfe.jpg": b"bytes", b"n" * 255: b"long"}
    assert set(skipped.values()) == {"has a name that leads elsewhere"} and len(skipped) == len(odd)


def test_media_that_are_missing_or_named_twice_are_left_out(tmp_path):
    pack = zstandard.compress
    told = listed(b"a", b"one") + listed(b"a", b"two") + listed(b"gone", b"x")
    path = current(
        tmp_path / "p.colpkg", b"c", None, {"0": pack(b"one"), "1": pack(b"two"), "media": pack(told)}
    )
    _, found, skipped = read(path)
    assert found == {b"a": b"one"}
    assert skipped == {"a": "is in the package twice", "gone": "is not in the package"}


@pytest.mark.parametrize("data", [b"other", b"oth", b"other and longer"])
def test_a_media_file_of_other_bytes_than_its_writer_said_is_refused(data, tmp_path):
    path = current(tmp_path / "p.colpkg", b"c", {b"a": b"right"}, {"0": zstandard.compress(data)})
    with pytest.raises(SourceError, match="other bytes"):
        read(path)


def claiming(size):
    """Return a frame of a few bytes that says it holds `size`."""
    return b"\x28\xb5\x2f\xfd\xc0" + b"\x58" + size.to_bytes(8, "little") + b"\x01\x00\x00"


def zeros(size):
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def deflated(size):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("media", "{}")
        with package.open("collection.anki2", "w") as entry:
            for _ in range(size >> 20):
                entry.write(bytes(1 << 20))
    return file.getvalue()


BOMBS = {
    "zstd": lambda path: current(path, b"", None, {"collection.anki21b": zeros(64 << 20)}),
    "deflate": lambda path: path.write_bytes(deflated(64 << 20)),
    "media": lambda path: current(path, b"c", {b"a": b"x"}, {"0": zeros(64 << 20)}),
    "list": lambda path: current(path, b"c", None, {"media": zeros(64 << 20)}),
    "meta": lambda path: current(path, b"c", None, {"meta": bytes(64 << 20)}),
    "a list that claims to be large": lambda path: current(path, b"c", None, {"media": claiming(1 << 63)}),
    "a collection that claims to be large": lambda path: current(
        path, b"", None, {"collection.anki21b": claiming(1 << 40)}
    ),
    "media that claim to be large": lambda path: current(path, b"c", {b"a": b"x"}, {"0": claiming(1 << 40)}),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_and_costs_neither_memory_nor_disk(make, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 4 << 20)
    monkeypatch.setattr(archives, "RATIO", 0)
    monkeypatch.setattr(archives, "MAP_LIMIT", 4 << 20)
    path = tmp_path / "p.colpkg"
    make(path)
    tracemalloc.start()
    written = 0
    with pytest.raises(SourceError), Package(path) as package:
        for block in package.collection():
            written += len(block)
        for item in package.media()[0]:
            for block in package.blocks(item):
                written += len(block)
    assert written <= 4 << 20
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()


def test_many_files_in_the_same_bytes_are_a_bomb_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 4 << 20)
    monkeypatch.setattr(archives, "RATIO", 0)
    media = {b"%d" % number: b"%d" % number + bytes(1 << 20) for number in range(8)}
    with pytest.raises(SourceError, match="far more"):
        read(current(tmp_path / "p.colpkg", b"c", media))


def test_reading_again_costs_no_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 4 << 20)
    monkeypatch.setattr(archives, "RATIO", 0)
    with Package(current(tmp_path / "p.colpkg", b"c", {b"a": bytes(1 << 20)})) as package:
        ((item,), _) = package.media()
        for _ in range(20):
            assert len(b"".join(package.blocks(item))) == 1 << 20


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path):
    path = current(tmp_path / "p.colpkg", b"c")
    with zipfile.ZipFile(path, "a") as package:
        package.writestr("collection.anki21b", zstandard.compress(b"another"))
    with pytest.raises(SourceError, match="same name"):
        read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_that_anki_does_not_use_are_refused(method, tmp_path):
    path = tmp_path / "p.colpkg"
    with zipfile.ZipFile(path, "w", method) as package:
        package.writestr("collection.anki2", b"c")
    with pytest.raises(SourceError, match="doesn't use"):
        read(path)


def test_a_directory_without_end_is_refused(tmp_path, monkeypatch):
    path = current(tmp_path / "p.colpkg", b"c", {b"%d" % number: b"" for number in range(200)})
    monkeypatch.setattr(archives, "DIRECTORY_LIMIT", 9000)
    with pytest.raises(SourceError, match="directory"):
        read(path)


LISTS = {
    "brackets": b"[" * 100_000,
    "digits": b'{"0": ' + b"9" * 5000 + b"}",
    "twice": b'{"0": "a", "0": "b"}',
    "no object": b"[]",
    "numbers": b'{"0": 1}',
    "nan": b"NaN",
    "cut": b'{"0": "a',
    "bytes": b"\xff\xfe",
}


@pytest.mark.parametrize("data", LISTS.values(), ids=LISTS)
def test_a_list_of_media_that_is_none_is_damage_of_the_file(data, tmp_path):
    path = tmp_path / "p.colpkg"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("collection.anki2", b"c")
        package.writestr("media", data)
    with pytest.raises(SourceError, match=r"p\.colpkg is damaged"):
        read(path)


def test_half_a_character_in_a_name_is_bytes_like_any_other(tmp_path):
    path = tmp_path / "p.colpkg"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("collection.anki2", b"c")
        package.writestr("media", r'{"0": "\ud83d.jpg", "1": "\udce9.jpg"}')
        package.writestr("0", b"0")
        package.writestr("1", b"1")
    assert read(path)[1] == {b"\xed\xa0\xbd.jpg": b"0", b"\xe9.jpg": b"1"}


@pytest.mark.parametrize("meta", [b"\x08\x04", b"", b"\x08", b"\x0a\x01x", b"\x08" + b"\xff" * 20, b"\x0b"])
def test_a_package_of_no_version_that_is_known_is_refused(meta, tmp_path):
    with pytest.raises(SourceError):
        read(current(tmp_path / "p.colpkg", b"c", None, {"meta": meta}))


def test_what_is_no_package_is_refused_and_never_waited_for(tmp_path):
    fifo = tmp_path / "fifo.colpkg"
    os.mkfifo(fifo)
    (tmp_path / "empty.colpkg").write_bytes(b"")
    (tmp_path / "deck.zip").write_bytes(deflated(0).replace(b"collection.anki2", b"collectiox.anki2"))
    for name in ("fifo.colpkg", "empty.colpkg", "deck.zip", "gone.colpkg", "."):
        with pytest.raises(SourceError):
            read(tmp_path / name)


def test_a_package_that_is_cut_or_spoilt_anywhere_is_refused_or_the_same(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "p.colpkg"
    for write in (current, legacy):
        media = {b"a": rng.randbytes(300)} if write is current else {"a": rng.randbytes(300)}
        good = write(path, rng.randbytes(2000), media).read_bytes()
        right = read(path)
        for _ in range(400):
            bad = bytearray(good)
            for _ in range(rng.choice((1, 1, 4))):
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            if rng.random() < 0.3:
                del bad[rng.randrange(len(bad)) :]
            path.write_bytes(bad)
            try:
                whole, found, _ = read(path)
            except SourceError as error:
                assert str(path) in error.message
            else:
                assert whole == right[0] or zlib.crc32(whole) != zlib.crc32(right[0])
                assert set(found.values()) <= set(right[1].values())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_value_error(data):
    try:
        items = archives._entries_of_map(data)
    except ValueError:
        return
    assert all(isinstance(item, Item) for item in items)


def test_fields_that_are_not_known_are_passed_over():
    data = field(9, b"x") + varint(7 << 3 | 5) + b"1234" + varint(8 << 3 | 1) + b"12345678"
    assert [item.name for item in archives._entries_of_map(data + listed(b"a", b"b") + data)] == [b"a"]
