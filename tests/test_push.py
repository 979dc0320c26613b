"""Rolling an account back: a copy beside it, or with a push the account itself and every device."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from anki.collection import Collection
from anki.sync_pb2 import SyncCollectionResponse

from tests.accounts import ankibak, config, media, rows, state_of_account
from tests.sync_server import Client, phone, sync_server

__all__ = ["ankibak", "config", "phone", "sync_server"]


@pytest.fixture
def first(ankibak, phone):
    """The account was backed up; then its owner went on."""
    first = json.loads(ankibak("run", "--json"))["results"][0]["backup"]["id"]
    phone.delete(*phone.col.find_notes("question"))
    phone.add("a new question", "a new answer", "New")
    phone.change_picture("cat.jpg", b"another picture")
    phone.picture("dog.jpg", b"a dog")
    phone.sync()
    return first


@pytest.fixture
def exported(ankibak, tmp_path):
    """Export a backup into a folder."""

    def exported(backup):
        target = tmp_path / "exports" / backup
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            ankibak("export", backup, "--format", "dir", "-o", target)
        return target

    return exported


def type_rollback(ankibak, *words):
    return json.loads(ankibak("rollback", *words, "--yes", "--json"))


def what_it_has(path: Path):
    return rows(path / "collection.anki2"), media(path / "collection.media")


def test_without_a_push_the_account_stays_and_the_copy_opens(first, ankibak, tmp_path, sync_server, exported):
    before = state_of_account(sync_server, tmp_path / "scratch")
    done = type_rollback(ankibak, first)
    active = tmp_path / "backups" / "active" / "home"
    assert (done["to"], done["pushed"], done["path"]) == (first, False, str(active / "collection.anki2"))
    assert what_it_has(active) == what_it_has(exported(first))
    assert state_of_account(sync_server, tmp_path / "scratch") == before
    # Anki's own base folder has a folder for each profile, and begins with this one.
    collection = Collection(str(active / "User 1" / "collection.anki2"))
    assert collection.note_count() == 10
    collection.close()
    # The next run compares with the account, which changed.
    assert ankibak("run").split("\t")[1] == "created"
    assert ankibak("run").split("\t")[1] == "skipped"
    assert json.loads((tmp_path / "backups/state/current-pointer.json").read_text())["sources"] == {
        "home": first
    }


def test_what_was_done_in_the_copy_is_backed_up_before_it_is_replaced(first, ankibak, tmp_path):
    type_rollback(ankibak, first)
    path = tmp_path / "backups" / "active" / "home" / "collection.anki2"
    collection = Collection(str(path))
    collection.remove_notes(collection.find_notes("")[:4])
    collection.close()
    done = type_rollback(ankibak, "--undo")
    safety = json.loads(ankibak("show", done["safety"], "--json"))
    assert (safety["origin"], safety["pinned"], safety["stats"]["notes"]) == ("safety", True, 6)
    # And where nothing was done, nothing new is made.
    again = type_rollback(ankibak, "--undo")
    assert again["to"] == done["safety"] and again["safety"] == done["to"]


def test_a_push_replaces_the_account_and_every_device_can_take_it(
    first, ankibak, phone, tmp_path, sync_server, exported
):
    before = state_of_account(sync_server, tmp_path / "scratch")
    wanted = what_it_has(exported(first))
    with (
        Client(tmp_path / "laptop", sync_server.url) as laptop,
        Client(tmp_path / "old", sync_server.url) as old,
    ):
        laptop.sync()
        old.sync()
        old.study(1, deck="New")  # never synced
        done = type_rollback(ankibak, first, "--push-after-rollback")
        assert (done["pushed"], done["to"], done["warnings"]) == (True, first, [])
        account = state_of_account(sync_server, tmp_path / "scratch")
        assert account[0] == wanted[0]
        assert account[1] == {**before[1], **wanted[1]} and account[1]["dog.jpg"]
        # Each device is asked, also the one with work of its own.
        for device in (laptop, old):
            assert device.col.sync_collection(device.auth, False).required == SyncCollectionResponse.FULL_SYNC
            device.download()
            assert device.col.note_count() == 10
            assert (Path(device.col.media.dir()) / "cat.jpg").read_bytes() == b"a picture"
            assert (
                device.col.sync_collection(device.auth, False).required == SyncCollectionResponse.NO_CHANGES
            )
    # What was there before is kept, and the next run knows where it stands.
    safety = json.loads(ankibak("show", done["safety"], "--json"))
    assert (safety["origin"], safety["pinned"], safety["stats"]["notes"]) == ("safety", True, 1)
    assert ankibak("run").split("\t")[1] == "created"  # for the picture of a dog, which stays
    assert ankibak("run").split("\t")[1] == "skipped"
    # And there is a way back.
    undone = type_rollback(ankibak, "--undo", "--push-after-rollback")
    assert undone["to"] == done["safety"]
    assert state_of_account(sync_server, tmp_path / "scratch")[1] == before[1]
    assert ankibak("run").split("\t")[1] == "skipped"


def test_the_plan_compares_with_the_account_however_often_it_was_pushed(first, ankibak):
    """The newest backup is not what the account is: that is what was pushed last."""
    figures = {"notes": (10, 1), "cards": (10, 1)}

    def plan(*words):
        rows = json.loads(ankibak("rollback", *words, "--push-after-rollback", "--dry-run", "--json"))["plan"]
        return {noun: (rows[noun]["lost"], rows[noun]["regained"]) for noun in figures}

    ankibak("run")
    type_rollback(ankibak, first, "--push-after-rollback")
    assert plan("--undo") == figures
    told = ankibak("rollback", "--undo", "--push-after-rollback", code=2)
    assert "notes: 10 lost" in told and "1 back" in told
    type_rollback(ankibak, "--undo", "--push-after-rollback")
    assert plan("--undo") == {noun: (back, lost) for noun, (lost, back) in figures.items()}
    assert "notes: 1 lost" in ankibak("rollback", "--undo", "--push-after-rollback", code=2)


def test_notes_are_counted_against_the_account_that_was_pushed(first, ankibak):
    ankibak("run")
    type_rollback(ankibak, first, "--push-after-rollback")
    asked = ("restore-notes", first, "--search", "deck:*", "--into", "home", "--dry-run", "--json")
    told = json.loads(ankibak(*asked))
    assert (told["missing"], told["same"]) == (0, 10)


def test_with_exact_media_the_account_is_the_backup(first, ankibak, tmp_path, sync_server, exported):
    type_rollback(ankibak, first, "--push-after-rollback", "--exact-media")
    assert state_of_account(sync_server, tmp_path / "scratch") == what_it_has(exported(first))
    assert ankibak("run").split("\t")[1] == "skipped"


def test_an_emptied_account_can_be_filled_again(first, ankibak, phone, tmp_path, sync_server, exported):
    ankibak("run")
    shutil.rmtree(sync_server.folder)
    sync_server.restart()
    ankibak("run", code=4)
    done = type_rollback(ankibak, first, "--push-after-rollback")
    assert (done["safety"], done["pushed"]) == (None, True)
    assert state_of_account(sync_server, tmp_path / "scratch") == what_it_has(exported(first))


def test_what_was_just_gone_back_to_can_be_pushed_at_once(first, ankibak, tmp_path, sync_server, exported):
    type_rollback(ankibak, first)
    assert type_rollback(ankibak, first, "--push-after-rollback")["pushed"]
    assert state_of_account(sync_server, tmp_path / "scratch")[0] == what_it_has(exported(first))[0]
    told = ankibak("rollback", first, "--push-after-rollback", "--yes", code=75)
    assert "ankibak rollback --undo home --push-after-rollback" in told


def test_nothing_is_pushed_without_being_told_so_twice(first, ankibak, tmp_path, sync_server):
    before = state_of_account(sync_server, tmp_path / "scratch")
    told = ankibak("rollback", first, "--push-after-rollback", code=2)
    assert "each of your other devices" in told and "let no device sync until this is done" in told
    assert "sync now" not in told
    assert state_of_account(sync_server, tmp_path / "scratch") == before


def test_an_account_that_changes_meanwhile_is_left_alone(
    first, ankibak, phone, tmp_path, sync_server, monkeypatch
):
    from anki_backup import push, rollback
    from anki_backup.commands import Context
    from anki_backup.gather import Options
    from anki_backup.repository import Repository
    from tests.sync_server import PASSWORD

    monkeypatch.setenv("ANKIBAK_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("ANKIBAK_SOURCES__HOME__PASSWORD", PASSWORD)
    context, repository = Context(), Repository.open(tmp_path / "backups")
    source, target = context.driver("home"), repository.find(first)
    wish = rollback.Wish(target, "somebody", pushed=True)
    saved = push.save(repository, source, target, Options())
    with rollback.prepare(repository, source, wish) as prepared:
        rollback.perform(repository, source, prepared, Options())
    phone.add("at the last moment")
    phone.sync()
    before = state_of_account(sync_server, tmp_path / "scratch")
    with pytest.raises(push.SourceError, match="changed meanwhile"):
        push.push(repository, lambda: context.driver("home"), source, wish, saved, Options())
    assert state_of_account(sync_server, tmp_path / "scratch") == before
    assert [
        event
        for event in (tmp_path / "backups/state/events.jsonl").read_text().splitlines()
        if "pushing" in event
    ] == []


def test_a_profile_has_nothing_to_push_to(tmp_path, run_ankibak):
    from tests.made_collections import make_varied
    from tests.typed_home import Home

    home = Home(tmp_path, run_ankibak)
    home.profile.mkdir()
    make_varied(home.collection)
    home.type("run")
    assert "Upload to AnkiWeb" in home.type("rollback", "latest", "--push-after-rollback", "--yes", code=2)
