"""A shared deck made to harm: what it holds is kept as it is, and nothing of it gets out unescaped."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing, suppress

import pytest
from anki.collection import Collection

from anki_backup.terminal import UNSAFE
from tests.conftest import ROOT
from tests.test_packages import imported
from tests.typed_home import Home

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
EVIL = f"<script>alert(1)</script>{ESCAPE}\u202egnp.exe\u2066\x9b31m"
LONG = "x" * 1_000_000
NAMES = [
    b"\xff\xfe.png",
    "\u202egnp.exe".encode(),
    b"a\x1b[31mred.mp3",
    b"line\nfeed.jpg",
    b"<img src=x onerror=alert(1)>.svg",
    b"-rf",
    b"n" * 255,
]
# What may stand in text for a person or a program: a line's end, and a tab between columns.
ALLOWED = {"\n", "\t"}
# Of ours: colours, and a bar that begins its line again.
OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\r")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collection with hostile names of decks, tags, note types, fields, and hostile fields."""
    path = tmp_path_factory.mktemp("hostile") / "collection.anki2"
    collection = Collection(str(path))
    kind = collection.models.by_name("Basic")
    kind["name"] = f"kind {EVIL}"
    collection.models.update_dict(kind)
    deck = collection.decks.id(f"deck {EVIL}")
    for text in (EVIL, LONG, "null \0 byte", "\u2028\u2029", "'; DROP TABLE notes; --"):
        note = collection.new_note(collection.models.get(kind["id"]))
        note.fields = [f"{text} front", f'<img src="../../etc/passwd">{text[:50]}']
        note.tags = [f"tag{ESCAPE}\u202e", "a::b"]
        collection.add_note(note, deck)
    collection.close()
    return path


@pytest.fixture
def home(tmp_path, made, run_ankibak):
    home = Home(tmp_path, run_ankibak)
    home.media.mkdir(parents=True)
    shutil.copy(made, home.collection)
    for name in NAMES:
        with open(os.fsencode(home.media) + b"/" + name, "wb") as file:
            file.write(name)
    home.back_up()
    return home


def change(home):
    collection = Collection(str(home.collection))
    for number in collection.find_notes(""):
        note = collection.get_note(number)
        note.fields[1] += f"changed {EVIL}"
        collection.update_note(note)
    deck = collection.decks.all_names_and_ids()[-1]
    collection.decks.rename(deck.id, f"renamed {EVIL}")
    collection.close()
    home.back_up()


def typed_at_a_terminal(config, *words):
    """Return all that a terminal is sent by a command."""
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "anki_backup", "-c", str(config), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "PAGER": "cat"},
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
    )
    os.close(keyboard)
    shown = b""
    with suppress(OSError), os.fdopen(screen, "rb", buffering=0) as file:  # at its end Linux says EIO
        while block := file.read(1 << 16):
            shown += block
    assert process.wait(60) == 0, shown
    return shown.decode("utf-8", "surrogateescape")


def steers(text):
    """Return what of a text would steer a terminal, or turn its direction."""
    return {character for character in UNSAFE.findall(text)} - ALLOWED


WORDS = (
    ("list",),
    ("show", "latest", "--decks", "--media"),
    ("diff", "--notes"),
    ("runs",),
    ("verify",),
    ("status",),
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_no_answer_steers_a_terminal_or_a_pipe(words, home):
    change(home)
    done = home._run("-c", home.config, *words)
    assert (done.returncode, steers(done.stdout), steers(done.stderr)) == (0, set(), set())
    if words[0] != "verify":
        told = json.loads(home.type(*words, "--json"))
        assert told["schema"] == 1
    shown = typed_at_a_terminal(home.config, *words)
    assert steers(OURS.sub("", shown)) == set()
    assert "\x1b[2J" not in shown


def test_searching_for_what_is_hostile_escapes_it(home):
    change(home)
    for words in (("find", "script"), ("find", ESCAPE), ("export", "latest", "--search", f"tag:{ESCAPE}")):
        done = home._run("-c", home.config, *words)
        assert "Traceback" not in done.stderr
        assert (steers(done.stdout), steers(done.stderr)) == (set(), set())


def test_a_log_of_a_run_holds_one_line_for_each_message(home):
    (home.media / f"unreadable{ESCAPE}\n.png").mkdir()
    change(home)
    home.type("run", "--log-format", "json")
    done = home._run("-c", home.config, "--log-format", "json", "run", "--force")
    assert all(json.loads(line) for line in done.stderr.splitlines())
    assert steers(done.stderr) == set()


def notes(path):
    """Return the notes of a collection as SQLite has them."""
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        return db.execute("select id, guid, flds, tags from notes order by id").fetchall()


def unpacked(form, target, folder):
    """Unpack an export with other programs than ours; return its collection, and its media by name."""
    if form == "anki2":
        return target, {}
    if form == "colpkg":
        return folder / "collection.anki2", imported(target, folder)
    folder.mkdir()
    if form == "dir":
        folder = target
    elif form == "tar.zst":
        subprocess.run(["tar", "--zstd", "-xf", target, "-C", folder], check=True)
    else:
        with zipfile.ZipFile(target) as archive:
            archive.extractall(folder)
    return folder / "collection.anki2", {
        os.fsencode(path.name): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("form", ["dir", "tar.zst", "zip", "colpkg", "anki2"])
def test_everything_comes_back_as_it_was(form, home, tmp_path):
    target = tmp_path / f"out.{form}"
    done = home._run("-c", home.config, "export", "latest", "--format", form, "-o", target)
    assert done.returncode in (0, 3), done.stderr
    assert steers(done.stdout + done.stderr) == set()
    collection, media = unpacked(form, target, tmp_path / "unpacked")
    if form == "colpkg":  # written anew by Anki's library, in a schema that every Anki reads
        assert notes(collection) == notes(home.collection)
    else:
        assert collection.read_bytes() == home.collection.read_bytes()
    if form != "anki2":
        kept = {name: data for name, data in media.items() if data in NAMES}
        assert set(NAMES) - set(kept.values()) == ({NAMES[0]} if form == "colpkg" else set())
        # A zip has only names of UTF-8; Anki has no other, and takes out what it can't have in one.
        assert form in ("zip", "colpkg") or all(name == data for name, data in kept.items())
    assert not list(ROOT.glob("*etc*"))
