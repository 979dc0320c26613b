"""An account is backed up end to end: Anki's own server, a phone, and the program."""

from __future__ import annotations

import json

import pytest

from anki_backup.model import Step
from anki_backup.repository import Repository
from tests.accounts import ankibak, config, equal, outcome
from tests.sync_server import Client, phone, sync_server

__all__ = ["ankibak", "config", "equal", "outcome", "phone", "sync_server"]

DECK = "Español::Verbos"


def test_the_first_backup_is_the_account(ankibak, phone, equal, outcome, tmp_path):
    assert outcome() == "created"
    equal()
    shown = json.loads(ankibak("show", "latest", "--json"))
    assert (shown["stats"]["notes"], shown["media_files"], shown["source"]) == (10, 1, "home")
    assert shown["anki_version"]
    assert shown["source_revision"].keys() == {"mod", "scm", "usn", "media_usn"}
    assert shown["source_revision"]["media_usn"] == 1
    took, repository = shown["duration_ms"], Repository.open(tmp_path / "backups")
    steps = repository.manifest(shown["id"]).steps
    assert steps[0] == Step("sync", took["sync"]) and steps[1].name == "look"
    assert sum(step.ms for step in steps) == took["total"] > took["sync"] > 0
    assert ankibak("verify", "--read-data") == ""


def test_an_unchanged_hour_makes_no_backup(outcome, phone):
    assert [outcome(), outcome(), outcome()] == ["created", "skipped", "skipped"]


def test_a_server_that_only_moved_its_time_makes_no_backup(outcome, phone, tmp_path, sync_server):
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        phone.add("new")
        phone.sync()  # the first of its kind has the server write the day's end into a new account
        desktop.sync()
        assert outcome() == "created"
        desktop.sync()
        phone.sync()
        assert [outcome(), outcome()] == ["skipped", "skipped"]


def test_each_change_is_in_the_next_backup(phone, outcome, equal):
    note = phone.add("to be changed")
    phone.sync()
    assert outcome() == "created"

    def deck_options():
        options = phone.col.decks.config_dict_for_deck_id(1)
        options["new"]["perDay"] = 7
        phone.col.decks.update_config(options)

    def template():
        kind = phone.col.models.by_name("Basic")
        kind["tmpls"][0]["afmt"] += "<hr>"
        phone.col.models.update_dict(kind)

    changes = {
        "a note": lambda: phone.add("new"),
        "reviews": lambda: phone.study(3, deck=DECK),
        "an edit": lambda: phone.edit(note, "edited"),
        "a tag": lambda: phone.col.tags.bulk_add([note], "marked"),
        "a subdeck": lambda: phone.col.decks.id("Español::Nombres"),
        "the options of a deck": deck_options,
        "a template": template,
        "a setting": lambda: phone.col.set_config("an add-on's", {"of": 1}),
        "a deletion": lambda: phone.delete(note),
        "a picture": lambda: phone.picture("dög.jpg", b"dog"),
        "another picture of that name": lambda: phone.change_picture("cat.jpg", b"another cat"),
        "a picture less": lambda: phone.remove_picture("cat.jpg"),
        "a deck less": lambda: phone.delete_deck("Español::Nombres"),
    }
    for name, change in changes.items():
        change()
        phone.sync()
        assert (name, outcome()) == (name, "created")
        equal()
    assert outcome() == "skipped"


def test_a_change_of_the_schema_is_downloaded_whole(phone, outcome, equal):
    assert outcome() == "created"
    kind = phone.col.models.by_name("Basic")
    phone.col.models.add_field(kind, phone.col.models.new_field("Extra"))
    phone.col.models.update_dict(kind)
    phone.upload()
    assert outcome() == "created"
    equal()
    assert outcome() == "skipped"


def test_a_note_edited_on_two_devices(phone, outcome, equal, tmp_path, sync_server):
    note = phone.add("of both")
    phone.sync()
    assert outcome() == "created"
    with Client(tmp_path / "desktop", sync_server.url) as desktop:
        desktop.sync()
        phone.edit(note, "on the phone")
        desktop.edit(note, "on the desktop")
        phone.sync()
        desktop.sync()
    assert outcome() == "created"
    equal()


def test_an_emptied_account_is_an_alarm_and_stores_nothing(ankibak, phone, sync_server):
    ankibak("run")
    phone.delete(*phone.col.find_notes(""))
    phone.sync()
    # Emptied by a normal sync, what is left does arrive: it is stored, and marked.
    told = ankibak("run", code=4)
    assert "ALARM" in told
    assert json.loads(ankibak("show", "latest", "--json"))["stats"]["cards"] == 0


def test_an_account_that_was_replaced_by_nothing_stores_nothing(ankibak, phone, sync_server, tmp_path):
    ankibak("run")
    with Client(tmp_path / "new", sync_server.url) as empty:
        empty.upload()
    told = ankibak("run", code=4)
    assert "no cards any more" in told
    newest = ankibak("list").split("\t")[0]
    assert f"ankibak rollback home:{newest} --push-after-rollback" in told
    shown = json.loads(ankibak("show", "latest", "--json"))
    assert (shown["stats"]["cards"], shown["pinned"], shown["alarm"]["kind"]) == (10, True, "empty")
    ankibak("run", code=4)
    with Client(tmp_path / "other", sync_server.url) as other:
        other.sync()
        assert other.col.is_empty()  # nothing was put back by us


def test_another_kind_of_source_needs_no_login(run_ankibak, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[sources.desk]\nkind = "profile"\npath = "x"\n')
    for word in ("login", "logout"):
        done = run_ankibak("-c", path, word, "desk")
        assert (done.returncode, "needs no login" in done.stderr) == (2, True)
        done = run_ankibak("-c", path, word)
        assert (done.returncode, "no account" in done.stderr) == (2, True)


@pytest.mark.parametrize("change", [False, True])
def test_a_dry_run_asks_and_fetches_nothing(ankibak, phone, change, tmp_path):
    told = ankibak("run", "--dry-run", code=7, env={"ANKIBAK_SOURCES__HOME__PASSWORD": ""})
    assert "there is no key yet" in told
    assert "fetched first" in ankibak("run", "--dry-run")
    ankibak("run")
    if change:
        phone.add("new")
        phone.sync()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "backups").rglob("*")}
    done = ankibak("run", "--dry-run").split("\t")
    assert (done[1], "unchanged" in done[5]) == (("planned", False) if change else ("skipped", True))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "backups").rglob("*") if path.is_file()}
    del files[tmp_path / "backups" / "state" / "lock"]  # which says who looked last
    assert files.items() <= before.items()
