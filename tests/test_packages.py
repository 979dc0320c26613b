"""Packages: Anki's own importer gets back every row and every byte of media, of all that it can take."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import sqlite3
import zipfile

import pytest
import zstandard
from anki._backend import RustBackend
from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest

from anki_backup import filenames, formats, frames, library, runs
from anki_backup.contents import Contents
from anki_backup.errors import DamageError, NotFoundError, UsageError
from anki_backup.formats import Options
from anki_backup.gather import Options as RunOptions
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.made_collections import fold, make_varied, sql

MEDIA = {
    b"cat.jpg": b"\xff\xd8 a picture",
    b"big.txt": b"text " * 1000,
    b"empty.txt": b"",
    "\U0001f600.png".encode(): b"a smile",
    "Übung ä.mp3".encode(): b"a sound",
    b"large.bin": random.Random(1).randbytes((16 << 20) + 1),
    b"large.txt": b"%d some text " * (2 << 20),
}
# Names that Anki refuses in a package, and what becomes of them.
ODD = {
    b"\xff.mp3": None,
    b"A:B.PNG": b"AB.PNG",
    b"cat:.jpg": None,
    b"con.gif": b"con_.gif",
    "e\u0301.png".encode(): "é.png".encode(),
    b"dot.": b"dot._",
    "\U0001f970.png".encode(): b".png",
    b"x" * 130 + b".jpg": b"x" * 115 + b".jpg",
}
# All that an import changes, besides what was left out.
REWRITTEN = {"col": ("mod", "scm")}
REWRITTEN_OLD = {"col": ("mod", "scm"), "config": ("usn", "mtime_secs")}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    folder = home / "collection.media"
    folder.mkdir()
    for name, data in {**MEDIA, **dict.fromkeys(ODD, b"odd")}.items():
        (folder / os.fsdecode(name)).write_bytes(data)
    make_varied(home / "collection.anki2")
    with library.opened(home / "collection.anki2") as col:
        note = col.get_note(col.find_notes("deck:Français::Été")[0])
        note.fields[1] += '<img src="cat.jpg"> [sound:big.txt] <img src="\U0001f600.png">'
        col.update_note(note)
    sql(home / "collection.anki2")
    repository = Repository.create(home / "repository")
    backup = runs.back_up(repository, Profile("home", home), RunOptions(threads=1)).backup
    return home, Contents(repository, backup)


@pytest.fixture
def export(original, tmp_path):
    def write(word, **options):
        path = tmp_path / f"out.{word}"
        warnings = formats.write(word, original[1], path, overwrite=True, options=Options(**options))
        return path, warnings

    return write


def imported(package, folder):
    """Restore a colpkg as Anki's File > Import does; return its files."""
    folder.mkdir()
    RustBackend().import_collection_package(
        col_path=str(folder / "collection.anki2"),
        backup_path=str(package),
        media_folder=str(folder / "collection.media"),
        media_db=str(folder / "media.db2"),
    )
    media = folder / "collection.media"
    return {os.fsencode(path.name): path.read_bytes() for path in media.iterdir()} if media.exists() else {}


def added(package, folder, **options):
    """Add an apkg to an empty collection; return that, open."""
    folder.mkdir(exist_ok=True)
    col = Collection(str(folder / "collection.anki2"))
    wanted = ImportAnkiPackageOptions(with_scheduling=True, with_deck_configs=True, **options)
    col.import_anki_package(ImportAnkiPackageRequest(package_path=str(package), options=wanted))
    return col


def rows(path, without):
    """Return every table with its rows, but for the columns named."""
    db = sqlite3.connect(path)
    db.create_collation("unicase", fold)
    names = [
        row[0]
        for row in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
    ]
    found = {}
    for name in names:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        kept = ", ".join(column for column in columns if column not in without.get(name, ()))
        found[name] = sorted(map(repr, db.execute(f"SELECT {kept} FROM {name}")))
    db.close()
    return found


@pytest.mark.parametrize("legacy", [False, True], ids=["today", "legacy"])
def test_anki_restores_every_row_and_every_file_of_a_colpkg(legacy, export, original, tmp_path):
    package, warnings = export("colpkg", legacy=legacy)
    media = imported(package, tmp_path / "restored")
    assert media == MEDIA | {name: b"odd" for name in ODD.values() if name}
    assert len(warnings) == len(ODD)
    rewritten = REWRITTEN_OLD if legacy else REWRITTEN
    restored = rows(tmp_path / "restored" / "collection.anki2", rewritten)
    assert restored == rows(original[0] / "collection.anki2", rewritten)


def test_what_goes_into_a_pipe_is_what_goes_into_a_file_and_nothing_is_sought(export, original):
    class Sink:
        def __init__(self):
            self.parts = []

        def write(self, data):
            self.parts.append(data)

    for word in ("colpkg", "zip", "tar.zst", "anki2"):
        path, warnings = export(word)
        for _ in range(2):
            sink = Sink()
            assert formats.stream(word, original[1], sink) == warnings
            assert b"".join(sink.parts) == path.read_bytes()
            assert max(map(len, sink.parts)) < 20 << 20


def test_a_collection_over_deltas_comes_back_too(original, tmp_path):
    home = tmp_path / "other"
    shutil.copytree(original[0], home, ignore=shutil.ignore_patterns("large*"))
    sql(home / "collection.anki2", "UPDATE notes SET flds = 'edit ' || flds WHERE id % 2")
    repository = Repository.open(home / "repository")
    backup = runs.back_up(repository, Profile("home", home), RunOptions(threads=1)).backup
    contents = Contents(repository, backup)
    assert contents.frame(backup.collection_sha256) is None
    formats.write("colpkg", contents, tmp_path / "out.colpkg", options=Options(media=False))
    assert imported(tmp_path / "out.colpkg", tmp_path / "restored") == {}
    restored = rows(tmp_path / "restored" / "collection.anki2", REWRITTEN)
    assert restored == rows(home / "collection.anki2", REWRITTEN)


def test_names_are_told_to_be_plain_only_if_anki_takes_them_as_they_are():
    letters = [chr(code) for code in random.Random(2).sample(range(0x20, 0x2FFFF), 1500)]
    names = [f"a{letter}" for letter in letters if not 0xD800 <= ord(letter) < 0xE000]
    names += [f"{letter}.jpg" for letter in map(chr, range(0x20, 0x250)) if letter != "/"]
    names += ["nul", "com1.x", "lpt9", "CON.png", "a ", "a.", "x" * 101, "e\u0301", "thumbs.db", ".", ".."]
    plain = [name for name in names if filenames.is_plain(name)][::3]
    assert len(plain) > 200
    assert library.media_names(plain) == plain


def test_a_frame_of_raw_blocks_is_read_by_every_decoder():
    for size in (0, 1, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 3 << 20):
        data = random.Random(size).randbytes(size)
        frame = frames.stored(data)
        assert zstandard.frame_content_size(frame) == size
        assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).read() == data


@pytest.mark.parametrize(
    "options, notes, cards, decks",
    [
        ({}, 24, 48, "a_b% Cramming Français::Été Français::Été::juin 日本語"),
        ({"deck": "Français::Été"}, 10, 20, "Français::Été Français::Été::juin"),
        ({"deck": "français"}, 10, 20, "Français::Été Français::Été::juin"),
        ({"deck": "a_b%"}, 5, 10, "a_b%"),
        ({"deck": "日本語"}, 5, 10, "日本語"),
        ({"deck": "Cramming"}, None, None, "日本語"),
        ({"search": "deck:Cramming"}, None, None, "日本語"),
        ({"search": '"front 3*"'}, 1, 2, "a_b%"),
    ],
    ids=str,
)
def test_a_part_comes_back_with_its_ids_its_scheduling_and_its_home(
    options, notes, cards, decks, export, original, tmp_path
):
    package, _ = export("apkg", **options)
    with library.opened(shutil.copy(original[0] / "collection.anki2", tmp_path / "copy.anki2")) as before:
        col = added(package, tmp_path / "new")
        try:
            assert notes is None or (col.note_count(), col.card_count()) == (notes, cards)
            homes = (
                "SELECT id, nid, ord, coalesce(nullif(odue, 0), due), ivl, factor, reps, lapses FROM cards"
            )
            known = {tuple(row) for row in before.db.all(homes)}
            assert {tuple(row) for row in col.db.all(homes)} <= known
            reviews = "SELECT * FROM revlog WHERE cid IN (SELECT id FROM cards)"
            kept = {row[0] for row in before.db.all(reviews)}
            assert {row[0] for row in col.db.all(reviews)} <= kept
            used = {col.decks.name(deck) for deck in col.db.list("SELECT DISTINCT did FROM cards")}
            assert used >= set(decks.split()) and len(used) <= len(decks.split()) + 1
        finally:
            col.close()


def test_a_part_brings_only_the_media_that_its_notes_use(export, tmp_path):
    package, warnings = export("apkg", deck="Français")
    added(package, tmp_path / "new").close()
    media = {
        os.fsencode(path.name): path.read_bytes()
        for path in (tmp_path / "new" / "collection.media").iterdir()
    }
    assert media == {name: MEDIA[name] for name in (b"cat.jpg", b"big.txt", "\U0001f600.png".encode())}
    assert all("cat" in warning for warning in warnings)
    package, _ = export("apkg", deck="Français", media=False)
    assert zipfile.ZipFile(package).namelist() == ["meta", "collection.anki21b", "collection.anki2", "media"]


def test_without_scheduling_cards_are_new_and_without_reviews(export, tmp_path):
    for legacy in (False, True):
        package, _ = export("apkg", scheduling=False, legacy=legacy)
        col = added(package, tmp_path / f"new{legacy}")
        assert col.db.list("SELECT DISTINCT type FROM cards") == [0]
        assert (col.db.scalar("SELECT count() FROM revlog"), col.card_count()) == (0, 48)
        col.close()


def test_what_can_not_be_found_is_told_with_what_is_near(export, tmp_path):
    with pytest.raises(NotFoundError, match="no deck") as failed:
        export("apkg", deck="Francais::Ete")
    assert "Français::Été" in failed.value.hint
    for nothing in ({"deck": "Empty"}, {"search": "tag:nobody"}):
        with pytest.raises(NotFoundError):
            export("apkg", **nothing)
    for mistake in ("(a or", 'deck:"', "is:nonsense", "prop:x=1"):
        with pytest.raises(UsageError, match="Anki can't search") as failed:
            export("apkg", search=mistake)
        assert "\u2068" not in failed.value.message and "\n" not in failed.value.message
    for word, options in (
        ("colpkg", {"deck": "x"}),
        ("zip", {"search": "x"}),
        ("dir", {"scheduling": False}),
    ):
        with pytest.raises(UsageError, match="whole"):
            export(word, **options)
    with pytest.raises(UsageError):
        export("anki2", legacy=True)
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize("word", ["colpkg", "apkg", "zip", "tar.zst"])
def test_damaged_media_are_left_out_of_a_package_that_anki_still_takes(word, original, tmp_path):
    shutil.copytree(original[0] / "repository", tmp_path / "repository")
    repository = Repository.open(tmp_path / "repository")
    for data in (MEDIA[b"big.txt"], MEDIA[b"large.bin"]):
        path = repository.store.path(hashlib.sha256(data).hexdigest())
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    contents = Contents(repository, repository.backups()[0])
    package = tmp_path / f"out.{word}"
    with pytest.raises(DamageError, match=r"big\.txt"):
        formats.write(word, contents, package)
    left = set(MEDIA) - {b"big.txt", b"large.bin"}
    if word == "colpkg":
        assert set(imported(package, tmp_path / "restored")) >= left
    elif word == "apkg":
        added(package, tmp_path / "new").close()
        assert b"cat.jpg" in os.listdir(os.fsencode(tmp_path / "new" / "collection.media"))
    elif word == "zip":
        names = zipfile.ZipFile(package).namelist()
        assert "media/cat.jpg" in names and "media/big.txt" not in names
