"""I lost something: each answer names the backup that has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest

from anki_backup import config
from anki_backup.web import drops
from anki_backup.web.desk import Desk
from anki_backup.web.paper import search_of_deck
from tests.web.conftest import Served
from tests.web.lively import after

PAGE = {"Accept": "text/html"}
EDIT = "UPDATE notes SET flds = flds || ' x' WHERE id % 2"
CHESS = "(SELECT id FROM decks WHERE name LIKE 'Chess endings')"


def entry(served: Served, name: str) -> str:
    """Return what the wizard says of a lost deck; nothing where it says nothing."""
    with served.client() as client:
        shown = client.get("/lost?what=deck", headers=PAGE).text
    return next((each for each in re.findall(r"<li.*?</li>", shown, re.DOTALL) if name in each), "")


def test_a_deck_that_is_gone_was_last_where_any_card_of_it_was(serve):
    served: Served = serve()
    some = f"(SELECT id FROM cards WHERE did = {CHESS} LIMIT 5)"
    last = after(served.place, f"DELETE FROM cards WHERE did = {CHESS} AND id NOT IN {some}")
    full = re.findall(r"/backups/([^/\"]+)", entry(served, "Chess"))[0]
    assert full != last.id, "of one that shrank, it is the last that had most of it"
    after(served.place, f"DELETE FROM cards WHERE did = {CHESS}")
    told = entry(served, "Chess")
    assert "nothing" in told and f'last in the backup of <a href="/backups/{last.id}"' in told
    assert "had more before" in told and f"/backups/{full}/download?format=apkg" in told


def test_a_deck_that_was_imported_again_is_not_lost(serve, tmp_path: Path):
    served: Served = serve()
    backup = served.repository.backups(limit=1)[0]
    path = served.place / "profile" / "collection.anki2"
    with served.client() as client:
        package = tmp_path / "deck.apkg"
        package.write_bytes(
            client.get(f"/backups/{backup.id}/download?format=apkg&deck=Chess%20endings").content
        )
    _in_anki(path, lambda col: col.decks.remove([col.decks.id_for_name("Chess endings")]))
    after(served.place)
    assert "nothing" in entry(served, "Chess")
    options = ImportAnkiPackageOptions(with_scheduling=True, with_deck_configs=True)
    request = ImportAnkiPackageRequest(package_path=str(package), options=options)
    _in_anki(path, lambda col: col.import_anki_package(request))
    after(served.place)
    assert "nothing" not in entry(served, "Chess")


@pytest.mark.parametrize("what", ["cards", "media"])
def test_the_wizard_does_not_say_that_nothing_was_lost_where_it_compared_numbers_only(served: Served, what):
    newest = served.repository.backups(limit=1)[0]
    with served.client() as client:
        shown = client.get(f"/lost?what={what}", headers=PAGE).text
    assert "There never were fewer" not in shown
    assert "only numbers are compared" in shown and f"/compare?to={newest.id}" in shown
    assert re.search(r'<form[^>]* action="/lost"', shown) and 'name="q"' in shown


def exchanges(served: Served, what: str) -> list[tuple[str, str, str]]:
    """Return what the wizard says of what the number of all hides: the words, and the two backups."""
    with served.client() as client:
        shown = client.get(f"/lost?what={what}", headers=PAGE).text
    hidden = shown.partition("As many as before, but other ones")[2]
    return [
        (re.sub(r"<[^>]*>", "", each), *re.search(r"/compare\?from=([^&]*)&amp;to=([^\"]*)\"", each).groups())
        for each in re.findall(r"<li.*?</li>", hidden, re.DOTALL)
    ]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_picture_that_was_exchanged_for_another_is_shown_where_its_list_became_another(serve, same_size):
    served: Served = serve()
    assert exchanges(served, "media") == []
    media = served.place / "profile" / "collection.media"
    before = after(served.place, EDIT)
    gone = media / "picture 3.png"
    data = gone.read_bytes()
    gone.unlink()
    (media / "another.png").write_bytes(data[::-1] if same_size else data + b"!")
    exchanged = after(served.place)
    more = after(served.place, EDIT)
    ((words, first, last),) = exchanges(served, "media")
    assert "Other files" in words and (first, last) == (before.id, exchanged.id) != (before.id, more.id)
    with served.client() as client:
        changed = client.get(f"/compare?from={first}&to={last}", headers=PAGE).text
    assert "picture 3.png" in changed and "another.png" in changed
    # What went can be had from where it is named, what came can't have been there.
    assert f"/backups/{first}/media/picture%203.png?download=1" in changed
    assert "another.png?download=1" not in changed


def test_cards_that_went_from_a_deck_while_as_many_came_into_another_are_shown(serve):
    served: Served = serve()
    with served.client() as client:
        assert "As many as before, but other ones" not in client.get("/lost?what=cards", headers=PAGE).text
    some = f"(SELECT id FROM cards WHERE did = {CHESS} ORDER BY id LIMIT 12)"
    before = after(served.place, EDIT)
    # Twelve of another deck come for twelve of this one.
    other = "(SELECT id FROM decks WHERE name LIKE 'Χημεία')"
    exchanged = after(
        served.place,
        f"INSERT INTO cards SELECT id + 9000000, nid, {other}, 9, mod, -1, type, queue, due, ivl, factor,"
        f" reps, lapses, left, odue, odid, flags, data FROM cards WHERE id IN {some}",
        f"DELETE FROM cards WHERE id IN {some}",
    )
    after(served.place, EDIT)
    assert before.stats.cards == exchanged.stats.cards
    ((words, first, last),) = exchanges(served, "cards")
    assert "−12 Chess endings" in words and (first, last) == (before.id, exchanged.id)


def test_what_was_exchanged_between_two_samples_is_narrowed_to_the_backups_around_it(serve, monkeypatch):
    served: Served = serve()
    media = served.place / "profile" / "collection.media"
    made = [after(served.place, EDIT) for _ in range(5)]
    (media / "picture 3.png").write_bytes(b"another")
    moved = f"UPDATE cards SET did = (SELECT id FROM decks WHERE name LIKE 'Χημεία') WHERE did = {CHESS}"
    made += [after(served.place, statement) for statement in (moved, EDIT, EDIT)]
    desk = Desk(served.place / "repository", config.load(served.place / "config.toml", {}), None)
    entries = [entry for entry in desk.entries("desktop") if entry.sequence >= made[0].sequence]
    ends = [entries[0], entries[-1]]
    monkeypatch.setattr(Desk, "sampled", lambda self, source, most: ends)
    for what in ("cards", "media"):
        (found,) = drops.find_exchanges(desk, "desktop", what)
        assert [found.before.id, found.after.id] == [made[4].id, made[5].id], what
    manifest = served.place / "repository" / "backups" / made[4].id / "metadata.json"
    manifest.write_bytes(b"{}")
    fresh = Desk(served.place / "repository", desk.config, None)
    assert all(isinstance(drops.find_exchanges(fresh, "desktop", what), list) for what in ("cards", "media"))


@pytest.mark.parametrize(
    "name", ['Music <b>"theory"</b>::Intervals', r"back\slash", "a*b", "a_b", 'end"', "a:b (c) -d"]
)
def test_the_search_for_a_deck_finds_its_cards_and_no_others(name, tmp_path: Path):
    def look(col: Collection) -> None:
        for each in (name, "axb", "back", "other"):
            note = col.new_note(col.models.by_name("Basic"))
            note.fields[0] = each
            col.add_note(note, col.decks.id(each))
        (found,) = col.find_notes(search_of_deck(name))
        assert col.get_note(found).fields[0] == name

    _in_anki(tmp_path / "collection.anki2", look)


def test_looking_into_a_deck_whose_name_has_a_quote_finds_its_cards(serve):
    served: Served = serve()
    after(
        served.place, "DELETE FROM cards WHERE did = (SELECT id FROM decks WHERE name LIKE 'Music%Intervals')"
    )
    target = re.search(r'href="(/backups/[^"]*/cards\?q=[^"]*)"', entry(served, "Intervals"))
    assert target
    with served.client() as client:
        assert "No card is found" not in client.get(target[1], headers=PAGE).text


def _in_anki(path: Path, change) -> None:
    collection = Collection(str(path))
    try:
        change(collection)
    finally:
        collection.close()
