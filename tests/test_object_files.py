"""The files of objects: how they are made, found, taken back and removed, whatever lies beside them."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import stat
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from anki_backup import durable, payloads
from anki_backup.errors import DamageError, StorageError
from anki_backup.header import HEADER_BYTES, RAW, ZSTD, Info
from anki_backup.objects import ObjectStore

TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
NOISE = random.Random(1).randbytes(3000)


def opened(root: Path) -> ObjectStore:
    (root / "objects").mkdir(exist_ok=True)
    return ObjectStore(root / "objects", durable.Batch(root))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return opened(tmp_path)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_does_not_compress_is_not_tried_as_a_whole():
    assert payloads.compresses(TEXT)
    assert not payloads.compresses(NOISE)


def test_what_the_disk_will_not_read_is_damage_to_the_object_of_that_name(store, monkeypatch):
    data, pread = random.Random(5).randbytes(payloads.BLOCK + 7), os.pread
    name = sha(data)

    def broken(fd: int, count: int, at: int) -> bytes:
        if at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, count, at)

    def refused(use) -> None:
        with monkeypatch.context() as fault:
            fault.setattr(os, "pread", broken)
            with pytest.raises(DamageError, match=f"^object {name} can't be read: Input/output error$"):
                use()

    refused(lambda: store.put(data))
    assert not store.has(name)
    assert store.read(store.put(data), limit=len(data)) == data
    refused(lambda: store.read(name))
    refused(lambda: store.payload_is_sound(name))


@pytest.mark.parametrize("spoilt", ["payload", "frame", "header", "page"])
def test_a_stream_that_the_disk_spoils_gets_no_name(store, monkeypatch, spoilt):
    def writing(fd: int, data: bytes) -> int:
        return write(fd, others.get(spoilt, data) if any(data) else data)  # not the place of the header

    def placing(fd: int, data: bytes, at: int) -> int:
        if spoilt == "page":
            pwrite(fd, b"?", HEADER_BYTES + 1)
        return pwrite(fd, data[:-1] + b"?" if spoilt == "header" else data, at)

    write, pwrite = os.write, os.pwrite
    others = {"payload": bytes(99), "frame": zstandard.ZstdCompressor().compress(TEXT.swapcase())}
    monkeypatch.setattr(os, "write", writing)
    monkeypatch.setattr(os, "pwrite", placing)
    with pytest.raises(DamageError, match={"payload": "did not unpack"}.get(spoilt, "gave back other bytes")):
        store.put_blocks(sha(TEXT), len(TEXT), [TEXT])
    assert not store.has(sha(TEXT))
    assert not list(store.folder.glob("new-*"))


def test_a_damaged_frame_is_damage_to_the_object_of_that_name(store):
    name = store.put(TEXT)
    file = store.path(name).read_bytes()
    store.path(name).write_bytes(file[:HEADER_BYTES] + bytes(len(file) - HEADER_BYTES))
    with pytest.raises(DamageError, match=f"^object {name} is damaged: "):
        store.read(name)


def test_what_compresses_only_in_the_middle_is_kept_as_it_is(store):
    noise = random.Random(2)
    data = noise.randbytes(100_000) + bytes(payloads.SAMPLE) + noise.randbytes(100_000)
    assert payloads.compresses(data)
    name = store.put(data)
    assert (store.info(name).kind, store.read(name)) == (RAW, data)


def test_what_a_faulty_compressor_made_gets_no_name(store, monkeypatch):
    class Faulty:
        def __init__(self, level: int) -> None:
            self.real = real(level=level)

        def compress(self, data: bytes) -> bytes:
            return self.real.compress(data[:-1] + b"!")

    real = zstandard.ZstdCompressor
    monkeypatch.setattr(zstandard, "ZstdCompressor", Faulty)
    with pytest.raises(DamageError, match="did not unpack to what was packed"):
        store.put(TEXT)
    assert not store.has(sha(TEXT))


def test_what_is_larger_than_a_block_is_kept_and_read_in_blocks(store):
    data = random.Random(3).randbytes(2 * payloads.BLOCK + 7)
    name = store.put(data)
    assert store.path(name).stat().st_size == HEADER_BYTES + len(data) == store.added_bytes
    assert [len(block) for block in store.blocks(name)] == [payloads.BLOCK, payloads.BLOCK, 7]
    assert store.read(name) == data


def test_a_payload_of_many_parts_is_compared_part_by_part(store, monkeypatch):
    data, read, pread = random.Random(3).randbytes(payloads.BLOCK + 7), [], os.pread
    info = Info(sha(data), RAW, len(data), HEADER_BYTES, len(data), 0, 0, None)
    monkeypatch.setattr(os, "pread", lambda *args: read.append(args[1:]) or pread(*args))
    store.put_payload(info, [data[:100], data[100:1000], data[1000:]])
    places = [(HEADER_BYTES, 0), (100, 68), (900, 168), (len(data) - 1000, 1068)]
    assert read == places
    assert store.added_bytes == HEADER_BYTES + len(data)
    assert store.read(info.name) == data


def test_a_disk_that_gives_back_another_block_of_many_is_not_believed(store, monkeypatch):
    data, pread = random.Random(3).randbytes(payloads.BLOCK + 7), os.pread
    monkeypatch.setattr(
        os,
        "pread",
        lambda fd, count, at: pread(fd, count, at) if at == 0 else pread(fd, count, at)[:-1] + b"\xff",
    )
    with pytest.raises(DamageError, match="gave back other bytes"):
        store.put(data)
    assert list(store.names()) == []


def test_a_stream_larger_than_memory_should_hold_goes_through_in_blocks(store):
    block, count = NOISE * 300, 40
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)
    name, size = digest.hexdigest(), count * len(block)
    tracemalloc.start()
    try:
        store.put_blocks(name, size, (block for _ in range(count)))
        assert sum(map(len, store.blocks(name))) == size
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()
    with pytest.raises(DamageError, match="larger"):
        store.read(name, limit=size - 1)


def test_the_checksum_of_many_blocks_is_over_all_of_them(store):
    data = random.Random(4).randbytes(2 * payloads.BLOCK + 99_999)
    name, size = sha(data), len(data)
    store.put_blocks(name, size, [data[: size // 3], data[size // 3 :]])
    info, file = store.info(name), store.path(name).read_bytes()
    assert (info.kind, info.size, info.position, info.base) == (ZSTD, size, 0, None)
    assert info.crc == zlib.crc32(file[HEADER_BYTES:])
    frame = zstandard.get_frame_parameters(file[HEADER_BYTES:])
    assert (frame.content_size, frame.window_size) == (size, 1 << payloads.WINDOW_LOG)
    assert info.stored_bytes == len(file) == store.added_bytes > 2 * payloads.BLOCK
    assert store.payload_is_sound(name)
    for at in (HEADER_BYTES, payloads.BLOCK + HEADER_BYTES, len(file) - 1):
        store.path(name).write_bytes(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])
        assert not store.payload_is_sound(name)


def test_what_is_removed_is_told_by_its_bytes_and_missed_by_nobody(store):
    name = store.put(TEXT)
    assert store.remove(name) == store.added_bytes > 0
    assert not store.has(name)
    assert store.remove(name) == 0


def test_what_can_not_be_removed_is_told(store, monkeypatch):
    name = store.put(TEXT)

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: refuse(path))
    for take_away in (store.remove, store.discard):
        with pytest.raises(StorageError, match=f"{name[2:]}: the file system is read-only"):
            take_away(name)


def test_what_is_taken_back_is_neither_there_nor_synced_nor_counted(store):
    kept = store.put(NOISE)
    before = store.added_bytes
    name = store.put(TEXT)
    assert (store.added_bytes, store.info(name).kind) == (before + store.path(name).stat().st_size, ZSTD)
    store.discard(name)
    assert (store.has(name), store.has(kept), store.added_bytes) == (False, True, before)
    store.discard(name)
    store.batch.flush()
    assert store.added_bytes == before
    name = store.put(TEXT)
    store.path(name).unlink()
    store.discard(name)
    assert store.added_bytes == before


def test_nothing_is_taken_back_that_was_there_before_or_is_settled(store, tmp_path):
    name, other = store.put(TEXT), opened(tmp_path)
    other.put(TEXT)
    other.discard(name)
    store.settle()
    store.discard(name)
    assert (store.has(name), store.added_bytes) == (True, 0)


def test_what_is_written_twice_counts_once(store):
    name = store.put(NOISE)
    info = store.info(name)
    store.put_payload(info, [NOISE])
    assert store.added_bytes == info.stored_bytes == store.path(name).stat().st_size


def test_what_a_fork_made_is_counted_synced_and_taken_back_by_its_parent(store, tmp_path):
    fork = opened(tmp_path)
    name = fork.put(TEXT)
    made = fork.added_bytes
    share = fork.hand_over()
    assert (fork.added_bytes, fork.hand_over()) == (0, ({}, set(), [], set()))
    assert share.files == [str(fork.path(name))]
    assert share.directories == {str(fork.folder), str(fork.folder / name[:2])}
    store.take_over(share)
    assert store.added_bytes == made
    assert store.batch.hand_over() == (share.files, share.directories)
    store.discard(name)
    assert (store.has(name), store.added_bytes) == (False, 0)


def test_a_new_form_that_can_not_be_synced_leaves_the_old_one(store, monkeypatch):
    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    name = store.put(NOISE)
    before = store.path(name).stat()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=f"{name[2:]}: the disk reports an input/output error"):
        store.put_payload(store.info(name), [NOISE])
    assert store.path(name).stat().st_ino == before.st_ino
    assert store.read(name) == NOISE


def test_objects_are_private_whatever_the_umask(store):
    before = os.umask(0)
    try:
        path = store.path(store.put(TEXT))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]


def test_nothing_is_kept_behind_a_link(store, tmp_path):
    (tmp_path / "outside").mkdir()
    (store.folder / sha(TEXT)[:2]).symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match=f"{sha(TEXT)[:2]}: a symbolic link is in the way"):
        store.put(TEXT)
    assert os.listdir(tmp_path / "outside") == []


def test_only_what_lies_where_objects_lie_is_named(store):
    names = [store.put(data) for data in (TEXT, NOISE, b"")]
    (store.folder / "new-1-1.part").write_bytes(b"of a dead writer")
    (store.path(names[0]).parent / ".nfs000000000012").write_bytes(b"of a file server")
    shutil.copytree(store.path(names[1]).parent, store.folder / "abc")
    assert list(store.names()) == sorted(names)


def test_a_folder_that_a_killed_run_made_is_made_durable_before_it_counts(store):
    (store.folder / sha(NOISE)[:2]).mkdir()
    name = store.put(NOISE)
    directories = store.batch.hand_over()[1]
    assert directories == {str(store.folder), str(store.path(name).parent)}


def test_two_threads_may_keep_the_same_content(store):
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(store.put, [TEXT, NOISE] * 20))
    assert set(names) == {sha(TEXT), sha(NOISE)}
    assert list(store.names()) == sorted(set(names))
    assert list(store.folder.rglob("*.part")) == []
