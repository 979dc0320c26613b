"""An object is what its name says, byte for byte, or it is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import struct
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from anki_backup import chains, deltas, durable
from anki_backup.errors import DamageError
from anki_backup.header import CLONE_OFFSET, DELTA, HEADER_BYTES, RAW, ZSTD, Info
from anki_backup.objects import ObjectStore

TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
NOISE = random.Random(1).randbytes(3000)


def fresh(root: Path) -> ObjectStore:
    (root / "objects").mkdir()
    return ObjectStore(root / "objects", durable.Batch(root))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return fresh(tmp_path)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored(store: ObjectStore, name: str) -> bytes:
    return store.path(name).read_bytes()


def damage(store: ObjectStore, name: str, data: bytes) -> None:
    store.path(name).write_bytes(data)


def raw_info(data: bytes, offset: int = HEADER_BYTES) -> Info:
    return Info(sha(data), RAW, len(data), offset, len(data), 0, 0, None)


def part_files(store: ObjectStore) -> list[Path]:
    return list(store.folder.rglob("*.part"))


@pytest.mark.parametrize(("data", "kind"), [(TEXT, ZSTD), (NOISE, RAW), (b"", RAW), (b"ab", RAW)])
def test_what_compresses_is_compressed_and_the_rest_kept_as_it_is(store, data, kind):
    name = store.put(data)
    assert name == sha(data)
    assert store.info(name).kind == kind
    assert store.read(name) == data
    assert store.payload_is_sound(name)
    assert stored(store, name).endswith(data) == (kind == RAW)


def test_the_header_is_the_documented_one(store):
    for data in (TEXT, NOISE):
        file = stored(store, store.put(data))
        magic, kind, zero, offset, size, payload, crc, position, base, header_crc = struct.unpack(
            "<4sBBHQQII32sI", file[:68]
        )
        assert (magic, zero, offset, size, position, base) == (b"akob", 0, 68, len(data), 0, bytes(32))
        assert payload == len(file) - 68
        assert crc == (0 if kind == 1 else zlib.crc32(file[68:]))
        assert header_crc == zlib.crc32(file[:64])


def test_any_bytes_come_back(tmp_path):
    store = fresh(tmp_path)

    @settings(derandomize=True, max_examples=60)
    @given(st.binary(max_size=2000), st.integers(1, 50))
    def comes_back(data: bytes, times: int) -> None:
        assert store.read(store.put(data * times)) == data * times

    comes_back()


def test_known_content_costs_nothing(store):
    name = store.put(TEXT)
    before, added = store.path(name).stat(), store.added_bytes
    assert store.put(TEXT) == name
    store.put_blocks(name, len(TEXT), [TEXT])
    after = store.path(name).stat()
    assert (after.st_ino, after.st_mtime_ns, store.added_bytes) == (before.st_ino, before.st_mtime_ns, added)
    assert added == after.st_size


def test_every_changed_byte_of_a_header_is_noticed(store):
    for data, offset in ((TEXT, HEADER_BYTES), (NOISE, HEADER_BYTES), (NOISE[:100], CLONE_OFFSET)):
        if offset == CLONE_OFFSET:
            store.put_payload(raw_info(data, offset), [data])
        name = store.put(data)
        whole = stored(store, name)
        assert whole[offset:] == data or data == TEXT
        for at in (*range(HEADER_BYTES), *range(HEADER_BYTES, offset, 125), offset - 1):
            for change in (0x01, 0x80):
                damage(store, name, whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
                with pytest.raises(DamageError, match=name):
                    store.info(name)


@pytest.mark.parametrize("data", [TEXT, NOISE[:300]])
def test_every_changed_byte_of_a_payload_is_noticed(store, data):
    name = store.put(data)
    whole, kind = stored(store, name), store.info(name).kind
    for at in range(HEADER_BYTES, len(whole)):
        damage(store, name, whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        # A frame has bits that don't count: then the content is right all the same.
        assert not store.payload_is_sound(name)
        if kind == RAW or not store.has_sound(name):
            with pytest.raises(DamageError, match=f"^object {name} is damaged: "):
                store.read(name)


@pytest.mark.parametrize("data", [TEXT, NOISE])
def test_a_file_that_is_cut_or_grew_is_noticed_by_its_size_alone(store, data):
    name = store.put(data)
    whole = stored(store, name)
    for file in (b"", whole[:20], whole[:-1], whole + b"\0", bytes(len(whole)), whole[1:]):
        damage(store, name, file)
        with pytest.raises(DamageError, match=name):
            store.info(name)


def test_a_torn_object_that_a_crash_left_is_replaced(store):
    for data in (TEXT, NOISE):
        name = store.put(data)
        whole = stored(store, name)
        for torn in (b"", whole[:40], whole[:-5], bytes(len(whole))):
            damage(store, name, torn)
            store.put(data)
            assert store.read(name) == data
        damage(store, name, whole[:-1])
        store.put_blocks(name, len(data), [data])
        assert store.read(name) == data


def test_a_whole_object_that_a_crash_left_is_made_durable_before_it_counts(store, tmp_path, monkeypatch):
    name = store.put(TEXT)
    later, synced = ObjectStore(store.folder, durable.Batch(tmp_path)), []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))
    )
    later.put(TEXT)
    later.batch.flush()
    assert str(store.path(name)) in synced


def test_a_new_form_is_on_disk_before_it_takes_the_place_of_the_old_one(store, monkeypatch):
    name, seen = store.put(TEXT), []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda old, new: (seen.append(old), rename(old, new)))
    fresh = ObjectStore(store.folder, store.batch)
    fresh.put_payload(fresh.info(name), [stored(store, name)[HEADER_BYTES:]])
    assert seen[0] == seen[1] and seen[0].endswith(".part")
    seen.clear()
    fresh.put(NOISE)
    assert len(seen) == 1  # a new one is made durable with all others of its run


NO_NAMES = ["", "..", "../../etc/passwd", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63]


@pytest.mark.parametrize("name", [*NO_NAMES, "\u0661" * 64, "../" + "a" * 61, "a" * 32 + "\0" + "a" * 31])
def test_what_is_no_name_leads_nowhere(store, name):
    for use in (store.path, store.has, store.info, store.read):
        with pytest.raises(DamageError, match="not the name of an object"):
            use(name)


def test_what_is_no_file_is_refused(store, tmp_path):
    name = sha(TEXT)
    with pytest.raises(DamageError, match="missing"):
        store.info(name)
    store.put(TEXT)
    os.rename(store.path(name), tmp_path / "elsewhere")
    store.path(name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamageError, match="can't be read"):
        store.info(name)
    store.path(name).unlink()
    store.path(name).mkdir()
    with pytest.raises(DamageError):
        store.info(name)


def test_a_disk_that_gives_back_other_bytes_is_not_believed(store, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: pread(fd, count, at)[:-1] + b"\xff")
    for data in (TEXT, NOISE):
        with pytest.raises(DamageError, match="gave back other bytes"):
            store.put(data)
        assert not store.has(sha(data))
    assert part_files(store) == []


def test_content_that_is_not_what_its_name_says_is_not_kept(store):
    other = store.path(sha(b"other"))
    with pytest.raises(DamageError, match=f"^the disk gave back other bytes than were written to {other}$"):
        store.put_blocks(sha(b"other"), len(TEXT), [TEXT])
    assert not store.has(sha(b"other"))
    assert part_files(store) == []


@pytest.mark.parametrize("said", [len(TEXT) - 1, len(TEXT) + 1])
def test_content_of_another_size_than_was_said_is_not_kept(store, said):
    with pytest.raises(DamageError, match=f"^the content is not the {said} bytes that were to be stored: "):
        store.put_blocks(sha(TEXT), said, [TEXT])
    assert not store.has(sha(TEXT))


def test_a_read_that_fails_is_damage(store, monkeypatch):
    name = store.put(NOISE)

    def failing(fd: int, count: int, at: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(DamageError, match=f"^object {name} can't be read: Input/output error$"):
        store.info(name)


def test_a_frame_that_unpacks_to_more_than_was_said_is_stopped(store):
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    name = sha(b"ten bytes!")
    store.put_payload(Info(name, ZSTD, 10, HEADER_BYTES, len(bomb), zlib.crc32(bomb), 0, None), [bomb])
    got = []
    with pytest.raises(DamageError):
        got.extend(store.blocks(name))
    assert got == []
    assert not store.has_sound(name)


@pytest.mark.parametrize("kind", [0, 4, 0x7F, 0x80 | RAW, 0x80 | ZSTD, 0x80 | DELTA])
def test_a_form_from_a_later_program_is_refused(store, kind):
    store.put_payload(raw_info(NOISE)._replace(kind=kind), [NOISE])
    with pytest.raises(DamageError, match="doesn't know"):
        store.info(sha(NOISE))


def kept_as_delta(store: ObjectStore, base: bytes, new: bytes) -> str:
    frame = deltas.compress(new, deltas.prefix(base))
    ops, frames = (deltas.Op(0, len(base), len(new)),), (deltas.Frame(1, len(frame), ()),)
    table = deltas.pack(deltas.Table(1, ops, frames))
    chains.put_delta(store, sha(new), len(new), store.put(base), 1, table, [frame])
    return sha(new)


def test_a_delta_is_never_taken_for_content_of_its_own(store):
    name = kept_as_delta(store, TEXT, TEXT + b"new")
    with pytest.raises(DamageError, match="delta"):
        store.read(name)


def test_content_that_is_there_only_as_a_delta_can_be_kept_as_a_file(store):
    name = kept_as_delta(store, TEXT, TEXT + b"new")
    assert store.put(TEXT + b"new") == name
    assert store.read(name) == TEXT + b"new"


@pytest.mark.parametrize("by_blocks", [False, True])
def test_a_delta_that_lost_its_base_is_replaced_by_a_whole_object(store, by_blocks):
    name = kept_as_delta(store, TEXT, TEXT + b"new")
    store.path(sha(TEXT)).unlink()
    if by_blocks:
        store.put_blocks(name, len(TEXT) + 3, [TEXT + b"new"])
    else:
        store.put(TEXT + b"new")
    assert chains.read(store, name) == TEXT + b"new"


def test_no_two_writers_are_given_one_place(store):
    assert len({store.incoming() for _ in range(9)}) == 9


def test_an_end_that_says_nothing_of_the_content_is_read_back_too(store, monkeypatch):
    write = os.write
    data = sha(b"").encode() * (1 << 14)  # whole blocks, so that the frame ends with an empty one

    def spoiling(fd: int, packed: bytes) -> int:
        return write(fd, bytes(packed[:-3]) + bytes(3) if bytes(packed[-3:]) == b"\1\0\0" else packed)

    monkeypatch.setattr(os, "write", spoiling)
    with pytest.raises(DamageError, match="other bytes than were written"):
        store.put_blocks(sha(data), len(data), [data])
