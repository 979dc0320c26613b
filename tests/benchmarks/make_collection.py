"""Make the reference collection: `python -m tests.benchmarks.make_collection OUT.anki2 [--media N]`.

35,000 notes, 70,000 cards and 500,000 reviews come to about 100 MB. Every row of
notes, cards, reviews and every media file follows from the seed; only what Anki
itself puts into an empty collection (its creation time, ids of decks and note
types) comes from the clock. The words come from a generator: no text is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from anki.collection import Collection

NOTES = 35_000
REVIEWS = 500_000
START_MS = 1_500_000_000_000
NOTE_STEP_MS = 61
REVIEW_STEP_MS = 173
COPY_STEP_MS = 1_000_000_000
NOTE_TYPE = "Basic (and reversed card)"
CARDS_PER_NOTE = 2
DECKS = (
    "Medicine",
    "Medicine::Cardio",
    "Medicine::Neuro",
    "Spanish",
    "Spanish::Verbs",
    "Spanish::Nouns",
    "Geography",
    "日本語",
    "日本語::JLPT N1",
    "Chess",
)
GUID_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&()*+,-./:;<=>?@[]^_`{|}~"
JPEG_MAGIC = b"\xff\xd8\xff\xe0"
COLUMNS = {
    "notes": "id + :step, guid || :copy, mid, mod, usn, tags, flds, sfld, csum, flags, data",
    "cards": "id + :step, nid + :step, did, ord, mod, usn, type, queue, due, ivl, factor, reps, lapses, left,"
    " odue, odid, flags, data",
    "revlog": "id + :step, cid + :step, usn, ease, ivl, lastIvl, factor, time, type",
}

Row = tuple[object, ...]


def make(path: Path, notes: int = NOTES, reviews: int = REVIEWS, media: int = 0, seed: int = 1) -> None:
    """Make a collection at `path`, which must not exist, and `media` files in the folder beside it."""
    note_type, decks = _make_empty(path)
    with closing(sqlite3.connect(path)) as db, db:
        _insert(db, "notes", _notes(notes, note_type, media, seed))
        _insert(db, "cards", _cards(notes, decks, seed))
        _insert(db, "revlog", _reviews(reviews, notes, seed))
    make_media(path.parent / "collection.media", media, seed)


def make_media(folder: Path, files: int, seed: int = 1) -> int:
    """Put `files` pictures of random bytes into `folder`, 100 KB each on average; return their bytes.

    The sizes are log-normal, as those of real media are: 20,000 files are 2 GB.
    """
    rng = random.Random(f"{seed} media")
    folder.mkdir(exist_ok=True)
    total = 0
    for number in range(files):
        data = JPEG_MAGIC + rng.randbytes(int(rng.lognormvariate(11, 1)))
        (folder / f"picture-{number}.jpg").write_bytes(data)
        total += len(data)
    return total


def multiply(source: Path, path: Path, factor: int) -> None:
    """Make `path` from `source` with `factor` times its notes, cards and reviews, under ids of their own."""
    shutil.copyfile(source, path)
    with closing(sqlite3.connect(path)) as db, db:
        last = {table: db.execute(f"select max(id) from {table}").fetchone()[0] for table in COLUMNS}
        for copy in range(1, factor):
            for table, columns in COLUMNS.items():
                db.execute(
                    f"insert into {table} select {columns} from {table} where id <= :last",
                    {"step": copy * COPY_STEP_MS, "copy": str(copy), "last": last[table]},
                )


def _make_empty(path: Path) -> tuple[int, list[int]]:
    """Let Anki make an empty collection; return the ids of the note type and of the decks."""
    if path.exists():
        raise FileExistsError(path)
    collection = Collection(str(path))
    try:
        note_type = collection.models.by_name(NOTE_TYPE)
        if note_type is None:
            raise LookupError(f"Anki's language has no note type {NOTE_TYPE!r}")
        decks = [collection.decks.id(name) for name in DECKS]
        return int(note_type["id"]), [int(deck) for deck in decks if deck is not None]
    finally:
        collection.close()


def _insert(db: sqlite3.Connection, table: str, rows: Iterator[Row]) -> None:
    marks = ",".join("?" for _ in COLUMNS[table].split(","))
    db.executemany(f"insert into {table} values ({marks})", rows)


def _vocabulary(rng: random.Random, size: int = 20_000) -> list[str]:
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvz" for vowel in "aeiou"]
    syllables += ["tion", "ment", "ing", "ness", "able", "ish"]
    return ["".join(rng.choices(syllables, k=rng.randint(2, 5))) for _ in range(size)]


def _notes(count: int, note_type: int, media: int, seed: int) -> Iterator[Row]:
    rng = random.Random(f"{seed} notes")
    words = _vocabulary(rng)
    for number in range(count):
        front = " ".join(rng.choices(words, k=rng.randint(6, 25)))
        lines = [" ".join(rng.choices(words, k=rng.randint(10, 60))) for _ in range(rng.randint(1, 5))]
        back = "".join(f"<div>{line}</div>" for line in lines)
        if number < media:
            back += f'<img src="picture-{number}.jpg">'
        guid = "".join(rng.choices(GUID_LETTERS, k=10))
        tags = f" tag{number % 50} topic::{words[number % 500]} "
        checksum = int(hashlib.sha1(front.encode(), usedforsecurity=False).hexdigest()[:8], 16)
        fields = f"{front}\x1f{back}"
        modified = START_MS // 1000 + number
        yield (_note_id(number), guid, note_type, modified, 0, tags, fields, front, checksum, 0, "")


def _cards(notes: int, decks: list[int], seed: int) -> Iterator[Row]:
    rng = random.Random(f"{seed} cards")
    for number in range(notes):
        for ordinal in range(CARDS_PER_NOTE):
            memory = json.dumps({"s": round(rng.random() * 400, 4), "d": round(rng.random() * 10, 3)})
            due, interval = rng.randint(0, 2000), rng.randint(1, 400)
            reps, lapses = rng.randint(1, 40), rng.randint(0, 8)
            place: Row = (_card_id(number, ordinal), _note_id(number), decks[number % len(decks)], ordinal)
            state: Row = (START_MS // 1000 + number, 0, 2, 2, due, interval, 2500, reps, lapses)
            yield (*place, *state, 0, 0, 0, 0, memory)


def _reviews(count: int, notes: int, seed: int) -> Iterator[Row]:
    rng = random.Random(f"{seed} reviews")
    for number in range(count):
        card = _card_id(rng.randrange(notes), rng.randrange(CARDS_PER_NOTE))
        ease, interval, before = rng.randint(1, 4), rng.randint(1, 400), rng.randint(1, 400)
        taken_ms = rng.randint(1000, 60_000)
        yield (START_MS + number * REVIEW_STEP_MS, card, 0, ease, interval, before, 2500, taken_ms, 1)


def _note_id(number: int) -> int:
    return START_MS + number * NOTE_STEP_MS


def _card_id(number: int, ordinal: int) -> int:
    return _note_id(number) + ordinal + 1


def main() -> None:
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make_collection", description="Make the reference collection.")
    parser.add_argument("path", type=Path, help="the .anki2 file to make")
    parser.add_argument("--notes", type=int, default=NOTES)
    parser.add_argument("--reviews", type=int, default=REVIEWS)
    parser.add_argument("--media", type=int, default=0, help="how many media files")
    parser.add_argument("--only-media", action="store_true", help="make no collection, only its media files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--multiply", type=int, metavar="N", help="make N times the collection of --source")
    parser.add_argument("--source", type=Path)
    chosen = parser.parse_args()
    if chosen.multiply:
        if chosen.source is None:
            parser.error("--multiply needs --source")
        multiply(chosen.source, chosen.path, chosen.multiply)
    elif chosen.only_media:
        make_media(chosen.path.parent / "collection.media", chosen.media, chosen.seed)
    else:
        make(chosen.path, chosen.notes, chosen.reviews, chosen.media, chosen.seed)


if __name__ == "__main__":
    main()
