"""A catalog that a full disk refuses says so."""

from __future__ import annotations

import peewee
import pytest

from anki_backup.catalog import Catalog
from anki_backup.entries import CatalogError


def test_a_catalog_that_fails_says_what_went_wrong_first(tmp_path):
    catalog = Catalog(tmp_path / "metadata.db", write=True)
    with pytest.raises(CatalogError, match=r"^database or disk is full$"), catalog.transaction():
        # SQLite takes the transaction back by itself, then nothing is left for peewee to take back.
        catalog._sql("rollback")
        raise peewee.OperationalError("database or disk is full")
