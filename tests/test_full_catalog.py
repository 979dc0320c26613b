"""A catalog that a full disk refuses says so."""

from __future__ import annotations

import resource
from datetime import timedelta

import peewee
import pytest

from anki_backup.catalog import Catalog
from anki_backup.entries import CatalogError
from anki_backup.errors import StorageError
from tests.committed import AT, add, written


def test_a_catalog_that_fails_says_what_went_wrong_first(tmp_path):
    catalog = Catalog(tmp_path / "metadata.db", write=True)
    with pytest.raises(CatalogError, match=r"^database or disk is full$"), catalog.transaction():
        # SQLite takes the transaction back by itself, then nothing is left for peewee to take back.
        catalog._sql("rollback")
        raise peewee.OperationalError("database or disk is full")


def test_what_could_not_be_made_anew_leaves_nothing_and_takes_nothing(tmp_path):
    repository = written(tmp_path / "repository")
    for second in range(20):
        add(repository, AT + timedelta(seconds=second))
    repository.index()
    before = sorted(path.name for path in (repository.root / "state").iterdir())
    unlimited = resource.prlimit(0, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    try:
        with pytest.raises(StorageError, match=r"can't write the catalog"):
            repository.rebuild_catalog()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert sorted(path.name for path in (repository.root / "state").iterdir()) == before
    assert len(repository.backups()) == 20
