"""What pictures need is counted when a backup is made, agrees with Anki, and is never worth a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from anki.collection import Collection

from anki_backup import collection, pictures, runs
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources import profile
from anki_backup.verify import verify
from tests.made_collections import at_schema, make_varied, sql


@pytest.fixture(scope="module")
def varied(tmp_path_factory) -> Path:
    return make_varied(tmp_path_factory.mktemp("varied") / "collection.anki2")


def counted(path: Path) -> pictures.Pictures:
    found = pictures.count(path, collection.statistics(path).decks, datetime.now(UTC))
    assert found is not None
    return found


@pytest.mark.parametrize("version", [11, 14, 15, 18])
def test_every_schema_gives_the_same_counts(varied, tmp_path, version):
    newest = counted(varied)
    older = counted(at_schema(version, varied, tmp_path / "older.anki2"))
    assert older == newest
    assert sum(older.reviews) == 4
    assert older.reviews[-1] == 4


def test_each_card_counts_once_and_the_counts_are_ankis(varied, tmp_path):
    path = at_schema(18, varied, tmp_path / "copy.anki2")
    sql(
        path,
        "UPDATE cards SET type = 2, queue = 2, ivl = 21, due = 0 WHERE id IN (SELECT id FROM cards LIMIT 3)",
        "UPDATE cards SET queue = -1 WHERE id IN (SELECT id FROM cards ORDER BY id DESC LIMIT 2)",
        "UPDATE cards SET queue = -2 WHERE id IN (SELECT id FROM cards WHERE queue = 0 LIMIT 1)",
    )
    found = counted(path)
    col = Collection(str(path))
    cards = {state: len(col.find_cards(query)) for state, query in QUERIES.items()}
    col.close()
    assert {name: getattr(found.states, name) for name in QUERIES} == cards
    assert sum(getattr(found.states, name) for name in found.states.__struct_fields__) == 48
    assert found.due[0] + found.due[1] == 3


QUERIES = {
    "new": "is:new -is:suspended -is:buried",
    "mature": "prop:ivl>=21 -is:suspended -is:buried",
    "suspended": "is:suspended",
    "buried": "is:buried",
}


def test_top_decks_count_all_below_them(varied):
    assert counted(varied).decks[0].name == "Français"
    assert sum(deck.count for deck in counted(varied).decks) == 48


def test_what_cannot_be_counted_is_left_out(varied, tmp_path):
    path = at_schema(18, varied, tmp_path / "copy.anki2")
    sql(path, "UPDATE col SET ver = 99")
    assert pictures.count(path, [], datetime.now(UTC)) is None
    sql(path, "UPDATE col SET ver = 18", "DROP TABLE revlog")
    assert pictures.count(path, [], datetime.now(UTC)) is None


def test_a_backup_has_its_pictures_and_verify_misses_them(varied, tmp_path):
    folder = tmp_path / "profile"
    folder.mkdir()
    at_schema(18, varied, folder / "collection.anki2")
    repository = Repository.create(tmp_path / "repository")
    made = runs.back_up(repository, profile.Profile("home", folder / "collection.anki2"), Options()).backup
    name = repository.manifest(made.id).pictures
    assert pictures.read(repository.store, name) == counted(folder / "collection.anki2")
    assert verify(repository, [], read_data=True).findings == []
    repository.store.path(name).unlink()
    assert [finding.kind for finding in verify(repository, [], read_data=False).findings] == ["pictures"]
