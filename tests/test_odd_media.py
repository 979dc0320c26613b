"""Media that Anki keeps to one machine are backed up and told; what is far too large is not read at all."""

from __future__ import annotations

import os
import time

import pytest

from tests.homes import Home

NAME = "Anki has no such names"
ODD = {
    b"CON.jpg": NAME,
    b"dot.": NAME,
    b"back\\slash.jpg": NAME,
    b"\xff.jpg": NAME,
    b"A\xcc\x88.png": NAME,
    b"thumbs.db": "Anki passes over such files",
    b".DS_Store": "Anki passes over such files",
    b"x" * 121: "its name has more than 120 bytes",
    b"empty.jpg": "it is empty",
    b"film.mp4": "it is larger than 100 MiB",
}


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


def add(home, name, data=b"a picture", size=None):
    path = os.path.join(os.fsencode(home.folder / "collection.media"), name)
    with open(path, "wb") as file:
        file.write(data)
        if size is not None:
            file.truncate(size)


@pytest.mark.parametrize("name", ODD)
def test_what_anki_will_not_sync_is_kept_and_told_once(home, name, monkeypatch):
    monkeypatch.setattr("anki_backup.media.RACY_NS", -(10**9))  # no file is too young to be remembered
    add(home, name, size={b"empty.jpg": 0, b"film.mp4": (100 << 20) + 1}.get(name))
    result = home.run()
    assert [warning.partition(": ")[2] for warning in result.warnings] == [ODD[name]]
    assert "is kept, but Anki will not sync it" in result.warnings[0]
    assert name in {file.name for file in home.repository.media(result.backup.id)}
    assert not result.incomplete
    add(home, b"dog.jpg")
    assert home.run().warnings == ()


def test_of_many_only_some_are_named(home):
    for number in range(20):
        add(home, b"no %d?" % number)
    *named, rest = home.run().warnings
    assert len(named) == 8
    assert rest == "Anki will not sync 12 more media files, which are kept too"


def test_the_names_of_anki_are_no_matter_for_a_word(home):
    for name in ("日本語.jpg", "Ä.png", "a b.mp3", "console.png", "_font.ttf"):
        add(home, name.encode())
    assert home.run().warnings == ()


def test_a_file_of_a_terabyte_of_holes_is_left_out_unread(home):
    add(home, b"holes.mp4", size=1 << 40)
    begun = time.process_time()
    result = home.run()
    assert result.warnings == ("holes.mp4 in the media folder is larger than 16 GiB: left out",)
    assert [item.name for item in home.repository.manifest(result.backup.id).skipped] == ["holes.mp4"]
    assert time.process_time() - begun < 30, "it was read"
    assert home.is_sound()
