"""`diff` as a person and a program use it: backups, the live source, across schemas, on a terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from anki.collection import Collection

from anki_backup import runs, sides
from anki_backup.gather import Options
from anki_backup.model import Backup
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.collection_changes import in_anki
from tests.conftest import ROOT
from tests.made_collections import at_schema, make_varied


class Place:
    """A profile, its repository, and a configuration that names both."""

    def __init__(self, folder: Path, collection: Path) -> None:
        self.profile = folder / "profile"
        self.media = self.profile / "collection.media"
        self.media.mkdir(parents=True)
        self.path = Path(shutil.copy(collection, self.profile / "collection.anki2"))
        (self.media / "a.png").write_bytes(b"picture")
        self.root = folder / "repository"
        self.repository = Repository.create(self.root)
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[storage]\nroot = "{self.root}"\n[sources.desktop]\nkind = "profile"\npath = "{self.profile}"\n'
        )

    def back_up(self) -> Backup:
        result = runs.back_up(self.repository, Profile("desktop", self.profile), Options())
        assert result.backup, result
        return result.backup

    def change(self, change: Any) -> None:
        in_anki(change)(self.path)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_varied(tmp_path_factory.mktemp("varied") / "collection.anki2")


@pytest.fixture
def place(tmp_path: Path, varied: Path) -> Place:
    return Place(tmp_path, varied)


def edit(col: Collection) -> None:
    note = col.get_note(col.find_notes("")[0])
    note["Front"] = "changed [31m \u202e words"
    col.update_note(note)
    col.remove_notes(col.find_notes("")[1:2])


def test_without_ids_it_is_the_newest_against_the_one_before(place, run_ankibak):
    first = place.back_up()
    alone = run_ankibak("-c", place.config, "diff")
    assert (alone.returncode, "only backup" in alone.stderr) == (5, True)
    place.change(edit)
    (place.media / "a.png").rename(place.media / "b.png")
    second = place.back_up()
    done = run_ankibak("-c", place.config, "diff", "--json")
    found = json.loads(done.stdout)
    assert (found["schema"], found["from"], found["to"]) == (1, first.id, second.id)
    assert found["notes"] == {"added": 0, "changed": 1, "removed": 1}
    assert found["cards"]["removed"] == 2
    assert found["media"] == {"added": 0, "changed": 0, "removed": 0, "renamed": 1}
    assert "items" not in found
    listed = json.loads(run_ankibak("-c", place.config, "diff", first.id, "--notes", "--json").stdout)
    assert {key: listed[key] for key in found} == found
    assert [(item["kind"], item["change"]) for item in listed["items"]][:2] == [
        ("note", "changed"),
        ("note", "removed"),
    ]
    back = json.loads(run_ankibak("-c", place.config, "diff", second.id, first.id, "--json").stdout)
    assert back["notes"] == {"added": 1, "changed": 1, "removed": 0}


def test_into_a_pipe_go_lines_that_cannot_steer_a_terminal(place, run_ankibak):
    place.back_up()
    place.change(edit)
    place.back_up()
    done = run_ankibak("-c", place.config, "diff", "--notes", env={"CLICOLOR_FORCE": None})
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["notes", "0", "1", "1", "-"]
    assert [
        line[0] for line in lines[:9]
    ] == "notes cards reviews decks options notetypes tags settings media".split()
    field = next(line for line in lines if line[0] == "field")
    assert field[3:] == ["Front", "front 0 ü", "changed [31m \\u202e words"]
    assert "\x1b" not in done.stdout


def test_on_a_terminal_words_are_coloured_and_escaped(place):
    place.back_up()
    place.change(edit)
    place.back_up()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "anki_backup", "-c", str(place.config), "diff", "--notes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=slave, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(slave)
        shown = b""
        try:
            while block := os.read(master, 1 << 16):
                shown += block
        except OSError:  # how Linux says that a terminal has nobody left
            pass
    assert process.returncode == 0
    text = shown.decode()
    assert "\x1b[31mfront" in text and "\x1b[32mchanged" in text and "\\u202e words" in text
    assert "\u202e" not in text


def test_live_is_the_source_as_it_is_now_and_makes_no_backup(place, run_ankibak):
    first = place.back_up()
    assert json.loads(run_ankibak("-c", place.config, "diff", "live", "--json").stdout)["equal"] is True
    place.change(edit)
    (place.media / "new.mp3").write_bytes(b"sound")
    before = place.path.read_bytes()
    done = run_ankibak("-c", place.config, "diff", "latest", "live", "--json")
    found = json.loads(done.stdout)
    assert (found["from"], found["to"], found["source"]) == (first.id, "live", "desktop")
    assert (found["notes"]["changed"], found["media"]["added"]) == (1, 1)
    assert place.path.read_bytes() == before
    assert sorted(path.name for path in place.profile.iterdir()) == ["collection.anki2", "collection.media"]
    assert len(place.repository.backups()) == 1
    named = run_ankibak("-c", place.config, "diff", "desktop:live", "--json")
    assert json.loads(named.stdout)["notes"] == found["notes"]


def test_live_while_anki_is_open_holds_what_its_wal_holds(place, run_ankibak):
    place.back_up()
    col = Collection(str(place.path))
    edit(col)
    found = json.loads(run_ankibak("-c", place.config, "diff", "live", "--json").stdout)
    col.close()
    assert (found["notes"]["changed"], found["notes"]["removed"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["latest", "nowhere:live"], 2, "nowhere"),
        (["live", "latest"], 2, "second"),
        (["live", "desktop:live"], 2, "nothing to compare"),
        (["1999"], 5, "1999"),
        (["latest", "latest", "latest"], 2, "two"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(words, code, said, place, run_ankibak):
    place.back_up()
    done = run_ankibak("-c", place.config, "diff", *words)
    assert (done.returncode, said in done.stderr, done.stdout) == (code, True, "")


@pytest.mark.parametrize("schema", [11, 14, 15, 16, 17])
def test_between_schemas_nothing_differs_but_the_schema(schema, tmp_path, varied):
    old = at_schema(schema, varied, tmp_path / "old.anki2")
    place = Place(tmp_path, old)
    first = place.back_up()
    shutil.copy(varied, place.path)
    place.change(lambda col: col.find_cards(""))
    second = place.back_up()
    found = sides.between(place.repository, first, second, items=True)
    assert [(item.name, item.parts[0].before, item.parts[0].after) for item in found.items or []] == [
        ("schema", schema, 18)
    ]


def test_nothing_is_left_in_the_temporary_folder_even_when_it_is_stopped(place, tmp_path):
    first = place.back_up()
    place.change(edit)
    place.back_up()
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = [sys.executable, "-m", "anki_backup", "-c", str(place.config), "diff", first.id]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    for number in (None, signal.SIGTERM):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while number and process.poll() is None and not list(folder.glob("ankibak-*/*")):
                time.sleep(0.001)
            if number:
                process.send_signal(number)
        assert process.returncode in (0, -(number or 0), 143)
        assert list(folder.iterdir()) == []


def test_a_repository_that_cannot_be_written_is_compared_all_the_same(place, run_ankibak):
    place.back_up()
    place.change(edit)
    place.back_up()
    before = sorted((path, path.lstat().st_mtime_ns) for path in place.root.rglob("*"))
    assert run_ankibak("-c", place.config, "diff", "--notes").returncode == 0
    assert sorted((path, path.lstat().st_mtime_ns) for path in place.root.rglob("*")) == before


def test_damage_is_told_and_exits_with_6(place, run_ankibak):
    place.back_up()
    place.change(edit)
    newest = place.back_up()
    name = newest.collection_sha256
    path = place.root / "objects" / name[:2] / name[2:]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    done = run_ankibak("-c", place.config, "diff")
    assert (done.returncode, name in done.stderr) == (6, True)
