"""Make consecutive versions of a collection: `python -m tests.benchmarks.make_versions SOURCE FOLDER COUNT`.

Each is a package as Anki's own backups are, with a day's work since the one before:
reviews, edits and new notes. Twice the note type is changed (a field more, another
template), and twice Check Database is done. They are named as Anki names its
backups, a day apart.
"""

from __future__ import annotations

import random
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

from anki.collection import Collection

from tests.benchmarks.study_hour import study

FIRST_DAY = datetime(2025, 1, 1, 12, 0)
ANSWERS = 100
EDITS = 5
ADDED = 20


def make(source: Path, folder: Path, count: int, seed: int = 1) -> None:
    """Make `count` packages of what a copy of `source` becomes day by day."""
    folder.mkdir(parents=True)
    copy = folder / "collection.anki2"
    shutil.copyfile(source, copy)
    for day in range(count):
        study(copy, ANSWERS, EDITS, day, seed)
        collection = Collection(str(copy))
        _add(collection, random.Random(f"{seed} {day}"))
        if day == count * 2 // 5:
            _change_fields(collection)
        if day == count * 3 // 5:
            _change_template(collection)
        if day in (count // 3, count * 3 // 4):
            collection.fix_integrity()
        name = f"backup-{FIRST_DAY + timedelta(days=day):%Y-%m-%d-%H.%M.%S}.colpkg"
        # This closes the collection.
        collection.export_collection_package(str(folder / name), include_media=False, legacy=False)
        collection.close()
    for path in folder.glob("collection.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _add(collection: Collection, rng: random.Random) -> None:
    """Add notes whose texts are words of older ones."""
    assert collection.db is not None
    fields: list[str] = collection.db.list("select flds from notes order by id limit 500")
    words = " ".join(fields).replace("\x1f", " ").split()
    decks = [deck.id for deck in collection.decks.all_names_and_ids()]
    note_type = collection.models.by_name("Basic (and reversed card)")
    assert note_type is not None
    for _ in range(ADDED):
        note = collection.new_note(note_type)
        note.fields[0], note.fields[1] = (" ".join(rng.choices(words, k=size)) for size in (10, 60))
        collection.add_note(note, rng.choice(decks))


def _change_fields(collection: Collection) -> None:
    note_type = collection.models.by_name("Basic (and reversed card)")
    assert note_type is not None
    collection.models.add_field(note_type, collection.models.new_field("Source"))
    collection.models.update_dict(note_type)


def _change_template(collection: Collection) -> None:
    note_type = collection.models.by_name("Basic (and reversed card)")
    assert note_type is not None
    note_type["tmpls"][0]["qfmt"] += "<br>{{Source}}"
    collection.models.update_dict(note_type)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
