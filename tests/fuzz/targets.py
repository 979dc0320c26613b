"""The readers of bytes from outside, each with its seeds: `TARGETS`."""

from __future__ import annotations

import atexit
import json
import os
import struct
import tempfile
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

from anki_backup import (
    archives,
    canonical,
    config,
    deltas,
    events,
    header,
    lookup,
    medialist,
    messages,
    model,
)
from anki_backup.catalog import Catalog, CatalogError, Entry
from anki_backup.history import backup_of
from anki_backup.replay import Replay
from tests.conftest import ROOT
from tests.faults.trial import scratch
from tests.fuzz import Target
from tests.packages import current, field, legacy, varint

DAY = "2026-01-0{}T12-00-00Z"
ENTRIES = [Entry(n, 1767265200 + n * 86400, DAY.format(n), "home" if n % 2 else "away") for n in range(1, 8)]
NOW = datetime(2027, 1, 1, tzinfo=UTC)
PLENTY = 64 << 20


@cache
def folder() -> Path:
    """A folder in memory, for readers that want a file; it is gone at the end."""
    made = tempfile.TemporaryDirectory(prefix="fuzz.", dir=scratch())
    atexit.register(made.cleanup)
    return Path(made.name)


@cache
def catalog() -> Catalog:
    """A catalog that is only written in transactions that are taken back."""
    return Catalog(folder() / "metadata.db", write=True)


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
    path = folder() / "events.jsonl"
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
    if deltas.in_place(table):
        place = bytearray(base)

        def write_at(at: int, block: bytes) -> None:
            place[at : at + len(block)] = block

        deltas.patch(
            table, frames, len(base), size, lambda at, count: bytes(place[at : at + count]), write_at
        )
        assert place[:size] == made


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
    path = folder() / "config.toml"
    text, _, value = data.partition(b"\0")
    path.write_bytes(text)
    path.chmod(0o600)
    key, _, value = value.partition(b"=")
    name = "ANKIBAK_" + key.decode("utf-8", "replace").replace("\0", "")
    found = config.load(path, {name: os.fsdecode(value.replace(b"\0", b"")), "HOME": str(folder())})
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
    path = folder() / "any.colpkg"
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


def _manifest() -> bytes:
    stats = {"cards": 3, "notes": 2, "decks": 1, "revlog": None, "notetypes": 6, "tags": 0}
    return json.dumps(
        {
            **{"format": 1, "repository": "0" * 32, "id": DAY.format(1), "source": "home", "sequence": 1},
            **{"origin": "run", "created_at": "2026-01-01T12:00:00Z", "content_hash": "v1:" + "0" * 64},
            **{"collection_sha256": "1" * 64, "collection_bytes": 4096, "collection_schema": 18},
            **{"media_list": None, "media_bytes": 5, "media_files": 1, "stored_bytes": 77, "stats": stats},
            **{"stats_sha256": "2" * 64, "source_revision": {"mod": 1, "scm": 2, "usn": 3}},
            **{"duration_ms": {"total": 5}, "program_version": "1", "host": "h\udcff", "skipped": []},
            "capture": {"path": "/x", "hot": True, "wal_bytes": 2, "warnings": ["w"]},
        }
    ).encode()


def _events() -> bytes:
    run = {"run": 1, "source": "home", "started_at": "2026-01-01T12:00:00Z", "outcome": "skipped"}
    rows = [
        {"event": "run_started", "source": "home"},
        {"event": "run", **run, "reason": "unchanged"},
        {"event": "pin", "backup": DAY.format(1), "label": "x\udcff"},
        {
            "event": "alarm",
            "backup": DAY.format(1),
            "alarm": {"kind": "cards", "before": 9, "after": 1, "since": "2026-01-01T12:00:00Z"},
        },
        {"event": "verified", "findings": 0},
        {"event": "proof", "backup": DAY.format(1)},
        {"event": "folded", "source": "home", "day": "2026-01-01", "count": 7},
    ]
    lines = [json.dumps({"n": n, "at": "2026-01-01T12:00:00Z", **row})[:-1] for n, row in enumerate(rows, 1)]
    return "\n".join(lines).encode()


def _deltas() -> tuple[bytes, ...]:
    base = bytes(range(48))

    def one(ops: list[tuple[int, int, int]], inserted: bytes, sources: tuple[tuple[int, int], ...]) -> bytes:
        dropped, at, size = b"", 0, len(base)
        for copy, drop, insert in ops:
            dropped += base[(at + copy) * 4 : (at + copy + drop) * 4]
            at += copy + drop
            size += (insert - drop) * 4
        named = base[sources[0][0] * 4 :][: sources[0][1] * 4] if sources else dropped
        frame = deltas.compress(inserted, named)
        frames = (deltas.Frame(len(ops), len(frame), sources),)
        table = deltas.pack(deltas.Table(4, tuple(deltas.Op(*op) for op in ops), frames))
        return struct.pack("<HHI", len(base), len(table), size) + base + table + frame

    return (
        one([(2, 1, 1), (3, 2, 2)], b"a" * 12, ()),
        one([(2, 1, 3), (3, 2, 0)], b"b" * 12, ((1, 4),)),
        one([(12, 0, 2)], b"c" * 8, ()),
    )


def _media_lists() -> bytes:
    files = [model.MediaFile(name, 3, 10**18, "ab" * 32) for name in (b"a.jpg", b"\xff.mp3", b"z")]
    return medialist.pack_list(files[:2]) + b"\n" + medialist.pack_list(files[1:])


def _packages() -> tuple[bytes, ...]:
    media = {b"cat.jpg": b"meow" * 20, "ü.mp3".encode(): b"\0" * 30}
    names = {name.decode(): data for name, data in media.items()}
    path = folder() / "seed.colpkg"
    ages = (
        lambda: current(path, b"SQLite format 3\0" * 9, media),
        lambda: legacy(path, b"SQLite format 3\0" * 9, names),
        lambda: legacy(path, b"SQLite format 3\0" * 9, {}, newer=False),
    )
    return tuple(write().read_bytes() for write in ages)


def _configurations() -> tuple[bytes, ...]:
    example = (ROOT / "docs" / "config.example.toml").read_bytes()
    loud = b"\n".join(line.removeprefix(b"#") for line in example.split(b"\n") if not line.startswith(b"# "))
    short = b'[storage]\nroot = "r"\n[sources.home]\nkind = "profile"\npath = "p"\n'
    return (
        short,
        loud,
        short + b"\0STORAGE__ROOT=/x",
        b'[ankiweb]\nusername = "a"\n[schedule]\ncron = "*/7 1-5 * * 1"\n',
    )


def _blobs() -> tuple[bytes, ...]:
    deck = field(1, varint(1 << 3) + varint(7) + field(4, b"text"))
    return deck, field(255, b'{"a":[1,2.5,null]}'), b'{"new":{"delays":[1.0,10.0]},"x":"\\ud800"}'


TARGETS = {
    name: Target(name, read, seeds, tuple(rooms.split()))
    for name, read, seeds, rooms in (
        ("manifest", manifest, (_manifest(),), "model catalog history"),
        ("sealed", sealed, (model.seal({"a": 1}), model.seal({"sources": {"home": DAY}})), "model"),
        ("events", event_log, (_events(),), "events replay model catalog"),
        (
            "header",
            object_header,
            (b"\0" * 4 + header.Info("", 1, 0, 68, 0, 0, 0, None).header()[:64],),
            "header",
        ),
        ("delta", delta, _deltas(), "deltas"),
        ("medialist", media_list, (_media_lists(),), "medialist"),
        ("config", configuration, _configurations(), "config document environment values keys calendars"),
        (
            "lookup",
            backup_id,
            (b"latest~2", b"home:latest", b"@2026-01-03", DAY.encode(), b"2026-01-02"),
            "lookup",
        ),
        ("package", package, _packages(), "archives filenames"),
        ("settings", settings_blob, _blobs(), "canonical messages"),
    )
}
