"""The readers of bytes from outside, each with its seeds: `TARGETS`."""

from __future__ import annotations

import json
import os
import struct
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

from anki_backup import (
    archives,
    canonical,
    config,
    deltas,
    events,
    gaps,
    header,
    lookup,
    medialist,
    messages,
    model,
)
from anki_backup.catalog import Catalog
from anki_backup.entries import CatalogError, Entry
from anki_backup.history import History, backup_of
from anki_backup.replay import Replay
from tests.fuzz import Target, http, seeds, sync
from tests.patching import patched

ENTRIES = [
    Entry(n, 1767265200 + n * 86400, seeds.DAY.format(n), "home" if n % 2 else "away") for n in range(1, 8)
]
NOW = datetime(2027, 1, 1, tzinfo=UTC)


@cache
def catalog() -> Catalog:
    """A catalog that is only written in transactions that are taken back."""
    return Catalog(seeds.folder() / "metadata.db", write=True)


@cache
def history() -> History:
    """A repository that has a log and nothing else."""
    (seeds.folder() / "state").mkdir()
    return History(seeds.folder(), "0" * 32)


class Undone(Exception):
    """Takes a transaction back."""


def manifest(data: bytes) -> None:
    """Below the checksum: what is a manifest can be sealed, and kept in the catalog."""
    found = model.typed(model.load(data, "a manifest"), model.BackupManifest, "a manifest")
    assert model.unseal(model.seal(found), model.BackupManifest, "a manifest") == found
    with suppress(Undone, CatalogError), catalog().transaction():
        catalog().put_backup(backup_of(found))
        assert catalog().backups([found.id]) == {found.id: backup_of(found)}
        raise Undone


def sealed(data: bytes) -> None:
    """Through the checksum: only what was sealed is opened, byte for byte."""
    found = model.unseal(data, dict, "a document")
    assert model.load(data, "a document") == found | {"checksum": json.loads(data)["checksum"]}


def event_log(data: bytes) -> None:
    """A log of lines whose checksums are right, but for one that is left as it is."""
    path = history().log
    whole = [b'%s,"crc32":"%08x"}\n' % (line, zlib.crc32(line)) for line in data.split(b"\n")]
    path.write_bytes(b"".join(whole) + data)
    replay = Replay()
    for line in events.read(path):
        replay.apply(line)
    with suppress(Undone, CatalogError), catalog().transaction():
        for name, state in replay.states.items():
            catalog().put_state(name, state)
        for number, run in replay.runs.items():
            catalog().put_run(number, *run)
        catalog().put_mark("findings", replay.findings or 0)
        catalog().put_mark("n", replay.number)
        raise Undone
    events.newest(path)
    spoilt = [line.raw for line in events.damaged(path)]
    events.fold(path, NOW)
    assert [line.raw for line in events.damaged(path)] == spoilt or b"folded" in path.read_bytes()
    gaps.accept(history(), NOW)
    assert not gaps.vanished(history()) and not gaps.trouble(history())


def object_header(data: bytes) -> None:
    """A header whose checksum is right, before a file of any size."""
    name, size = "0" * 64, int.from_bytes(data[:4], "little")
    head = data[4 : 4 + header.HEADER.size]
    head += struct.pack("<I", zlib.crc32(head)) + data[4 + header.HEADER.size :]
    info = header.parse(name, head, size)
    assert info.header() == head[: info.offset]
    assert info.stored_bytes == size


def delta(data: bytes) -> None:
    """A table, its frames and a base: both ways of applying it give the same, of the size that was said."""
    if len(data) < 8:
        return
    base_size, table_size, size = struct.unpack_from("<HHI", data)
    base = data[8 : 8 + base_size]
    table = deltas.unpack(data[8 + len(base) : 8 + len(base) + table_size])
    at, frames = 8 + len(base) + table_size, []
    for frame in table.frames:
        frames.append(data[at : at + frame.length])
        at += frame.length
    made = bytearray()

    def write(block: bytes) -> None:
        made.extend(block)
        assert len(made) <= size

    deltas.apply(table, frames, len(base), size, lambda at, count: base[at : at + count], write)
    assert len(made) == size
    if deltas.in_place(table, len(base)):
        assert patched(table, frames, base, size) == made


def media_list(data: bytes) -> None:
    """Two lists: what is a list can be written again; their delta makes the one of the other."""
    one, _, other = data.partition(b"\n\n")
    old, new = (medialist.pack_list(medialist.unpack_list(part)) for part in (one, other))
    assert medialist.unpack_list(old) == sorted(medialist.unpack_list(one), key=lambda file: file.name)
    table, frames = medialist.list_delta(old, new)
    made = bytearray()
    deltas.apply(
        deltas.unpack(table), frames, len(old), len(new), lambda at, count: old[at : at + count], made.extend
    )
    assert made == new


def configuration(data: bytes) -> None:
    """A file of TOML, and a variable that overrides it."""
    path = seeds.folder() / "config.toml"
    text, _, value = data.partition(b"\0")
    path.write_bytes(text)
    path.chmod(0o600)
    key, _, value = value.partition(b"=")
    name = "ANKIBAK_" + key.decode("utf-8", "replace").replace("\0", "")
    found = config.load(path, {name: os.fsdecode(value.replace(b"\0", b"")), "HOME": str(seeds.folder())})
    for source in found.sources:
        found.schedule_of(source)
        found.hooks_of(source)
        found.retention_of(source)


def backup_id(data: bytes) -> None:
    """What a person types for a backup: found is one that fits."""
    text = data.decode("utf-8", "surrogateescape")
    entry = lookup.resolve(text, ENTRIES, timezone(timedelta(hours=14)))
    assert text.startswith("@") or ":" in text or "latest" in text or entry.id.startswith(text)


def package(data: bytes) -> None:
    """A package: what comes out is bounded by what went in."""
    path = seeds.folder() / "any.colpkg"
    path.write_bytes(data)
    with archives.Package(path) as found:
        made = sum(map(len, found.collection()))
        items, _ = found.media()
        for item in items:
            assert b"/" not in item.name
            assert b"\0" not in item.name
            made += sum(map(len, found.blocks(item)))
    assert made < max(archives.FLOOR, archives.RATIO * len(data))


def settings_blob(data: bytes) -> None:
    """What a collection keeps of decks and options, in protobuf or JSON: compared, and shown."""
    with suppress(canonical.Unparsable):
        model.dump(messages.decode("DeckConfig.Config", data))
    with suppress(canonical.Unparsable):
        model.dump(messages.decode("Deck.KindContainer", data))
    with suppress(canonical.Unparsable):
        canonical.message_item(data)
    with suppress(canonical.Unparsable):
        value = canonical.parse_json(data)
        assert canonical.json_item(value) == canonical.json_item(value)
        model.dump(messages.flat(value))


TARGETS = {
    name: Target(name, read, first, tuple(rooms.split()))
    for name, read, first, rooms in (
        ("manifest", manifest, (seeds.manifest(),), "model catalog history"),
        ("sealed", sealed, (model.seal({"a": 1}), model.seal({"sources": {"home": seeds.DAY}})), "model"),
        ("events", event_log, (seeds.events(),), "events replay model catalog gaps"),
        (
            "header",
            object_header,
            (b"\0" * 4 + header.Info("", 1, 0, 68, 0, 0, 0, None).header()[:64],),
            "header",
        ),
        ("delta", delta, seeds.delta(), "deltas"),
        ("medialist", media_list, (seeds.media_lists(),), "medialist"),
        (
            "config",
            configuration,
            seeds.configurations(),
            "config document environment values keys calendars",
        ),
        (
            "lookup",
            backup_id,
            (b"latest~2", b"home:latest", b"@2026-01-03", seeds.DAY.encode(), b"2026-01-02"),
            "lookup",
        ),
        ("package", package, seeds.packages(), "archives filenames"),
        ("settings", settings_blob, seeds.blobs(), "canonical messages"),
    )
} | {target.name: target for target in (http.TARGET, sync.TARGET)}
