"""What tests of the import share: a home, its states day by day, and the import itself."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from anki_backup.adopt import Adoption
from anki_backup.gather import Options
from tests.homes import Home
from tests.made_collections import sql

DAY = 86_400
START = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
EDIT = "UPDATE notes SET flds = '{0} ' || flds, mod = {0} WHERE id = (SELECT min(id) FROM notes)"


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


@pytest.fixture
def state(tmp_path, made):
    """Return a function that makes the collection as it was on a day of 2025, and returns its bytes."""

    def make(day, *statements):
        path = tmp_path / "state.anki2"
        shutil.copy(made, path)
        edits = [EDIT.format(n) for n in range(1, day + 1)]
        sql(path, f"UPDATE col SET mod = {(START + day * DAY) * 1000}", *edits, *statements)
        return path.read_bytes()

    return make


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def adopt(home, *paths, plan=False, zone=UTC, source="home", **options):
    adoption = Adoption(home.repository, source, zone, Options(**{"threads": 1, **options}))
    (adoption.plan if plan else adoption.adopt)(list(paths))
    return adoption


def ids(home, source="home"):
    return [backup.id for backup in home.repository.backups(source)]


def collection_of(home, backup_id, tmp_path):
    home.repository.restore_collection(backup_id, tmp_path / "given.anki2")
    return (tmp_path / "given.anki2").read_bytes()
