"""Looking only at changed pages finds the same notes as reading all of them, whatever was done."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing, suppress

import pytest

from anki_backup import leaves
from anki_backup.errors import DamageError
from anki_backup.lookout import Lookout
from anki_backup.scratch import Scratch
from anki_backup.walk import Version

TABLE = (
    "CREATE TABLE notes (id integer PRIMARY KEY, guid text, mid integer, mod integer, usn integer,"
    " tags text, flds text, sfld integer, csum integer, flags integer, data text)"
)


def act(db: sqlite3.Connection, drawn: random.Random) -> None:
    """Do something to notes: short and long ones, in and out, in place, all at once."""
    some = "id IN (SELECT id FROM notes ORDER BY random() LIMIT 3)"
    text = drawn.choice(["needle", "hay", "hay " * 400, "hay " * 4000 + "needle", "needle" + " hay" * 4000])
    match drawn.randrange(8):
        case 0 | 1:
            rows = [(drawn.randrange(1, 10_000), "g", "t", text) for _ in range(drawn.choice([1, 5, 60]))]
            db.executemany("INSERT OR REPLACE INTO notes (id, guid, tags, flds) VALUES (?, ?, ?, ?)", rows)
        case 2 | 3:
            db.execute(f"UPDATE notes SET flds = ?, mod = mod + 1 WHERE {some}", (text,))
        case 4:
            # The same length: SQLite writes only the pages that differ, maybe only the last of a long row.
            db.execute(f"UPDATE notes SET flds = substr(flds, 1, length(flds) - 6) || 'needle' WHERE {some}")
        case 5:
            db.execute(f"DELETE FROM notes WHERE {some}")
        case 6:
            db.execute(
                "DELETE FROM notes WHERE id BETWEEN ? AND ?", (drawn.randrange(5000), drawn.randrange(9000))
            )
        case 7:
            if drawn.random() < 0.3:
                db.execute("CREATE TABLE IF NOT EXISTS other (a)")
            db.execute("UPDATE notes SET tags = 'needle' WHERE id % 17 = 3")


@pytest.mark.parametrize("page", [512, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_the_hits_are_those_of_reading_everything(page, seed, tmp_path):
    drawn = random.Random(seed)
    path = tmp_path / "notes.db"
    states: list[bytes] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {page}")
        db.execute(TABLE)
        db.execute("CREATE INDEX ix_notes_usn ON notes (usn)")
        for _ in range(40):
            act(db, drawn)
            if drawn.random() < 0.05:
                db.execute("VACUUM")
            states.append(path.read_bytes())
    lookout = Lookout(lambda note, guid, tags, fields: "needle" in fields + tags, lambda note, fields: None)
    with closing(Scratch(max(map(len, states)))) as content:
        for version in versions(content, states, drawn):
            found = set(lookout.see(version))
            with closing(sqlite3.connect(":memory:")) as db:
                db.deserialize(states[int(version.name)])
                query = "SELECT id FROM notes WHERE instr(flds || tags, 'needle')"
                assert found == {row[0] for row in db.execute(query)}
                assert lookout.all_notes() == {row[0] for row in db.execute("SELECT id FROM notes")}


def versions(content: Scratch, states: list[bytes], drawn: random.Random):
    """Yield states one after the other, now and then going back to an earlier one, as a walk does."""
    for number, state in enumerate(states):
        base = number - 1
        if number and number % 9 == 0:
            base = number - 9
            content.write_at(0, states[base])
            content.resize(len(states[base]))
        old = states[base] if number else b""
        unit = 512
        changed = []
        for at in range(0, len(state), unit):
            if state[at : at + unit] != old[at : at + unit]:
                changed.append((at, len(state[at : at + unit])))
                content.write_at(at, state[at : at + unit])
        content.resize(len(state))
        yield Version(
            str(number), str(base) if number else None, content, changed if number else None, number % 9 == 0
        )


def test_pages_that_make_no_tree_are_refused():
    circle = bytes([5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]).ljust(512, b"\0")
    with pytest.raises(DamageError):
        leaves.tree(lambda number: circle, 2)
    with pytest.raises(DamageError):
        leaves.tree(lambda number: b"", 2)
    drawn = random.Random(1)
    for _ in range(300):
        page = bytes([13]) + drawn.randbytes(511)
        with suppress(DamageError):
            assert len(list(leaves.cells(page, 2, 512))) <= 256
    with pytest.raises(DamageError):
        leaves.rest(lambda number: (2).to_bytes(4, "big"), 2)
