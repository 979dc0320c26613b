"""Putting notes back: what was lost or spoiled is as it was, all else stays, and there is a way back."""

from __future__ import annotations

import json
import shutil

import pytest
from anki.collection import Collection

from anki_backup import library, putback, swap
from anki_backup.errors import SourceError
from anki_backup.gather import Options
from anki_backup.putback import Wish
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.made_collections import at_schema, make_varied
from tests.typed_home import Home

NOTES = "SELECT id, guid, mid, tags, flds FROM notes ORDER BY id"
CARDS = (
    "SELECT id, nid, ord, type, queue, CASE WHEN odid THEN odue ELSE due END, ivl, factor, reps, lapses, data"
    " FROM cards ORDER BY id"
)
REVIEWS = "SELECT id, cid, ease, ivl, factor, time FROM revlog ORDER BY id"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make_varied(tmp_path_factory.mktemp("made") / "collection.anki2")
    with library.opened(path) as col:
        for note in col.find_notes("deck:Français::Été")[:2]:
            note = col.get_note(note)
            note["Back"] += '<img src="cat.jpg">'
            col.update_note(note)
        options = col.decks.add_config("hard")
        col.decks.set_config_id_for_deck_dict(col.decks.by_name("a_b%"), options["id"])
    return path


@pytest.fixture
def home(tmp_path, made, run_ankibak):
    home = Home(tmp_path, run_ankibak)
    home.media.mkdir(parents=True)
    shutil.copy(made, home.collection)
    (home.media / "cat.jpg").write_bytes(b"a cat")
    home.first = home.back_up()
    return home


def rows(path, *queries):
    with library.opened(path) as col:
        return [list(map(tuple, col.db.all(query))) for query in queries]


def everything(home):
    return rows(home.collection, NOTES, CARDS, REVIEWS)


def change(home, story):
    with library.opened(home.collection) as col:
        story(col)


def put_back(home, *words, code=0):
    told = home.type("restore-notes", home.first, *words, "--into", "home", "--json", code=code)
    return told if code else json.loads(told)


def study(col, query):
    """Answer some cards and suspend one."""
    for card in col.find_cards(query)[:3]:
        card = col.get_card(card)
        card.start_timer()
        col.sched.answerCard(card, 3)
    col.sched.suspend_cards(col.find_cards(query)[-1:])


def test_a_deck_that_was_deleted_is_back_with_ids_scheduling_reviews_options_and_media(home):
    before = everything(home)
    change(home, lambda col: col.decks.remove([col.decks.id("Français"), col.decks.id("a_b%")]))
    (home.media / "cat.jpg").unlink()
    after = home.content()
    told = put_back(home, "--deck", "Français", "--yes")
    assert (told["missing"], told["changed"], told["media"]) == (10, 0, 1)
    assert put_back(home, "--deck", "a_b%", "--yes")["missing"] == 5
    assert everything(home) == before
    assert (home.media / "cat.jpg").read_bytes() == b"a cat"
    with library.opened(home.collection) as col:
        assert col.decks.card_count(col.decks.id("Français::Été::juin"), False) == 10
        assert col.decks.config_dict_for_deck_id(col.decks.id("a_b%"))["name"] == "hard"
        assert col.db.scalar("SELECT scm > ls FROM col WHERE ls > 0") in (None, 0)
    assert home.leftovers() == set()
    safety = json.loads(home.type("show", told["safety"], "--json"))
    assert (safety["origin"], safety["pinned"], safety["content_hash"]) == ("safety", True, after)
    home.type("rollback", told["safety"], "--exact-media", "--yes")
    assert home.content() == after


def test_after_a_find_and_replace_notes_are_as_they_were_and_all_others_stay(home):
    def story(col):
        for note in col.find_notes("front"):
            note = col.get_note(note)
            note["Front"] = note["Front"].replace("front", "x")
            col.update_note(note)
        study(col, "")

    before = everything(home)
    change(home, story)
    damaged = everything(home)
    told = put_back(home, "--search", "deck:日本語 or deck:Français", "--yes")
    assert told["changed"] == 15
    notes, cards, reviews = everything(home)
    back = {row[0] for row in notes if "front" in row[4]}
    assert len(back) == 15
    assert [row for row in notes if row[0] in back] == [row for row in before[0] if row[0] in back]
    assert [row for row in cards if row[1] in back] == [row for row in before[1] if row[1] in back]
    assert [row for row in notes if row[0] not in back] == [row for row in damaged[0] if row[0] not in back]
    assert [row for row in cards if row[1] not in back] == [row for row in damaged[1] if row[1] not in back]
    assert reviews == damaged[2]
    # What is as it was is not touched again.
    again = put_back(home, "--search", "deck:Français", "--yes")
    assert (again["changed"], again["same"], again["event"]) == (0, 10, None)


def test_with_keep_progress_only_the_text_goes_back(home):
    def story(col):
        study(col, "deck:a_b%")
        note = col.get_note(col.find_notes("deck:a_b%")[0])
        note["Back"], note.tags = "spoiled", ["bad"]
        col.update_note(note)

    before = everything(home)
    change(home, story)
    studied = everything(home)
    told = put_back(home, "--deck", "a_b%", "--keep-progress", "--yes")
    assert (told["changed"], told["same"]) == (1, 4)
    assert everything(home) == [before[0], *studied[1:]]


def test_decks_and_options_that_are_there_keep_what_they_have_now(home):
    def story(col):
        options = col.decks.add_config("mine")
        deck = col.decks.by_name("a_b%")
        deck["desc"] = "today's"
        col.decks.set_config_id_for_deck_dict(deck, options["id"])
        hard = next(each for each in col.decks.all_config() if each["name"] == "hard")
        hard["new"]["perDay"] = 77
        col.decks.update_config(hard)
        col.remove_notes(col.find_notes("deck:a_b%")[:2])

    change(home, story)
    kept = "SELECT * FROM decks ORDER BY id", "SELECT * FROM deck_config ORDER BY id"
    before = rows(home.collection, *kept)
    assert put_back(home, "--deck", "a_b%", "--yes")["missing"] == 2
    assert rows(home.collection, *kept) == before


def test_a_note_type_that_was_changed_stays_and_a_copy_is_told(home):
    def story(col):
        kind = col.models.by_name("Basic (and reversed card)")
        col.models.add_field(kind, col.models.new_field("Extra"))
        col.models.update_dict(kind)
        col.remove_notes(col.find_notes("deck:a_b%")[:2])

    change(home, story)
    kinds = "SELECT id, name FROM notetypes ORDER BY id"
    (before,) = rows(home.collection, kinds)
    told = put_back(home, "--deck", "a_b%", "--yes")
    (after,) = rows(home.collection, kinds)
    assert told["missing"] == 2 and set(before) < set(after)
    assert told["notetypes"] == [name for _, name in after if name not in dict(before).values()]


def test_notes_that_were_in_a_filtered_deck_come_back_home(home):
    change(home, lambda col: col.remove_notes(col.find_notes("deck:日本語")))
    told = put_back(home, "--search", "deck:Cramming", "--yes")
    with library.opened(home.collection) as col:
        assert col.note_count() == 19 + told["missing"] > 19
        assert set(col.find_cards("deck:日本語")) and not col.find_cards("deck:Cramming")


def test_a_dry_run_tells_and_changes_nothing(home):
    change(home, lambda col: col.remove_notes(col.find_notes("deck:a_b%")))
    before, listed = home.content(), home.type("list")
    stored = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    told = put_back(home, "--deck", "a_b%", "--dry-run")
    assert (told["missing"], told["safety"], told["event"]) == (5, None, None)
    assert (home.content(), home.type("list")) == (before, listed)
    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == stored
    assert "--yes" in put_back(home, "--deck", "a_b%", code=2)
    assert home.content() == before


def test_what_can_not_be_is_told_and_changes_nothing(home):
    before = home.content()
    assert "a_b%" in put_back(home, "--deck", "a_b", "--yes", code=5)
    assert "search" in put_back(home, "--search", "(", "--yes", code=2)
    assert "one of them" in put_back(home, "--yes", code=2)
    change(home, lambda col: col.remove_notes(col.find_notes("deck:a_b%")))
    changed = Collection(str(home.collection))
    try:
        assert "Close Anki" in put_back(home, "--deck", "a_b%", "--yes", code=7)
        assert changed.note_count() == 19
    finally:
        changed.close()
    assert home.content() != before


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_leaves_the_old_or_the_new_state(when, home, monkeypatch):
    change(home, lambda col: col.remove_notes(col.find_notes("deck:a_b%")))
    (home.media / "cat.jpg").unlink()
    repository = Repository.open(home.root)
    source = Profile("home", home.profile)
    commit, settle = swap.commit, swap.settle

    def crash(intent):
        if when == "after":
            commit(intent)
        raise KeyboardInterrupt

    monkeypatch.setattr(swap, "commit", crash)
    monkeypatch.setattr(swap, "settle", lambda root, is_held=False: None)
    wish = Wish(repository.find(home.first), "test", deck="a_b%")
    with putback.prepare(repository, source, wish) as prepared, pytest.raises(KeyboardInterrupt):
        putback.perform(repository, source, prepared, Options(threads=1))
    monkeypatch.setattr(swap, "settle", settle)
    home.type("run")
    assert home.notes() == (19 if when == "before" else 24)
    assert home.leftovers() == set()
    with library.opened(home.collection) as col:
        assert col.card_count() == 2 * col.note_count()


def test_a_note_that_the_importer_would_not_bring_back_stops_everything(home, monkeypatch):
    change(home, lambda col: col.remove_notes(col.find_notes("deck:a_b%")))
    before = home.content()
    monkeypatch.setattr(putback.grafts, "_import", lambda collection, package: None)
    repository = Repository.open(home.root)
    wish = Wish(repository.find(home.first), "test", deck="a_b%")
    with (
        pytest.raises(SourceError, match="5 of 5"),
        putback.prepare(repository, Profile("home", home.profile), wish),
    ):
        pass
    assert home.content() == before


def test_the_preview_tells_what_comes_of_it_later(home):
    def told(*words):
        return home.type("restore-notes", home.first, "--deck", "a_b%", "--into", "home", *words, code=2)

    change(home, lambda col: study(col, "deck:a_b%"))
    assert "Check Database" in told() and "schema" not in told()
    change(
        home, lambda col: col.find_and_replace(note_ids=col.find_notes(""), search="front", replacement="b")
    )
    assert "Check Database" not in told("--keep-progress")
    at_schema(11, home.collection, older := home.profile / "older")
    older.rename(home.collection)
    assert "home has schema 11, of an older Anki, and gets 18 for ever" in told()
