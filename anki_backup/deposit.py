"""How a capture becomes objects: a delta over an earlier one where that is small, else whole.

Everything written is read back, unpacked and compared before this returns.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from anki_backup import chains, deltas, medialist, moved, pages
from anki_backup.baseline import Baseline, Change
from anki_backup.errors import DamageError
from anki_backup.header import Info
from anki_backup.model import MediaFile
from anki_backup.objects import ObjectStore

# The part of a collection in which pages are compared by place.
MOST = 2 / 3

UNPROVEN = (
    "a delta did not give back what it stands for, so a whole copy is kept;"
    " if that goes on, it is a bug, or this machine's memory"
)

Encoded = tuple[bytes, list[bytes]]


class _UnprovenError(Exception):
    """A delta does not unpack to what it should stand for."""


def put_collection(
    store: ObjectStore, baseline: Baseline, change: Change, base: str | None, threads: int
) -> list[str]:
    """Keep the collection that lies in the cache; `base` is the object that the pages were compared with.

    A delta must be smaller than half of the whole object that its chain begins
    with, so that a chain never costs more than it saves. Returns what a person should know.
    """
    if store.has(change.sha256) and chains.is_sound(store, change.sha256):
        store.batch.add(store.path(change.sha256))
        return []
    told = []
    try:
        if base and _put_pages(store, baseline, change, base):
            return []
    except _UnprovenError:
        told.append(UNPROVEN)
    with open(baseline.collection, "rb", buffering=0) as file:
        blocks = chains.file_blocks(file.fileno(), change.size)
        store.put_blocks(change.sha256, change.size, blocks, threads)
    return told


def _put_pages(store: ObjectStore, baseline: Baseline, change: Change, newest: str) -> bool:
    """Keep a delta over the base that the chain has next or, where too much lies between, over the newest."""
    base, position = chains.base_for_next(store, newest)
    if _put_over(store, baseline, change, newest, base, position):
        return True
    return base.name != newest and _put_over(store, baseline, change, newest, store.info(newest), position)


def _put_over(
    store: ObjectStore, baseline: Baseline, change: Change, newest: str, base: Info, position: int
) -> bool:
    way = chains.way(store, base.name)
    if not way.carries_more():
        return False
    limit = way.root // chains.WORTH
    if base.name == newest and change.pages is not None:
        old = {number: before for number, before, _ in change.pages}
        new = {number: after for number, _, after in change.pages}
        count = len(change.pages)
        sizes = base.size, change.size
        encoded = readable(pages.encode(change.pages, change.unit, *sizes, count=count, limit=limit))
        readers = _reader(old, change.unit), _reader(new, change.unit)
        return _put_delta(store, change, base, position, encoded, *readers)
    old_path = baseline.before
    if base.name != newest:
        old_path = baseline.folder / "base.part"
        chains.materialise(store, base.name, old_path)
    encoded = delta_of(old_path, baseline.collection, base.size, change.size, limit)
    with (
        open(old_path, "rb", buffering=0) as old_file,
        open(baseline.collection, "rb", buffering=0) as new_file,
    ):
        readers = chains.file_reader(old_file.fileno()), chains.file_reader(new_file.fileno())
        return _put_delta(store, change, base, position, encoded, *readers)


def readable(encoded: Encoded | None) -> Encoded | None:
    """Return a delta if readers take its table, else None."""
    return encoded if encoded and len(encoded[0]) <= deltas.TABLE_LIMIT else None


def delta_of(old: Path, new: Path, old_size: int, size: int, limit: int) -> Encoded | None:
    """Return the delta of two collections, by place where few units differ, else by what moved.

    None where neither takes at most `limit` bytes and is `readable`.
    """
    with open(old, "rb", buffering=0) as old_file, open(new, "rb", buffering=0) as new_file:
        read_old, read_new = (chains.file_reader(file.fileno()) for file in (old_file, new_file))
        unit = pages.unit_for(old_size, size)
        blocks = chains.paired_blocks(old_file.fileno(), new_file.fileno(), size)
        numbers = [number for number, _, _ in pages.changed(blocks, unit)]
        encoded = None
        if len(numbers) * unit < size * MOST:
            changes = ((at, read_old(at * unit, unit), read_new(at * unit, unit)) for at in numbers)
            encoded = pages.encode(changes, unit, old_size, size, count=len(numbers), limit=limit)
        page = moved.page_size(read_new(0, 100).ljust(100, b"\0"))
        if encoded is None and page == moved.page_size(read_old(0, 100).ljust(100, b"\0")):
            encoded = moved.encode(read_old, read_new, page, old_size, size, limit=limit)
        return readable(encoded)


def _put_delta(
    store: ObjectStore,
    change: Change,
    base: Info,
    position: int,
    encoded: Encoded | None,
    read_old: deltas.ReadAt,
    read_new: deltas.ReadAt,
) -> bool:
    """Keep a delta if what the disk holds of it unpacks to what it stands for."""
    if encoded is None:
        return False
    end = 0

    def gather(runs: list[deltas.Run]) -> bytes:
        return b"".join([read_old(at, count) for at, count in runs])

    def compare_runs(runs: list[deltas.Run], data: bytes) -> None:
        if data != b"".join([read_new(at, count) for at, count in runs]):
            raise DamageError(f"object {change.sha256} did not unpack to what was packed")

    def compare_next(data: bytes) -> None:
        nonlocal end
        compare_runs([(end, len(data))], data)
        end += len(data)

    def prove(delta: chains.Delta) -> None:
        try:
            if deltas.in_place(delta.table, base.size):
                deltas.patch(delta.table, delta.frames(), base.size, change.size, gather, compare_runs)
            else:
                deltas.apply(delta.table, delta.frames(), base.size, change.size, read_old, compare_next)
        except DamageError as error:
            raise _UnprovenError from error

    chains.put_delta(store, change.sha256, change.size, base.name, position, *encoded, prove)
    return True


def _reader(units: dict[int, bytes], unit: int) -> deltas.ReadAt:
    """Read from changed pages as from the file that they are of."""

    def read_at(at: int, count: int) -> bytes:
        return b"".join([units[number] for number in range(at // unit, (at + count) // unit)])

    return read_at


def put_list(store: ObjectStore, files: list[MediaFile], newest: str | None) -> str:
    """Keep a list of media; when `newest` is the list before it, only what came and went is stored."""
    data = medialist.pack_list(files)
    name = hashlib.sha256(data).hexdigest()
    if store.has(name) and chains.is_sound(store, name):
        store.batch.add(store.path(name))
    elif not newest or not chains.is_sound(store, newest) or not _put_lines(store, name, data, newest):
        store.put(data)
    return name


def _put_lines(store: ObjectStore, name: str, data: bytes, newest: str) -> bool:
    base, position = chains.base_for_next(store, newest)
    way = chains.way(store, base.name)
    if not way.carries_more():
        return False
    before = chains.read(store, base.name)
    table, frames = medialist.list_delta(before, data)
    length = len(table) + sum(map(len, frames))
    # More than the whole below it, an empty list perhaps: nothing could stand on that.
    if length * chains.WORTH > len(data) or length > way.root or len(data) > deltas.FRAME_LIMIT:
        return False
    if not readable((table, frames)):
        return False

    def prove(delta: chains.Delta) -> None:
        if chains.made_of(delta, before) != data:
            raise DamageError(f"object {name} did not unpack to what was packed")

    chains.put_delta(store, name, len(data), base.name, position, table, frames, prove)
    return True
