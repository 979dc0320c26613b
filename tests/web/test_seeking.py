"""Looking through all backups from a page: for a word, and for the history of a card's note."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.sources.profile import Profile
from anki_backup.web.replies import Refused
from anki_backup.web.seeking import WAITING, Seeking
from tests.made_collections import sql
from tests.web.conftest import Served
from tests.web.lively import after

PAGE = {"Accept": "text/html"}


def test_a_word_leads_to_the_last_backup_that_had_it_and_a_card_tells_its_history(serve):
    served: Served = serve()
    path = served.place / "profile" / "collection.anki2"
    with closing(sqlite3.connect(path)) as db:
        note, card = db.execute("SELECT nid, id FROM cards ORDER BY id LIMIT 1").fetchone()
    steps = [f"UPDATE notes SET flds = 'a kingfisher' || flds, mod = mod + 9 WHERE id = {note}"]
    steps += [f"DELETE FROM cards WHERE nid = {note}", f"DELETE FROM notes WHERE id = {note}"]
    made = []
    for words in (steps[:1], steps[1:]):
        sql(path, *words, "UPDATE col SET mod = mod + 1000")
        made.append(runs.back_up(served.repository, Profile("desktop", path), Options(threads=1)).backup)
    with served.client() as client:
        found = client.get("/lost?q=KINGFISHER", headers=PAGE).text
        assert f"/backups/{made[0].id}/cards?q=nid:{note}" in found and "deleted" in found
        assert f"ankibak restore-notes {made[0].id} --search nid:{note} --into desktop" in found
        shown = client.get(f"/backups/{made[0].id}/cards/{card}", headers=PAGE).text
        assert "history=1" in shown and "History of its note" not in shown
        told = client.get(f"/backups/{made[0].id}/cards/{card}?history=1", headers=PAGE).text
    assert re.search(r"<ins>\s*a kingfisher", told) and "gone" in told and "appeared" in told


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40:-36] = bytes(byte ^ 0xFF for byte in data[-40:-36])
    path.write_bytes(data)


def test_that_backups_could_not_be_read_is_told(serve):
    served: Served = serve()
    objects = [path for path in (served.place / "repository" / "objects").rglob("*") if path.is_file()]
    spoil(max(objects, key=lambda path: path.stat().st_size))
    with served.client() as client:
        found = client.get("/lost?q=aorta", headers=PAGE).text
    counted = len(served.repository.backups())
    assert f"{counted} backups could not be read" in found and "that could be read has it" in found


def test_a_history_says_which_backups_could_not_be_read(serve):
    served: Served = serve()
    oldest = served.repository.backups()[-1]
    newest = after(served.place, "UPDATE notes SET flds = 'x' || flds WHERE id % 2")
    spoil(
        served.place / "repository" / "objects" / newest.collection_sha256[:2] / newest.collection_sha256[2:]
    )
    with served.client() as client:
        listed = client.get(f"/backups/{oldest.id}/cards", headers=PAGE).text
        card = re.search(rf"/backups/{oldest.id}/cards/\d+", listed)
        assert card, listed
        told = client.get(f"{card[0]}?history=1", headers=PAGE).text
    assert "1 backup could not be read" in told and newest.id in told and "History of its note" in told


@pytest.mark.parametrize("text", ["no such word", "<script>x", "\x00", "' OR 1=1 --", "nid:1", "a" * 900])
def test_what_nobody_has_is_said_and_shown_escaped(served: Served, text):
    with served.client() as client:
        answer = client.get("/lost", params={"q": text}, headers=PAGE)
    assert answer.status_code == 200 and "No backup of" in answer.text and "<script" not in answer.text


def test_only_so_many_wait_for_their_turn(tmp_path):
    seeking = Seeking(tmp_path)
    seeking.waiting = WAITING
    with pytest.raises(Refused) as refused:
        asyncio.run(seeking.find(None, "desktop", "word"))
    assert refused.value.status == 429 and refused.value.wait_s
