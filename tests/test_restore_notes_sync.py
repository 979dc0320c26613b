"""Notes that were put back into a profile reach the other devices by an ordinary sync."""

from __future__ import annotations

import json

import pytest

from tests.sync_server import Client, phone, sync_server

__all__ = ["phone", "sync_server"]

CARDS = "SELECT id, nid, type, queue, due, ivl, factor, reps, lapses FROM cards ORDER BY id"
NOTES = "SELECT id, guid, mid, tags, flds FROM notes ORDER BY id"
REVIEWS = "SELECT id, cid, ease, ivl, factor, time FROM revlog ORDER BY id"


def rows(client):
    return [list(map(tuple, client.col.db.all(query))) for query in (NOTES, CARDS, REVIEWS)]


@pytest.mark.parametrize("synced", [True, False], ids=["deletion synced", "deletion not synced"])
def test_a_deck_deleted_on_the_phone_comes_back_to_it(synced, phone, sync_server, tmp_path, run_ankibak):
    (tmp_path / "config.toml").write_text(
        '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "desktop"\n'
    )

    def ankibak(*words):
        done = run_ankibak("-c", tmp_path / "config.toml", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    phone.study(3, deck="Español::Verbos")
    phone.sync()
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        desktop.download()
        before = rows(desktop)
    backup = ankibak("run")["results"][0]["backup"]["id"]
    if synced:
        phone.delete_deck("Español::Verbos")
        phone.sync()
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        if synced:
            desktop.sync()
        else:
            desktop.delete_deck("Español::Verbos")
        assert desktop.col.note_count() == 0
    told = ankibak("restore-notes", backup, "--deck", "Español", "--into", "home", "--yes")
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
