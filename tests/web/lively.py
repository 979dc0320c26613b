"""A repository with life in it: two months of study, many scripts, a shrink, runs that failed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from anki.collection import Collection

from anki_backup import durable, runs
from anki_backup.gather import Options
from anki_backup.model import Backup
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.made_collections import sql

DECKS = {
    "Medicine::Cardiology": 620,
    "Medicine::Neurology": 410,
    "Medicine::Pharmacology::Antibiotics": 260,
    "Español::Verbos irregulares": 380,
    "Español::Vocabulario": 540,
    "日本語::語彙 N3": 470,
    "日本語::漢字": 300,
    "Русский::Падежи": 210,
    "العربية::مفردات": 160,
    "Geography::Capitals & flags": 195,
    'Music <b>"theory"</b>::Intervals': 90,
    "Χημεία": 75,
    "हिन्दी": 60,
    "Chess endings": 130,
}
WORDS = "heart aorta valve nerve ganglion verbo hablar 心臓 勉強 дело окно مدرسة κατιόν अच्छा rook".split()
DAYS = 60


def make(root: Path, days: int = DAYS, *, seed: int = 4) -> Repository:
    """Make `root/profile` and `root/repository`, backed up over `days` days that end now."""
    profile = root / "profile"
    profile.mkdir(parents=True)
    path = profile / "collection.anki2"
    rng = random.Random(seed)
    now = datetime.now(UTC).replace(microsecond=0)
    first = now - timedelta(days=days)
    _fill(path, rng, first, days)
    _media(profile / "collection.media", rng)
    repository = Repository.create(root / "repository")
    source = Profile("desktop", path)
    with _in_a_hurry():
        for day in range(days):
            at = first + timedelta(days=day, hours=rng.choice((7, 8, 18, 21)), minutes=rng.randrange(60))
            if day % 3 != 2 or day > days - 4:
                _study(path, rng, at, grown=day)
                if day == days - 9:
                    sql(path, "DELETE FROM cards WHERE id % 5 < 2", "UPDATE col SET mod = mod + 1")
                if day == days - 8:
                    _fill_again(path)
                _back_up(repository, source, at)
            end = min(now, first + timedelta(days=day + 1))
            # One morning at least was slept through, however the dice fall.
            asleep = rng.random() < 0.12 or day == days - 6
            _hours(repository, rng, first + timedelta(days=day), end, asleep=asleep)
        _study(path, rng, now, grown=days)
        _back_up(repository, source, now - timedelta(minutes=14))
    repository.rebuild_catalog()
    return repository


def after(root: Path, *statements: str) -> Backup:
    """Do something to the collection of `root`, and return the backup that a run makes of it."""
    path = root / "profile" / "collection.anki2"
    sql(path, *statements, "UPDATE col SET mod = mod + 1000")
    result = runs.back_up(Repository.open(root / "repository"), Profile("desktop", path), Options(threads=1))
    assert result.backup, result.error
    return result.backup


@contextmanager
def _in_a_hurry() -> Iterator[None]:
    """Sync nothing: what is tested here is not the power cut."""
    import os

    before = os.fsync, durable._syncfs
    os.fsync = lambda fd: None
    durable._syncfs = lambda path: True
    try:
        yield
    finally:
        os.fsync, durable._syncfs = before


@contextmanager
def _at(moment: datetime) -> Iterator[None]:
    """Let the program's clock stand at a moment; only what it writes down asks for it."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("anki_backup.attempt.now", lambda: moment.replace(microsecond=0))
        patched.setattr("anki_backup.repository.now", lambda: moment.replace(microsecond=0))
        patched.setattr("anki_backup.runs.datetime", Stopped)
        yield


def _back_up(repository: Repository, source: Profile, at: datetime) -> None:
    with _at(at):
        result = runs.back_up(repository, source, Options(force=True, threads=1))
    assert result.backup, result.error


def _hours(repository: Repository, rng: random.Random, day: datetime, end: datetime, *, asleep: bool) -> None:
    """Record what the other hours came to: nothing new mostly, sometimes a failure, or no run."""
    for hour in range(24):
        at = day + timedelta(hours=hour, seconds=40)
        if at >= end or (asleep and hour < 9) or (end - at).days > 31:
            continue
        with _at(at):
            number = repository.record("run_started", source="desktop")
            told = {
                "run": number,
                "source": "desktop",
                "started_at": at,
                "duration_ms": rng.randrange(90, 400),
            }
            if rng.random() < 0.012:
                error = {
                    "code": "source",
                    "message": "/home/ada/.local/share/Anki2/Ada/collection.anki2 kept changing, 5 times",
                    "hint": "Close Anki, or give it time: ankibak run --wait 10m",
                }
                repository.record("run", **told, outcome="failed", error=error, stored_bytes=0, count=1)
            else:
                repository.record(
                    "run", **told, outcome="skipped", reason="unchanged", stored_bytes=0, count=1
                )


def _fill(path: Path, rng: random.Random, first: datetime, days: int) -> None:
    col = Collection(str(path))
    basic = col.models.by_name("Basic")
    both = col.models.by_name("Basic (and reversed card)")
    cloze = col.models.by_name("Cloze")
    for name, number in DECKS.items():
        deck = col.decks.id(name)
        for at in range(number // 4):
            kind = (basic, basic, both, cloze)[at % 4]
            note = col.new_note(kind)
            word = rng.choice(WORDS)
            if kind is cloze:
                note.fields = [
                    f"{name.rpartition('::')[2]} {at}: {{{{c1::{word}}}}} <img src='picture {at % 9}.png'>",
                    "",
                ]
            else:
                note.fields = [f"{word} {at}", f"<b>{rng.choice(WORDS)}</b> <i>{at}</i>"]
            note.tags = [rng.choice(("leech", "exam::2026", "hard", "Ämter"))]
            col.add_note(note, deck)
    col.set_config("rollover", 4)
    col.close()
    with closing(sqlite3.connect(path)) as db, db:
        cards = [row[0] for row in db.execute("SELECT id FROM cards ORDER BY id")]
        crt = int(first.timestamp()) - 700 * 86400
        db.execute("UPDATE col SET crt = ?", (crt,))
        today = int(first.timestamp() - crt) // 86400
        for card in cards:
            dice = rng.random()
            if dice < 0.18:
                continue
            ivl = max(1, int(rng.lognormvariate(3.0, 1.1)))
            queue = -1 if dice > 0.96 else 2
            due = today + days + rng.randrange(-12, max(2, min(ivl, 120)))
            db.execute(
                "UPDATE cards SET type = 2, queue = ?, ivl = ?, due = ?, reps = 5, factor = 2500"
                " WHERE id = ?",
                (queue, ivl, due, card),
            )
        for day in range(380, 0, -1):
            _review(db, rng, cards, first - timedelta(days=day))


def _review(db: sqlite3.Connection, rng: random.Random, cards: list[int], day: datetime) -> None:
    season = 0.4 + 0.6 * abs((day.timetuple().tm_yday % 120) / 60 - 1)
    number = 0 if rng.random() < 0.14 else int(rng.lognormvariate(3.6, 0.5) * season)
    start = int(day.timestamp() * 1000)
    rows = [
        (
            start + at * 9_000 + rng.randrange(999),
            rng.choice(cards),
            0,
            rng.choice((1, 3, 3, 3, 4)),
            12,
            6,
            2500,
            7000,
            1,
        )
        for at in range(number)
    ]
    db.executemany("INSERT OR IGNORE INTO revlog VALUES (?,?,?,?,?,?,?,?,?)", rows)


def _study(path: Path, rng: random.Random, at: datetime, grown: int) -> None:
    """Review some cards, add some notes."""
    with closing(sqlite3.connect(path)) as db, db:
        cards = [row[0] for row in db.execute("SELECT id FROM cards ORDER BY id")]
        _review(db, rng, cards, at - timedelta(hours=1))
        for number in range(rng.randrange(3, 14)):
            fresh = int(at.timestamp() * 1000) + number
            note, card = rng.choice(list(db.execute("SELECT nid, id FROM cards")))
            db.execute(
                "INSERT INTO notes SELECT ?, ?, mid, ?, -1, tags, flds || ?, sfld, csum, 0, ''"
                " FROM notes WHERE id = ?",
                (fresh, f"g{fresh}", int(at.timestamp()), f" {grown}", note),
            )
            db.execute(
                "INSERT INTO cards SELECT ?, ?, did, ord, mod, -1, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0, ''"
                " FROM cards WHERE id = ?",
                (fresh, fresh, card),
            )
        db.execute("UPDATE cards SET ivl = ivl + 1 WHERE id % 17 = ?", (grown % 17,))
        db.execute("UPDATE col SET mod = ?", (int(at.timestamp() * 1000),))


def _fill_again(path: Path) -> None:
    """What a person does who got the cards back: notes without cards get one."""
    with closing(sqlite3.connect(path)) as db, db:
        deck = db.execute("SELECT did FROM cards GROUP BY did ORDER BY count(*) DESC").fetchone()[0]
        db.execute(
            "INSERT OR IGNORE INTO cards SELECT id, id, ?, 0, mod, -1, 2, 2, 760, 30, 2500, 4, 0, 0, 0, 0, 0,"
            " ''"
            " FROM notes WHERE id NOT IN (SELECT nid FROM cards)",
            (deck,),
        )


def _media(folder: Path, rng: random.Random) -> None:
    """Put real pictures there: SVG wouldn't need a library, but PNG is what people have."""
    import struct
    import zlib

    folder.mkdir(exist_ok=True)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for number in range(9):
        side, colour = 48, bytes(rng.randrange(60, 230) for _ in range(3))
        rows = b"".join(
            b"\0" + b"".join(bytes(max(0, c - (x * y) // 24) for c in colour) for x in range(side))
            for y in range(side)
        )
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (folder / f"picture {number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
