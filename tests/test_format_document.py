"""The document of the format is enough to get a backup back, and leaves nothing out."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from anki_backup import catalog, chains, deltas, header, identity, model, pointer, repository, runs
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from tests.conftest import ROOT
from tests.made_collections import make_varied, sql
from tests.test_house import ORDER

DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
BY_DOCUMENT = ROOT / "tests" / "restore_by_document.py"
BACKUPS = 68
ODD = [b"caf\xe9.txt", b'new\nline "quoted".txt', "\u65e5\u672c.txt".encode()]
SEALED = [
    model.BackupManifest,
    model.BackupStats,
    model.DeckStats,
    model.SourceRevision,
    model.Durations,
    model.Skipped,
    model.CaptureFacts,
    identity.Identity,
    repository.Decks,
    pointer.Pointers,
    model.Run,
    model.RunError,
    model.Alarm,
]


class Made:
    """A repository of which it is known what each backup must give back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profile = folder / "profile"
        self.media = self.profile / "collection.media"
        self.media.mkdir(parents=True)
        self.repository = Repository.create(folder / "repository")
        self.expected: list[tuple[str, str, dict[bytes, bytes]]] = []

    def run(self, *statements: str) -> None:
        """Change the collection and back it up."""
        path = self.profile / "collection.anki2"
        sql(path, *statements)
        result = runs.back_up(self.repository, Profile("home", self.profile), Options(threads=1))
        assert result.backup, result
        media = {name: self.content(name) for name in os.listdir(bytes(self.media))}
        self.expected.append((result.backup.id, hashlib.sha256(path.read_bytes()).hexdigest(), media))

    def content(self, name: bytes) -> bytes:
        with open(bytes(self.media) + b"/" + name, "rb") as file:
            return file.read()

    def keep(self, name: bytes, data: bytes) -> None:
        with open(bytes(self.media) + b"/" + name, "wb") as file:
            file.write(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a repository whose newest chain passes position 64: whole, plain, skipping and moved."""
    if not shutil.which("zstd"):
        pytest.skip("the zstd program is not installed")
    found = Made(tmp_path_factory.mktemp("format"))
    drawn = random.Random(1)
    make_varied(found.profile / "collection.anki2")
    words = "INSERT INTO config VALUES ('w%d', 0, 0, '%s')"
    for number in range(40):
        found.keep(b"%02d.txt" % number, drawn.randbytes(200) if number % 2 else b"text " * (200 + number))
    found.run(*(words % (number, drawn.randbytes(900).hex()) for number in range(200)))
    for number in range(1, BACKUPS):
        if number < len(ODD) + 1:
            found.keep(ODD[number - 1], b"odd %d" % number)
        statements = [f"UPDATE config SET val = '{drawn.randbytes(90).hex()}' WHERE KEY = 'w{number}'"]
        if number == BACKUPS - 2:
            statements += ["DELETE FROM config WHERE KEY LIKE 'w1%7'", "VACUUM"]
        if number == 30:
            statements += [words % (1000 + at, drawn.randbytes(500).hex()) for at in range(30)]
        found.run(*statements)
    return found


def restored(made: Made, number: int, target: Path) -> dict[str, dict]:
    """Restore by the document, in a Python that knows nothing of this program."""
    backup, collection, media = made.expected[number]
    done = subprocess.run(
        [sys.executable, "-I", "-S", BY_DOCUMENT, made.repository.root, backup, target],
        capture_output=True,
        check=False,
        cwd=target.parent,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert hashlib.sha256((target / "collection.anki2").read_bytes()).hexdigest() == collection
    folder = bytes(target / "collection.media")
    assert set(os.listdir(folder)) == set(media)
    for name, data in media.items():
        with open(folder + b"/" + name, "rb") as file:
            assert file.read() == data
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", [0, 1, 30, 63, 64, BACKUPS - 3, BACKUPS - 1])
def test_a_backup_is_had_back_by_the_document_alone(made, tmp_path, number):
    told = restored(made, number, tmp_path / "target")
    assert told["media"]["raw"] and told["media"]["zstd"]
    assert told["media_list"]["whole"] == 1
    assert (told["media_list"]["plain"] > 0) == (number > 0)
    assert told["collection"]["whole"] == 1
    if number < 64:
        assert told["collection"]["plain"] == number
        assert told["collection"]["skip"] == 0
    else:
        assert told["collection"]["plain"] == number - 64
        assert told["collection"]["skip"] == 1
    assert told["collection"]["moved"] == (1 if number >= BACKUPS - 2 else 0)


def test_the_page_that_restores_knows_nothing_of_the_program():
    assert "import anki" not in BY_DOCUMENT.read_text() and "from anki" not in BY_DOCUMENT.read_text()
    imported = re.findall(r"^(?:import|from) (\w+)", BY_DOCUMENT.read_text(), re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names


@pytest.mark.parametrize("damage", [-1, 70, 20])
def test_the_page_that_restores_is_no_more_gullible_than_the_program(made, tmp_path, damage):
    root = Path(shutil.copytree(made.repository.root, tmp_path / "copy"))
    backup, collection, _ = made.expected[3]
    path = root / "objects" / collection[:2] / collection[2:]
    data = bytearray(path.read_bytes())
    data[damage] ^= 1
    path.write_bytes(data)
    arguments = [sys.executable, "-I", "-S", BY_DOCUMENT, root, backup, tmp_path / "target"]
    done = subprocess.run(arguments, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Damaged" in done.stderr
    assert not (tmp_path / "target").exists()


def text() -> str:
    return DOCUMENT.read_text("utf-8")


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one of its rank or a higher one."""
    rank = heading.split(" ", maxsplit=1)[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"there is no section {heading!r}"
    return found[1]


def test_every_room_is_on_the_tour_in_the_order_of_imports():
    rooms = re.findall(r"^\| `(\w+)/?` \|", section("## The rooms"), re.MULTILINE)
    here = {path.stem for path in (ROOT / "anki_backup").glob("[a-z]*.py")} | {
        path.parent.name for path in (ROOT / "anki_backup").glob("*/__init__.py")
    }
    assert rooms == [room for room in ORDER if room in here]


@pytest.mark.parametrize("struct", SEALED, ids=lambda struct: struct.__name__)
def test_every_field_that_is_stored_is_explained(struct: type[Struct]):
    format_of_it = section("## The repository format, version 1")
    missing = [name for name in struct.__struct_fields__ if f"`{name}`" not in format_of_it]
    assert missing == []


def test_every_event_is_explained():
    source = (ROOT / "anki_backup" / "events.py").read_text()
    kinds = "run_started run pin unpin alarm acknowledge proof rollback folded".split()
    explained = section("### `state/events.jsonl`")
    assert [kind for kind in kinds if kind not in source or f"`{kind}`" not in explained] == []


def test_the_example_of_a_table_is_one():
    (example,) = re.findall(r"`((?:[0-9a-f]{2} )+[0-9a-f]{2})` is the table", text())
    table = deltas.Table(4096, (deltas.Op(5, 1, 1),), (deltas.Frame(1, 43, ()),))
    assert deltas.unpack(bytes.fromhex(example)) == table


def test_the_numbers_in_the_document_are_those_of_the_program():
    format_of_it = section("## The repository format, version 1")
    assert model.FORMAT == 1
    for number in (*chains.SKIPS, header.HEADER_BYTES, header.CLONE_OFFSET, chains.STEPS_LIMIT):
        assert re.search(rf"\b{number}\b", format_of_it), number
    assert f"{deltas.FRAME_LIMIT >> 20} MiB" in format_of_it
    assert f"{deltas.TABLE_LIMIT >> 20} MiB" in format_of_it
    assert f"{model.DOCUMENT_LIMIT >> 20} MiB" in format_of_it
    assert f"`user_version` is {catalog.VERSION}" in format_of_it
    assert header.MAGIC.decode() in format_of_it
