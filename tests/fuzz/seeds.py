"""What each fuzz target begins with: one whole example of everything that its reader knows."""

from __future__ import annotations

import atexit
import json
import struct
import tempfile
from functools import cache
from pathlib import Path

from anki_backup import deltas, medialist, model
from tests.conftest import ROOT
from tests.faults.trial import scratch
from tests.packages import current, field, legacy, varint

DAY = "2026-01-0{}T12-00-00Z"


@cache
def folder() -> Path:
    """A folder in memory, for readers that want a file; it is gone at the end."""
    made = tempfile.TemporaryDirectory(prefix="fuzz.", dir=scratch())
    atexit.register(made.cleanup)
    return Path(made.name)


def manifest() -> bytes:
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


def events() -> bytes:
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
        {"event": "run", **run, "outcome": "created", "backup": DAY.format(2)},
        {"event": "adopted", "source": "home", "backup": DAY.format(3)},
        {"event": "pruned", "backups": [DAY.format(2)], "freed_bytes": 0},
        {"event": "lost", "backups": [DAY.format(4)], "remembered": False},
        {"event": "accepted", "backups": [DAY.format(3)]},
        {"event": "verified", "findings": 0},
        {"event": "proof", "backup": DAY.format(1)},
        {"event": "folded", "source": "home", "day": "2026-01-01", "count": 7},
    ]
    lines = [json.dumps({"n": n, "at": "2026-01-01T12:00:00Z", **row})[:-1] for n, row in enumerate(rows, 1)]
    return "\n".join(lines).encode()


def delta() -> tuple[bytes, ...]:
    base = bytes(range(48))

    def one(ops: list[tuple[int, int, int]], inserted: bytes, sources: tuple[tuple[int, int], ...]) -> bytes:
        dropped, at, size = b"", 0, len(base)
        for copy, drop, insert in ops:
            dropped += base[(at + copy) * 4 : (at + copy + drop) * 4]
            at += copy + drop
            size += (insert - drop) * 4
        named = base[sources[0][0] * 4 :][: sources[0][1] * 4] if sources else dropped
        frame = deltas.compress(inserted, deltas.prefix(named))
        frames = (deltas.Frame(len(ops), len(frame), sources),)
        table = deltas.pack(deltas.Table(4, tuple(deltas.Op(*op) for op in ops), frames))
        return struct.pack("<HHI", len(base), len(table), size) + base + table + frame

    return (
        one([(2, 1, 1), (3, 2, 2)], b"a" * 12, ()),
        one([(2, 1, 3), (3, 2, 0)], b"b" * 12, ((1, 4),)),
        one([(12, 0, 2)], b"c" * 8, ()),
    )


def media_lists() -> bytes:
    files = [model.MediaFile(name, 3, 10**18, "ab" * 32) for name in (b"a.jpg", b"\xff.mp3", b"z")]
    return medialist.pack_list(files[:2]) + b"\n" + medialist.pack_list(files[1:])


def packages() -> tuple[bytes, ...]:
    media = {b"cat.jpg": b"meow" * 20, "ü.mp3".encode(): b"\0" * 30}
    names = {name.decode(): data for name, data in media.items()}
    path = folder() / "seed.colpkg"
    ages = (
        lambda: current(path, b"SQLite format 3\0" * 9, media),
        lambda: legacy(path, b"SQLite format 3\0" * 9, names),
        lambda: legacy(path, b"SQLite format 3\0" * 9, {}, newer=False),
    )
    return tuple(write().read_bytes() for write in ages)


def configurations() -> tuple[bytes, ...]:
    example = (ROOT / "docs" / "config.example.toml").read_bytes()
    loud = b"\n".join(line.removeprefix(b"#") for line in example.split(b"\n") if not line.startswith(b"# "))
    short = b'[storage]\nroot = "r"\n[sources.home]\nkind = "profile"\npath = "p"\n'
    return (
        short,
        loud,
        short + b"\0STORAGE__ROOT=/x",
        b'[ankiweb]\nusername = "a"\n[schedule]\ncron = "*/7 1-5 * * 1"\n',
    )


def blobs() -> tuple[bytes, ...]:
    deck = field(1, varint(1 << 3) + varint(7) + field(4, b"text"))
    return deck, field(255, b'{"a":[1,2.5,null]}'), b'{"new":{"delays":[1.0,10.0]},"x":"\\ud800"}'
