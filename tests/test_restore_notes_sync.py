"""Notes that were put back into a profile reach the other devices by an ordinary sync."""

from __future__ import annotations

import json

import pytest

from anki_backup import putback, sendback
from anki_backup.errors import SourceError
from anki_backup.gather import Options
from anki_backup.putback import Wish
from anki_backup.repository import Repository
from anki_backup.settings import AnkiwebSource
from anki_backup.sources import Means
from anki_backup.sources.ankiweb import make
from anki_backup.values import Secret, duration
from tests.accounts import ankibak, config, media, state_of_account
from tests.sync_server import PASSWORD, USER, Client, phone, sync_server

__all__ = ["ankibak", "config", "phone", "sync_server"]

CARDS = "SELECT id, nid, type, queue, due, ivl, factor, reps, lapses FROM cards ORDER BY id"
NOTES = "SELECT id, guid, mid, tags, flds FROM notes ORDER BY id"
REVIEWS = "SELECT id, cid, ease, ivl, factor, time FROM revlog ORDER BY id"


def rows(client):
    return [list(map(tuple, client.col.db.all(query))) for query in (NOTES, CARDS, REVIEWS)]


@pytest.mark.parametrize("synced", [True, False], ids=["deletion synced", "deletion not synced"])
def test_a_deck_put_back_into_a_profile_comes_back_to_the_phone(
    synced, phone, sync_server, tmp_path, run_ankibak
):
    (tmp_path / "config.toml").write_text(
        '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "desktop"\n'
    )

    def typed(*words):
        done = run_ankibak("-c", tmp_path / "config.toml", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    phone.study(3, deck="Español::Verbos")
    phone.sync()
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        desktop.download()
        before = rows(desktop)
    backup = typed("run")["results"][0]["backup"]["id"]
    if synced:
        phone.delete_deck("Español::Verbos")
        phone.sync()
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        if synced:
            desktop.sync()
        else:
            desktop.delete_deck("Español::Verbos")
        assert desktop.col.note_count() == 0
    told = typed("restore-notes", backup, "--deck", "Español", "--into", "home", "--yes")
    assert told["missing"] == 10
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        answer = desktop.col.sync_collection(desktop.auth, False)
        assert answer.required == answer.NO_CHANGES
        assert rows(desktop) == before
    answer = phone.col.sync_collection(phone.auth, False)
    assert answer.required == answer.NO_CHANGES
    assert rows(phone) == before
    assert set(phone.col.find_cards("deck:Español::Verbos")) == {row[0] for row in before[1]}
    assert phone.col.fix_integrity()[1]


def test_notes_sent_to_an_account_reach_the_phone_by_an_ordinary_sync(phone, ankibak, sync_server, tmp_path):
    phone.study(3, deck="Español::Verbos")
    phone.sync()
    before = rows(phone)
    backup = json.loads(ankibak("run", "--json"))["results"][0]["backup"]["id"]
    phone.delete_deck("Español::Verbos")
    phone.remove_picture("cat.jpg")
    other = phone.add("another", "note", "Other")
    phone.sync()
    assert media(sync_server.media()) == {}
    words = ("restore-notes", backup, "--deck", "Español", "--into", "home", "--json")

    ankibak("run")
    left = state_of_account(sync_server, tmp_path / "scratch")
    assert json.loads(ankibak(*words, "--dry-run"))["missing"] == 10
    assert "--yes" in ankibak(*words, code=2)
    assert state_of_account(sync_server, tmp_path / "scratch") == left

    told = json.loads(ankibak(*words, "--yes"))
    assert (told["missing"], told["media"], told["warnings"]) == (10, 1, [])
    answer = phone.col.sync_collection(phone.auth, False)
    assert answer.required == answer.NO_CHANGES
    phone.sync_media()
    notes, cards, reviews = rows(phone)
    assert [row for row in notes if row[0] != other] == before[0]
    assert [row for row in cards if row[1] != other] == before[1]
    assert reviews == before[2]
    assert phone.col.note_count() == 11
    assert (tmp_path / "phone" / "collection.media" / "cat.jpg").read_bytes() == b"a picture"
    assert json.loads(ankibak("show", told["safety"], "--json"))["stats"]["notes"] == 1
    assert json.loads(ankibak("run", "--json"))["results"][0]["backup"]["stats"]["notes"] == 11


def test_nothing_is_sent_to_an_account_that_changed_meanwhile(phone, ankibak, sync_server, tmp_path):
    backup = json.loads(ankibak("run", "--json"))["results"][0]["backup"]["id"]
    phone.delete(*phone.col.find_notes("question"))
    phone.add("left", "over")
    phone.sync()
    driver = accounts_driver(tmp_path, sync_server)
    repository = Repository.open(tmp_path / "backups")
    wish = Wish(repository.find(backup), "test", search="question")
    source = driver()
    saved = sendback.save(repository, source, wish, Options(threads=1))
    with putback.prepare(repository, source, wish, saved) as prepared:
        phone.add("meanwhile", "added")
        phone.sync()
        left = state_of_account(sync_server, tmp_path / "scratch")
        with pytest.raises(SourceError, match="meanwhile"):
            sendback.perform(repository, driver, source, prepared, Options(threads=1))
    assert state_of_account(sync_server, tmp_path / "scratch") == left


def accounts_driver(folder, server):
    """Return what makes a driver of the account, as each process has its own."""
    settings = AnkiwebSource(
        username=USER, password=Secret(PASSWORD), endpoint=server.url, retries=0, timeout=duration("5s")
    )
    root = folder / "backups"
    means = Means(mirror=root / "mirrors" / "home", secrets=root / "state" / "secrets")
    return lambda: make("home", settings, 5, means)
