"""What a source is taken to be now: its newest backup, or after a rollback the one that was gone back to."""

from __future__ import annotations

import json

import pytest
from anki.collection import Collection

from anki_backup import standing
from anki_backup.repository import Repository
from tests.accounts import ankibak, config
from tests.made_collections import make_varied
from tests.sync_server import phone, sync_server
from tests.test_repository import add
from tests.typed_home import Home

__all__ = ["ankibak", "config", "phone", "sync_server"]

GHOST = "a ghost of a note"


@pytest.fixture
def haunted(tmp_path, run_ankibak):
    """A profile whose newest backup has a note, a deck and a file too many; it was rolled back."""
    home = Home(tmp_path, run_ankibak)
    home.media.mkdir(parents=True)
    make_varied(home.collection)
    home.first = home.back_up()
    collection = Collection(str(home.collection))
    note = collection.new_note(collection.models.by_name("Basic"))
    note["Front"] = GHOST
    collection.add_note(note, collection.decks.id("ghosts"))
    collection.close()
    (home.media / "ghost.jpg").write_bytes(b"white")
    home.second = home.back_up()
    home.roll_back(home.first, "--exact-media")
    assert home.type("run").split("\t")[1] == "skipped"
    return home


def test_what_was_undone_is_gone_and_can_be_had_back(haunted):
    hits = json.loads(haunted.type("find", "ghost", "--json"))["hits"]
    told = {hit["kind"]: (hit["present"], hit["gone"], hit["last"]) for hit in hits}
    assert told == {kind: (False, "deleted", haunted.second) for kind in ("note", "deck", "media")}
    for item in (GHOST, "deck:ghosts", "media:ghost.jpg"):
        (life,) = json.loads(haunted.type("history", item, "--json"))["lives"]
        assert (life["present"], life["gone"], life["last"]) == (False, "deleted", haunted.second)
    note = next(hit for hit in hits if hit["kind"] == "note")
    haunted.type(*note["command"].split()[1:], "--yes")
    haunted.back_up()
    (hit,) = json.loads(haunted.type("find", GHOST, "--json"))["hits"]
    assert (hit["present"], hit["command"]) == (True, None)


def test_live_alone_is_compared_with_what_was_gone_back_to(haunted):
    for words in (["live"], ["home:live"]):
        found = json.loads(haunted.type("diff", *words, "--json"))
        assert (found["from"], found["equal"]) == (haunted.first, True)


def test_status_counts_the_cards_that_there_are(haunted):
    cards = json.loads(haunted.type("show", haunted.first, "--json"))["stats"]["cards"]
    told = json.loads(haunted.type("status", "--json"))
    assert "the backup that it was rolled back to is from" in told["sentence"]
    assert told["sentence"].endswith(f" with {cards} cards.")
    assert told["sources"][0]["last_backup"] == haunted.second


def test_what_a_push_brought_back_to_an_account_is_present(phone, ankibak):
    first = json.loads(ankibak("run", "--json"))["results"][0]["backup"]["id"]
    phone.delete(*phone.col.find_notes("question"))
    phone.sync()
    ankibak("run", code=4)

    def is_present():
        hits = json.loads(ankibak("find", "question", "--json"))["hits"]
        return {hit["present"] for hit in hits}

    ankibak("rollback", first, "--yes")
    assert is_present() == {False}  # only the copy beside it was changed
    ankibak("rollback", first, "--push-after-rollback", "--yes")
    assert is_present() == {True}


def test_a_source_stands_where_it_was_left(tmp_path):
    repository = Repository.create(tmp_path / "repository")
    with repository.writing("test"):
        one, two = add(repository).id, add(repository).id

    def stands(**fields):
        told = {"source": "home", "to": one, "newest": two, "live": True, "outcome": "done", **fields}
        repository.record("rollback", **told)
        return standing.left(repository.history, {"home": two})["home"]

    for other in ({"live": False}, {"outcome": "reversed"}, {"source": "work"}, {"newest": one}):
        assert stands(**other) == two
    assert stands() == one == repository.standing_of("home").id
    assert stands(live=False, to=two) == one  # a copy beside an account, not the account
    assert stands(to="2026-01-01T00-00-00Z") == two  # which is not there any more
