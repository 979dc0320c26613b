"""Ways to change a collection: those that nobody would miss, and those that somebody would."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anki.collection import Collection
from anki.consts import QUEUE_TYPE_DAY_LEARN_RELEARN, QUEUE_TYPE_LRN
from anki.deck_config_pb2 import DeckConfig
from anki.decks import DeckCollapseScope
from anki.notetypes_pb2 import Notetype

from tests.made_collections import fold, sql


def rewrite(table: str, column: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return what changes a blob in every row of a table."""

    def run(path: Path) -> None:
        db = sqlite3.connect(path)
        db.create_collation("unicase", fold)
        db.create_function("change", 1, change)
        db.execute(f"UPDATE {table} SET {column} = change({column})")
        db.commit()
        db.close()

    return run


def statement(*statements: str) -> Callable[[Path], None]:
    return lambda path: sql(path, *statements)


def in_anki(change: Callable[[Collection], object]) -> Callable[[Path], None]:
    """Return what changes a collection with Anki's own library."""

    def run(path: Path) -> None:
        col = Collection(str(path))
        change(col)
        col.close()
        sql(path)

    return run


def shuffled(kind: Any) -> Callable[[bytes], bytes]:
    """Return what writes the JSON in field 255 in another order, with nulls, and the fields backwards."""

    def change(data: bytes) -> bytes:
        message = kind.FromString(data)
        other = json.loads(message.other or b"{}")
        keys = random.Random(3).sample(sorted(other), len(other))
        message.other = json.dumps({"null": None, **{key: other[key] for key in keys}}, indent=1).encode()
        rest = kind.FromString(data)
        rest.ClearField("other")
        only = kind(other=message.other)
        return bytes(only.SerializeToString() + rest.SerializeToString())

    return change


def fold_a_deck(col: Collection) -> None:
    deck = col.decks.id_for_name("Ä")
    for scope in (DeckCollapseScope.REVIEWER, DeckCollapseScope.BROWSER):
        col.decks.set_collapsed(deck, True, scope)


def new_day(col: Collection) -> None:
    """Let Anki unbury by itself, as it does when a day begins."""
    col.set_config("lastUnburied", 0)
    col.db.execute("UPDATE col SET crt = crt - 86400 * 30")
    col.sched.deck_due_tree()
    col.db.execute("UPDATE col SET crt = crt + 86400 * 30")
    assert col.db.scalar("SELECT count() FROM cards WHERE queue < -1") == 0
    assert set(col.db.list("SELECT queue FROM cards WHERE type = 1")) == {
        QUEUE_TYPE_LRN,
        QUEUE_TYPE_DAY_LEARN_RELEARN,
    }


BOOKKEEPING = {
    "open and close": in_anki(lambda col: col.decks.all()),
    "vacuum": statement("VACUUM"),
    "another page size": statement("PRAGMA page_size=512", "VACUUM"),
    "analyze": statement("ANALYZE"),
    "the state of windows": statement(
        "INSERT OR REPLACE INTO config VALUES ('browserTableShowNotesMode',1,1,'true'),"
        "('collapseDecks',1,1,'true'),('nextPos',1,1,'4711'),('localOffset',1,1,'-60'),"
        "('_deck_1_lastNotetype',1,1,'5'),('_nt_5_lastDeck',1,1,'1'),('_deck_7_customStudyIncludeTags',1,1,'[]')"
    ),
    "fold a deck": in_anki(fold_a_deck),
    "fold a tag": statement("UPDATE tags SET collapsed = NOT collapsed"),
    "choose a deck": in_anki(lambda col: col.decks.set_current(1)),
    "counters of the day": rewrite(
        "decks", "common", lambda data: data + b"\x18\x05\x20\x07\x28\x08\x30\x09\x38\x0a"
    ),
    "sync numbers": statement(
        *(
            f"UPDATE {table} SET usn = 17"
            for table in "col notes cards revlog config tags decks notetypes".split()
        ),
        *(f"UPDATE {table} SET usn = 17" for table in "templates deck_config graves".split()),
        "UPDATE config SET mtime_secs = 9",
        "UPDATE col SET mod = 5, scm = 6, ls = 7, dty = 1",
    ),
    "sort fields": statement("UPDATE notes SET sfld = 'x', csum = 5"),
    "graves": statement("INSERT INTO graves VALUES (5, 1, 3)"),
    "a new day": in_anki(new_day),
    "order of JSON in note types": rewrite("notetypes", "config", shuffled(Notetype.Config)),
    "order of JSON in deck options": rewrite("deck_config", "config", shuffled(DeckConfig.Config)),
    "order of JSON in settings": rewrite(
        "config", "val", lambda data: json.dumps(json.loads(data), indent=2, sort_keys=True).encode()
    ),
    "a table of an add-on": statement("CREATE TABLE addon (a)", "INSERT INTO addon VALUES (1)"),
}


def study(col: Collection) -> None:
    card = col.sched.getCard()
    card.start_timer()
    col.sched.answerCard(card, 3)


def edit_note(col: Collection) -> None:
    note = col.get_note(col.find_notes("")[0])
    note["Back"] += "!"
    col.update_note(note)


def change_css(col: Collection) -> None:
    note_type = col.models.by_name("Basic")
    note_type["css"] += " "
    col.models.update_dict(note_type)


def change_template(col: Collection) -> None:
    note_type = col.models.by_name("Basic")
    note_type["tmpls"][0]["qfmt"] += "?"
    col.models.update_dict(note_type)


def add_field(col: Collection) -> None:
    note_type = col.models.by_name("Basic")
    col.models.add_field(note_type, col.models.new_field("Extra"))
    col.models.update_dict(note_type)


def change_options(col: Collection) -> None:
    options = col.decks.get_config(1)
    options["new"]["perDay"] += 1
    col.decks.update_config(options)


CONTENT = {
    "a review": (in_anki(study), {"cards", "revlog"}),
    "an edit": (in_anki(edit_note), {"notes"}),
    "a tag": (in_anki(lambda col: col.tags.bulk_add(col.find_notes("")[:1], "new")), {"notes", "tags"}),
    "a deck's name": (
        in_anki(lambda col: col.decks.rename(col.decks.id_for_name("Ä::b"), "Ä::c")),
        {"decks"},
    ),
    "a deck's description": (
        in_anki(lambda col: col.decks.save({**col.decks.by_name("Ä::b"), "desc": "d"})),
        {"decks"},
    ),
    "an add-on's key in a deck": (
        in_anki(lambda col: col.decks.save({**col.decks.by_name("Ä::b"), "other addon": "y"})),
        {"decks"},
    ),
    "suspended": (in_anki(lambda col: col.sched.suspend_cards(col.find_cards("")[-1:])), {"cards"}),
    "buried": (in_anki(lambda col: col.sched.bury_cards(col.find_cards("")[-1:])), {"cards"}),
    "a flag": (in_anki(lambda col: col.set_user_flag_for_cards(3, col.find_cards("")[:1])), {"cards"}),
    "deleted": (in_anki(lambda col: col.remove_notes(col.find_notes("")[:1])), {"notes", "cards"}),
    "deck options": (in_anki(change_options), {"deck_config"}),
    "a stylesheet": (in_anki(change_css), {"notetypes"}),
    "a template": (in_anki(change_template), {"templates", "notetypes"}),
    "a field": (in_anki(add_field), {"fields", "notes", "notetypes"}),
    "the learn ahead limit": (in_anki(lambda col: col.set_config("collapseTime", 99)), {"config"}),
    "a setting that nobody knows": (in_anki(lambda col: col.set_config("collapse_addon", 1)), {"config"}),
    "a setting's type": (
        in_anki(lambda col: col.set_config("addon", {"b": 1.0, "a": [1.0, 1, None]})),
        {"config"},
    ),
    "a setting's null": (in_anki(lambda col: col.set_config("addon", {"b": 1, "a": [1.0, 1]})), {"config"}),
    "text for a number": (statement("UPDATE notes SET data = CAST('1' AS BLOB)"), {"notes"}),
    "nothing for an empty text": (rewrite("config", "val", lambda data: b""), {"config"}),
    "the day the collection began": (statement("UPDATE col SET crt = crt + 1"), {"col"}),
}
