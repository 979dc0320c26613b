"""A comparison says what changed, and says nothing exactly when the content hash says nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from anki.collection import Collection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from anki_backup import compare, content, rows
from anki_backup.compare import Side
from anki_backup.differences import CardItem, Comparison, Counts, MediaItem, NoteItem, ThingItem
from anki_backup.model import MediaFile
from tests.collection_changes import BOOKKEEPING, CONTENT, in_anki
from tests.made_collections import at_schema, make_changeable, sql

# Where a section of the content hash shows in a comparison.
SHOWN = {
    "revlog": "reviews",
    "config": "settings",
    "col": "settings",
    "deck_config": "options",
    "fields": "notetypes",
    "templates": "notetypes",
}
VALUES = ["1", "2", "'1'", "''", "'{}'", "NULL", "x'31'", "1.5", "-2", "2000000000"]
COLUMNS = {
    "notes": "guid mid mod usn tags flds sfld csum flags data".split(),
    "cards": "nid did ord mod usn type queue due ivl factor reps lapses left odue odid flags data".split(),
    "revlog": "cid usn ease ivl lastIvl factor time type".split(),
    "config": ["usn", "val"],
    "decks": ["mtime_secs", "common", "kind"],
    "notetypes": ["mtime_secs", "config"],
    "fields": ["config"],
    "templates": ["mtime_secs", "config"],
    "deck_config": ["mtime_secs", "config"],
    "col": ["crt", "mod", "scm", "conf", "models", "decks", "dconf", "tags"],
}
JSON = [
    *("'{}'", "'[]'", "'{\"1\":null}'", '\'{"1":{"name":"x","usn":5}}\''),
    *('\'{"1":{"name":"x"},"a":[null]}\'', "'{\"curDeck\":1}'", "'" + "[" * 130 + "'"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_changeable(tmp_path_factory.mktemp("base") / "collection.anki2")


@pytest.fixture(scope="module")
def legacy(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return at_schema(11, base, tmp_path_factory.mktemp("legacy") / "collection.anki2")


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(base, tmp_path / "collection.anki2"))


def compared(old: Path, new: Path, **options: Any) -> Comparison:
    return compare.compare(Side(old, []), Side(new, []), **options)


def moved(found: Comparison) -> set[str]:
    """Return the kinds that a comparison has anything to say about."""
    counts = {name: getattr(found, name) for name in found.__struct_fields__}
    return {name for name, each in counts.items() if isinstance(each, Counts) and any(astuple(each))}


def sections_that_differ(old: Path, new: Path) -> set[str]:
    first, second = (content.sections(path, content.media_section([])) for path in (old, new))
    return {SHOWN.get(label, label) for label in first if first[label] != second[label]}


def items_of(found: Comparison, kind: type) -> list[Any]:
    return [item for item in found.items or [] if isinstance(item, kind)]


def test_what_is_compared_is_what_is_hashed():
    for table, columns in rows.COMPARED.items():
        values = ["id", *(rows._value(table, column, "x") for column in columns)]
        assert (
            content.QUERIES[table] == f"SELECT {','.join(values).replace('x.', '')} FROM {table} ORDER BY id"
        )


@pytest.mark.parametrize("change", BOOKKEEPING)
def test_it_says_nothing_about(change, base, copy):
    BOOKKEEPING[change](copy)
    found = compared(base, copy, items=True)
    assert (found.equal, moved(found), found.items) == (True, set(), [])


@pytest.mark.parametrize("change", CONTENT)
def test_it_tells_of(change, base, copy):
    act, parts = CONTENT[change]
    act(copy)
    for old, new in ((base, copy), (copy, base)):
        found = compared(old, new, items=True)
        assert not found.equal
        assert moved(found) == {SHOWN.get(part, part) for part in parts}
        assert found.items


def statements(tables: Iterable[str], values: list[str]) -> st.SearchStrategy[str]:
    """Return SQL that changes, adds or removes something, with values of any type."""
    chosen = st.sampled_from([(table, column) for table in tables for column in COLUMNS[table]])
    row = st.integers(0, 3).map(
        lambda n: f"rowid = (SELECT rowid FROM {{0}} ORDER BY rowid LIMIT 1 OFFSET {n})"
    )
    update = st.builds(
        lambda place, value, row: (
            f"UPDATE OR IGNORE {place[0]} SET {place[1]} = {value} WHERE {row.format(place[0])}"
            if place[0] not in ("config", "fields", "templates")
            else f"UPDATE OR IGNORE {place[0]} SET {place[1]} = {value}"
        ),
        chosen,
        st.sampled_from(values),
        row,
    )
    large = [table for table in tables if table in ("notes", "cards", "revlog")]
    if not large:
        return update
    remove = st.builds(lambda t, row: f"DELETE FROM {t} WHERE {row.format(t)}", st.sampled_from(large), row)
    return update | remove


def hold_the_equivalence(base: Path, folder: Path, changes: list[list[str]]) -> None:
    sides = []
    for number, each in enumerate(changes):
        path = Path(shutil.copy(base, folder / f"{number}.anki2"))
        sql(path, *each)
        sides.append(path)
    found = compared(*sides, items=True)
    assert moved(found) == sections_that_differ(*sides)
    assert bool(found.items) is not found.equal


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_says_nothing_exactly_when_the_hash_says_nothing(data, base, tmp_path):
    tables = [table for table in COLUMNS if table != "col"]
    lists = st.lists(statements(tables, VALUES), max_size=3)
    hold_the_equivalence(base, tmp_path, [data.draw(lists), data.draw(lists)])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_so_it_does_where_everything_is_json(data, legacy, tmp_path):
    lists = st.lists(statements(["col", "notes"], VALUES + JSON), max_size=2)
    sides = [data.draw(lists), data.draw(lists)]
    paths = []
    for number, each in enumerate(sides):
        path = Path(shutil.copy(legacy, tmp_path / f"{number}.anki2"))
        sql(path, *each)
        paths.append(path)
    hashes = {content.content_hash(path, content.media_section([])) for path in paths}
    assert compared(*paths).equal is (len(hashes) == 1)


def test_a_changed_note_is_told_word_by_word(base, copy):
    def edit(col: Collection) -> None:
        note = col.get_note(col.find_notes("")[0])
        note["Front"] = "f0 <b>new</b>"
        note.tags = ["t", "fresh"]
        col.update_note(note)

    in_anki(edit)(copy)
    (note,) = items_of(compared(base, copy, items=True), NoteItem)
    assert (note.change, note.name, note.notetype, note.deck) == ("changed", "f0 new", "Basic", "Ä::b")
    assert note.what == ["fields", "tags"]
    assert (note.tags_added, note.tags_removed) == (["fresh"], ["ü::1"])
    (field,) = note.fields
    assert (field.name, field.before, field.after) == ("Front", "f0", "f0 <b>new</b>")
    assert [(span.op, span.text) for span in field.words] == [("keep", "f0"), ("add", " <b>new</b>")]


def test_of_a_removed_note_every_text_is_told(base, copy):
    in_anki(lambda col: col.remove_notes(col.find_notes("")[:1]))(copy)
    (note,) = items_of(compared(base, copy, items=True), NoteItem)
    assert note.change == "removed" and note.fields
    for field in note.fields:
        assert field.before and not field.after
        assert [(span.op, span.text) for span in field.words] == [("drop", field.before)]
    assert items_of(compared(copy, base, items=True), NoteItem)[0].fields == []


def test_cards_are_told_by_what_was_done_to_them(base, copy):
    def change(col: Collection) -> None:
        cards = col.find_cards("-deck:Filtered -is:buried")
        col.set_deck(cards[:1], col.decks.id("Elsewhere"))
        col.sched.suspend_cards(cards[1:2])
        col.sched.set_due_date(cards[2:3], "5")
        col.sched.bury_cards(cards[3:4])
        col.set_user_flag_for_cards(2, cards[4:5])

    in_anki(change)(copy)
    found = compared(base, copy, items=True)
    cards = found.cards
    assert (cards.moved, cards.suspended, cards.rescheduled, cards.buried, cards.flagged) == (1, 1, 1, 1, 1)
    assert (cards.changed, cards.added, cards.removed, cards.reviewed) == (5, 0, 0, 0)
    (card,) = [card for card in items_of(found, CardItem) if "moved" in card.what]
    assert (card.deck_before, card.deck, card.name[:1]) == ("Ä::b", "Elsewhere", "f")
    assert found.decks.added == 1


def test_a_review_is_no_rescheduling(base, copy):
    act, _ = CONTENT["a review"]
    act(copy)
    found = compared(base, copy)
    assert (found.cards.reviewed, found.cards.rescheduled, found.reviews.added) == (1, 0, 1)


def test_options_and_note_types_are_told_by_anki_s_names(base, copy):
    def change(col: Collection) -> None:
        options = col.decks.get_config(1)
        options["desiredRetention"] = 0.85
        options["fsrsParams6"] = [0.5] * 21
        col.decks.update_config(options)
        note_type = col.models.by_name("Basic")
        note_type["tmpls"][0]["qfmt"] += "<hr>"
        col.models.add_field(note_type, col.models.new_field("Extra"))
        col.models.update_dict(note_type)

    in_anki(change)(copy)
    things = {item.kind: item for item in items_of(compared(base, copy, items=True), ThingItem)}
    parts = {part.name: part for part in things["options"].parts}
    assert (parts["desired_retention"].before, parts["desired_retention"].after) == (0.9, 0.85)
    assert parts["fsrs_params_6"].after == [0.5] * 21
    assert things["notetype"].name == "Basic"
    named = {part.name: part for part in things["notetype"].parts}
    assert named["card 0 (Card 1): q_format"].after == "{{Front}}<hr>"
    assert named["field 2 (Extra): name"].after == "Extra"


def test_media_are_told_and_renamed_ones_too(base):
    def files(**names: str) -> Side:
        return Side(base, [MediaFile(name.encode(), 1, 0, sha * 64) for name, sha in names.items()])

    found = compare.compare(files(a="1", b="2", c="3"), files(a="1", b="4", d="3", e="1"), items=True)
    media = [(item.change, item.name, item.before) for item in items_of(found, MediaItem)]
    assert media == [("changed", "b", None), ("renamed", "d", "c"), ("added", "e", None)]
    assert astuple(found.media) == (1, 1, 0, 1)


def test_texts_that_are_no_utf8_or_hostile_are_told_all_the_same(base, copy):
    texts = ["x'ff00fe1f41'", "'\x1b[2J\u202e' || char(0)", f"'{'m' * 2_000_000}'"]
    sql(
        copy,
        *(
            f"UPDATE notes SET flds = CAST({text} AS TEXT), tags = CAST(x'20ff20' AS TEXT)"
            f" WHERE id = (SELECT id FROM notes LIMIT 1 OFFSET {n})"
            for n, text in enumerate(texts)
        ),
        "UPDATE config SET val = x'00ff'",
    )
    found = compared(base, copy, items=True)
    assert found.notes.changed == 3
    assert any("\udcff" in tag for note in items_of(found, NoteItem) for tag in note.tags_added)
