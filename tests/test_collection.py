"""What a look inside an .anki2 promises: refuse what is none, count what Anki counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from anki.collection import Collection

from anki_backup import collection
from anki_backup.model import BackupStats
from tests.made_collections import at_schema, make_varied, sql

READABLE = """
    initial_version_2_12_1 ki-broken_media_links ki-collection ki-commas ki-deleted
    ki-duplicated_subdeck_after ki-duplicated_subdeck_before ki-edited ki-empty ki-html ki-linebreaks
    ki-media ki-multideck ki-original ki-split ki-symlinks ki-tiny_korean mediacheck schema16
""".split()
SCHEMAS = (11, 14, 15, 16, 17, 18)


def as_the_library_counts(path: Path, folder: Path) -> tuple[BackupStats, dict[int, tuple[str, int]]]:
    """Open a copy with Anki's library, which upgrades it, and count there."""
    shutil.copy(path, copy := folder / "library.anki2")
    col = Collection(str(copy))
    decks = col.decks.all_names_and_ids()
    home = "SELECT count() FROM cards WHERE CASE odid WHEN 0 THEN did ELSE odid END = ?"
    per_deck = {deck.id: (deck.name, col.db.scalar(home, deck.id)) for deck in decks}
    stats = BackupStats(
        cards=col.card_count(),
        notes=col.note_count(),
        decks=len(decks),
        revlog=col.db.scalar("SELECT count() FROM revlog"),
        notetypes=len(col.models.all_names_and_ids()),
        tags=len(col.tags.all()),
    )
    col.close()
    return stats, per_deck


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_varied(tmp_path_factory.mktemp("newest") / "collection.anki2")


@pytest.fixture
def copy(newest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(newest, tmp_path / "collection.anki2"))


def assert_counted_alike(path: Path, folder: Path) -> None:
    stats, decks = as_the_library_counts(path, folder)
    counted = collection.statistics(path)
    assert counted.stats == stats
    assert {deck.id: (deck.name, deck.cards) for deck in counted.decks} == decks


@pytest.mark.parametrize("version", SCHEMAS)
def test_every_schema_is_counted_as_the_library_counts_it(version: int, newest: Path, tmp_path: Path) -> None:
    path = at_schema(version, newest, tmp_path / "old.anki2")
    assert collection.check(path, thorough=True) == version
    assert_counted_alike(path, tmp_path)


@pytest.mark.parametrize("name", READABLE)
def test_real_collections_are_counted_as_the_library_counts_them(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / f"{name}.anki2"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the real files")
    assert collection.check(path, thorough=True) == collection.check(path, thorough=False)
    assert_counted_alike(path, tmp_path)


def test_a_real_collection_from_the_future_is_accepted_but_not_counted(data_dir: Path) -> None:
    path = data_dir / "schema250.anki2"
    if not path.exists():
        pytest.skip("schema250.anki2 is not among the real files")
    assert collection.check(path, thorough=True) == 250
    assert collection.statistics(path) == (BackupStats(), [])


def test_cards_in_a_filtered_deck_count_for_their_home(newest: Path) -> None:
    decks = {deck.name: deck.cards for deck in collection.statistics(newest).decks}
    assert decks["日本語"] == 10
    assert decks["Cramming"] == decks["Empty"] == 0
    assert "Français::Été::juin" in decks


def test_cards_without_a_deck_are_counted_but_in_no_deck(copy: Path) -> None:
    sql(copy, "UPDATE cards SET did = 4711, odid = 0 WHERE id IN (SELECT id FROM cards LIMIT 3)")
    stats, decks = collection.statistics(copy)
    assert stats.cards == 48
    assert sum(deck.cards for deck in decks) == 45


@pytest.mark.parametrize("number", ["19", "250"])
def test_a_newer_schema_is_accepted_and_its_figures_are_unknown(copy: Path, number: str) -> None:
    sql(copy, f"UPDATE col SET ver = {number}")
    assert collection.check(copy, thorough=True) == int(number)
    assert collection.statistics(copy) == (BackupStats(), [])


def test_text_that_is_no_utf8_is_counted_and_kept(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes().replace(b"Empty", b"\xffmpty").replace(b"easy", b"\xfe\xfdsy"))
    assert collection.check(copy, thorough=True) == 18
    stats, decks = collection.statistics(copy)
    assert stats.tags == 4
    assert "\udcffmpty" in [deck.name for deck in decks]


@pytest.mark.parametrize("junk", ["''", "'['", "'[]'", "x'ff'", "'7'", "'" + "[" * 100_000 + "'"])
def test_lists_that_do_not_parse_leave_their_figures_unknown(newest: Path, tmp_path: Path, junk: str) -> None:
    path = at_schema(11, newest, tmp_path / "old.anki2")
    sql(path, f"UPDATE col SET decks = {junk}, models = {junk}, tags = {junk}")
    stats, decks = collection.statistics(path)
    assert (stats.cards, stats.decks, stats.notetypes, stats.tags) == (48, None, None, None)
    assert decks == []


def test_odd_entries_in_a_list_of_decks_do_no_harm(newest: Path, tmp_path: Path) -> None:
    path = at_schema(11, newest, tmp_path / "old.anki2")
    sql(
        path,
        """UPDATE col SET decks = '{"1": {"name": "a:: b :"}, "x": {}, "2": 3, "3": {"name": "\\ud800"}}'""",
    )
    assert [(deck.id, deck.name) for deck in collection.statistics(path).decks] == [
        (1, "a::b"),
        (2, "blank"),
        (3, "\ud800"),
    ]


def test_looking_changes_nothing_and_leaves_nothing_behind(copy: Path) -> None:
    sql(copy, "PRAGMA journal_mode=WAL")
    before = copy.read_bytes()
    copy.chmod(0o400)
    collection.check(copy, thorough=True)
    collection.statistics(copy)
    assert copy.read_bytes() == before
    assert [entry.name for entry in copy.parent.iterdir() if entry.is_file()] == [copy.name]


@pytest.mark.parametrize(
    "name", [b"a?b", b"a#b", b"100%25", b"a\nb", b"\xff\xfe", b"a b&mode=rwc", b":memory:"]
)
def test_any_name_of_a_file_opens_that_file(
    copy: Path, name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    path = Path(os.fsdecode(name)) / os.fsdecode(name)
    monkeypatch.chdir(tmp_path)
    shutil.copy(copy, path)
    assert collection.check(path, thorough=False) == 18
    assert collection.statistics(path).stats.cards == 48


def test_looking_does_not_import_anki() -> None:
    code = "import sys; from anki_backup import collection, content; sys.exit('anki' in sys.modules)"
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
