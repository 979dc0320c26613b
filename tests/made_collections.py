"""Collections made with Anki's own library, and how to change them behind its back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from anki.collection import Collection


def fold(one: str, other: str) -> int:
    """Compare as Anki's collation `unicase` does."""
    first, second = one.casefold(), other.casefold()
    return (first > second) - (first < second)


def sql(path: Path, *statements: str) -> None:
    """Change a collection behind Anki's back, and leave it in one closed file."""
    db = sqlite3.connect(path, isolation_level=None)
    db.create_collation("unicase", fold)
    db.execute("PRAGMA journal_mode=DELETE")
    for statement in statements:
        db.execute(statement)
    db.close()


def make_varied(path: Path) -> Path:
    """Make a collection with decks in decks, a filtered deck, reviews, tags and names of all sorts."""
    col = Collection(str(path))
    names = [
        "Français::Été",
        "Français::Été::juin",
        "日本語",
        "Empty",
        "a_b%",
        "A <b>tag</b>::\u202e mirrored",
    ]
    decks = [col.decks.id(name) for name in names]
    note_type = col.models.by_name("Basic (and reversed card)")
    for number in range(24):
        note = col.new_note(note_type)
        note.fields = [f"front {number} ü", f"back <i>{number}</i>"]
        note.tags = ["easy", f"Ämter::{number % 3}"]
        col.add_note(note, decks[(0, 1, 2, 4, 5)[number % 5]])
    col.decks.set_current(decks[0])
    for _ in range(4):
        card = col.sched.getCard()
        card.start_timer()
        col.sched.answerCard(card, 2)
    filtered = col.decks.new_filtered("Cramming")
    deck = col.decks.get(filtered)
    deck["terms"] = [["deck:日本語", 5, 0]]
    col.decks.save(deck)
    col.sched.rebuild_filtered_deck(filtered)
    assert col.db.scalar("SELECT count() FROM cards WHERE odid != 0") == 5
    col.close()
    sql(path)
    return path


def at_schema(version: int, newest: Path, path: Path) -> Path:
    """Copy a collection of schema 18 in the form that an older Anki left it in."""
    shutil.copy(newest, path)
    if version < 15:
        col = Collection(str(path))
        col.close(downgrade=True)
        sql(path)
    if version == 14:
        settings = "id integer PRIMARY KEY NOT NULL, name text NOT NULL COLLATE unicase"
        sql(
            path,
            f"CREATE TABLE deck_config ({settings}, mtime_secs integer, usn integer, config blob)",
            "CREATE TABLE config (key text PRIMARY KEY NOT NULL, usn integer, mtime_secs integer, val blob)"
            " WITHOUT ROWID",
            "CREATE TABLE tags (tag text PRIMARY KEY NOT NULL COLLATE unicase, usn integer) WITHOUT ROWID",
            "INSERT INTO deck_config SELECT key, json_extract(value, '$.name'), 0, 0, CAST(value AS BLOB)"
            " FROM json_each((SELECT dconf FROM col))",
            "INSERT INTO config SELECT key, 0, 0, CAST(col.conf -> fullkey AS BLOB)"
            " FROM col, json_each(col.conf)",
            "INSERT INTO tags SELECT key, value FROM json_each((SELECT tags FROM col))",
            "UPDATE col SET conf = '', tags = '', dconf = '', ver = 14",
        )
    if 15 <= version < 18:
        sql(
            path,
            "DROP TABLE graves",
            "CREATE TABLE graves (usn integer NOT NULL, oid integer NOT NULL, type integer NOT NULL)",
            f"UPDATE col SET ver = {version}",
        )
    if 15 <= version < 17:
        sql(
            path,
            "ALTER TABLE tags RENAME TO newer",
            "CREATE TABLE tags (tag text PRIMARY KEY NOT NULL COLLATE unicase, usn integer) WITHOUT ROWID",
            "INSERT INTO tags SELECT tag, usn FROM newer",
            "DROP TABLE newer",
        )
    return path


def make_changeable(path: Path) -> Path:
    """Make a collection in which all the things are that the tests of the content hash change."""
    col = Collection(str(path))
    deck = col.decks.id("Ä::b")
    for number in range(12):
        note = col.new_note(col.models.by_name("Basic"))
        note.fields = [f"f{number}", "b"]
        note.tags = ["t", "ü::1"]
        col.add_note(note, deck)
    filtered = col.decks.new_filtered("Filtered")
    cards = col.find_cards("")
    col.sched.bury_cards(cards[:6])
    col.decks.set_current(deck)
    for thing, save in (
        (col.models.by_name("Basic"), col.models.update_dict),
        (col.decks.get(deck), col.decks.save),
    ):
        thing["addon"] = {"z": [1, None, 2.5], "a": {"ü": True}}
        thing["other addon"] = "x"
        save(thing)
    col.set_config("addon", {"b": 1, "a": [1.0, 1, None]})
    # Anki writes this default down when it is first asked for the day.
    col.set_config("rollover", 4)
    col.close()
    states = [
        "type=1, due=2000000000",
        "type=1, due=20",
        "type=3, due=30",
        "type=3, due=2000000000",
        "type=2, due=7",
    ]
    sql(
        path,
        *(
            f"UPDATE cards SET {state}, queue=-2 WHERE id={card}"
            for state, card in zip(states, cards, strict=False)
        ),
        f"UPDATE cards SET queue=-3, type=1, did={filtered}, odid={deck}, due=-9, odue=2000000000"
        f" WHERE id={cards[5]}",
        "UPDATE cards SET data='' WHERE id % 2",
        # Older than the tests, so that a change in the same second still counts as one.
        "UPDATE cards SET mod = mod - 100",
        "UPDATE notetypes SET mtime_secs = mtime_secs - 100",
    )
    return path
