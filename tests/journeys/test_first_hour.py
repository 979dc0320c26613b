"""The first hour of a person with this program, all of it through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from anki.collection import Collection

CONFIG = """
[storage]
root = "backups"

[sources.desktop]
kind = "profile"
path = "Anki2/User 1"
"""


@pytest.fixture
def anki(tmp_path):
    """A person's Anki: a profile with two decks and a picture."""
    folder = tmp_path / "Anki2" / "User 1"
    folder.mkdir(parents=True)
    collection = Collection(str(folder / "collection.anki2"))
    collection.media.write_data("cat.jpg", b"a picture")
    for number in range(60):
        note = collection.new_note(collection.models.by_name("Basic"))
        note["Front"], note["Back"] = f"question {number} <img src=cat.jpg>", f"answer {number}"
        collection.add_note(note, collection.decks.id("Español::Verbos" if number % 2 else "日本語"))
    collection.close()
    return folder


@pytest.fixture
def ankibak(run_ankibak, tmp_path):
    """Type a command; what it prints, which is nothing on stderr, unless another exit code is awaited."""

    def ankibak(*words, code=0):
        done = run_ankibak(*words, env={"ANKIBAK_CONFIG": str(tmp_path / "config.toml")})
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stderr if code else done.stdout

    return ankibak


def study(folder):
    """Study for a while as a person does: twenty answers, one mended note, one new one."""
    collection = Collection(str(folder / "collection.anki2"))
    for deck in ("日本語", "Español::Verbos"):
        collection.decks.set_current(collection.decks.id(deck))
        for _ in range(10):
            card = collection.sched.getCard()
            card.start_timer()
            collection.sched.answerCard(card, 3)
    note = collection.get_note(collection.find_notes("")[0])
    note["Back"] += " (mended)"
    collection.update_note(note)
    note = collection.new_note(collection.models.by_name("Basic"))
    note["Front"] = "a new one"
    collection.add_note(note, collection.decks.id("日本語"))
    collection.close()


def counts(path):
    """What a person would look at to see that all is there."""
    collection = Collection(str(path))
    try:
        reviews, notes = (
            collection.db.scalar(f"SELECT count() FROM {table}") for table in ("revlog", "notes")
        )
        due = [
            (node.name, node.new_count, node.learn_count)
            for node in collection.sched.deck_due_tree().children
        ]
        return reviews, notes, len(collection.find_cards("")), sorted(due), collection.find_notes("mended")
    finally:
        collection.close()


def test_a_person_has_a_good_backup_within_the_hour(anki, ankibak, tmp_path):
    # The program is there, and says what to do where nothing is set up yet.
    assert ankibak("--version").startswith("ankibak ")
    (tmp_path / "config.toml").write_text('[storage]\nroot = "backups"\n')
    assert "ankibak init" in ankibak("run", code=2)

    # Five lines of configuration, and the first backup.
    (tmp_path / "config.toml").write_text(CONFIG)
    ankibak("config", "check")
    source, outcome, first, stored, *_ = ankibak("run").split("\t")
    assert (source, outcome) == ("desktop", "created")

    # The next hour nothing has changed: nothing is kept, and that is recorded.
    assert ankibak("run").split("\t")[1] == "skipped"
    assert ankibak("run", "--dry-run").split("\t")[1] == "skipped"

    # Then an hour of study. It costs a small part of what the first backup did.
    study(anki)
    result = json.loads(ankibak("run", "--json"))["results"][0]
    second = result["backup"]
    assert result["outcome"] == "created"
    assert result["stored_bytes"] < int(stored)
    assert (second["stats"]["notes"], second["stats"]["cards"], second["stats"]["revlog"]) == (61, 61, 20)
    assert second["previous"] in (first, None)

    # What is there?
    rows = [line.split("\t") for line in ankibak("list").splitlines()]
    assert [(row[0], row[1], row[6], row[8]) for row in rows] == [
        (second["id"], "desktop", "61", "20"),
        (first, "desktop", "60", "0"),
    ]
    shown = json.loads(ankibak("show", "latest", "--json"))
    assert {deck["name"]: deck["cards"] for deck in shown["decks"]} == {
        "Default": 0,
        "Español": 0,
        "Español::Verbos": 30,
        "日本語": 31,
    }
    assert (shown["previous"], shown["media_files"]) == (first, 1)
    assert [line.split("\t")[2] for line in ankibak("runs").splitlines()] == ["created", "skipped", "created"]
    assert ankibak("verify", "--read-data") == ""

    # It is for nobody else to read.
    found = [tmp_path / "backups", *(tmp_path / "backups").rglob("*")]
    assert {(path.is_dir(), path.stat().st_mode & 0o777) for path in found} == {(True, 0o700), (False, 0o600)}

    # And it comes back: byte for byte, and as a profile that Anki opens.
    assert ankibak("export", "latest", "-o", "now.anki2") == "now.anki2\n"
    assert (tmp_path / "now.anki2").read_bytes() == (anki / "collection.anki2").read_bytes()
    ankibak("export", first, "--format", "dir", "-o", "then")
    sums = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(sums, cwd=tmp_path / "then", check=False).returncode == 0
    assert (tmp_path / "then" / "collection.media" / "cat.jpg").read_bytes() == b"a picture"
    live = counts(shutil.copytree(anki, tmp_path / "live") / "collection.anki2")
    assert counts(tmp_path / "now.anki2") == live
    assert live[:3] == (20, 61, 61)
    assert counts(tmp_path / "then" / "collection.anki2")[:3] == (0, 60, 60)


def test_a_person_with_several_profiles_is_told_which_were_saved(anki, ankibak, tmp_path):
    def code_of(**sources):
        tables = [f'[sources.{name}]\nkind = "profile"\npath = "{path}"\n' for name, path in sources.items()]
        (tmp_path / "config.toml").write_text("".join(['[storage]\nroot = "backups"\n', *tables]))
        return lambda code: ankibak("run", code=code)

    mine, hers = "Anki2/User 1", "Anki2/User 2"
    assert "hers: there is no collection" in code_of(mine=mine, hers=hers)(3)
    assert "missing" not in code_of(mine=mine)(0)
    assert code_of(hers=hers, his="Anki2/User 3")(7).count("there is no collection") == 2
    shutil.copytree(anki, tmp_path / hers)
    assert [line.split("\t")[1] for line in code_of(mine=mine, hers=hers)(0).splitlines()] == [
        "skipped",
        "created",
    ]
    # One has no collection, the place of the other can't be written: that has no code of its own.
    (tmp_path / "backups" / "cache" / "blocked").symlink_to("nowhere")
    assert "can't write" in code_of(his="Anki2/User 3", blocked=mine)(1)
    assert os.listdir(anki) == os.listdir(tmp_path / hers)
