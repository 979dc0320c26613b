"""Notes of a package put into our own copy of a collection, by Anki's own importer.

What the importer does of itself, and what is done here so that nothing else comes
of it: it never overwrites the scheduling of a card that is there, so notes that
are to come back as they were are removed first (reviews stay, they are Anki's
history); it takes over the options of decks that are there, so those are given
back; it never changes a note type of ours, but adds a copy where the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anki_backup import library

if TYPE_CHECKING:
    from anki.collection import Collection
    from anki.notes import NoteId

KEPT = {"decks": "mtime_secs, usn, common, kind", "deck_config": "name, mtime_secs, usn, config"}
BATCH = 500


def graft(path: Path, package: Path, guids: Sequence[str], *, scheduling: bool) -> list[str]:
    """Put the notes of a package into the collection at `path`; return the note types that were added.

    With `scheduling`, what is there of these notes is removed first. SourceError
    if the library refuses; the copy is worth nothing then.
    """
    with library.opened(path) as collection:
        before = {kind.id: kind.name for kind in collection.models.all_names_and_ids()}
        kept = {table: _rows(collection, table) for table in KEPT}
        present = _present(collection, guids)
        if scheduling:
            collection.remove_notes(present)
        else:
            _make_older(collection, present)
        _import(collection, package)
        _give_back(collection, kept)
        kinds = collection.models.all_names_and_ids()
        return sorted(kind.name for kind in kinds if kind.id not in before)


def _import(collection: Collection, package: Path) -> None:
    from anki.collection import ImportAnkiPackageOptions, ImportAnkiPackageRequest
    from anki.import_export_pb2 import ImportAnkiPackageUpdateCondition as Update

    options = ImportAnkiPackageOptions(
        with_scheduling=True,
        with_deck_configs=True,
        merge_notetypes=False,
        update_notes=Update.IMPORT_ANKI_PACKAGE_UPDATE_CONDITION_ALWAYS,
        update_notetypes=Update.IMPORT_ANKI_PACKAGE_UPDATE_CONDITION_NEVER,
    )
    collection.import_anki_package(ImportAnkiPackageRequest(package_path=str(package), options=options))


def _present(collection: Collection, guids: Sequence[str]) -> list[NoteId]:
    assert collection.db is not None, "it is open"
    found: list[NoteId] = []
    for at in range(0, len(guids), BATCH):
        some = guids[at : at + BATCH]
        marks = ",".join("?" * len(some))
        found += collection.db.list(f"SELECT id FROM notes WHERE guid IN ({marks})", *some)
    return found


def _make_older(collection: Collection, notes: Sequence[NoteId]) -> None:
    """See to it that no note has the time of the package's: the importer takes such two for one."""
    assert collection.db is not None, "it is open"
    collection.db.executemany("UPDATE notes SET mod = 1 WHERE id = ?", [(note,) for note in notes])


def _rows(collection: Collection, table: str) -> dict[int, list[Any]]:
    assert collection.db is not None, "it is open"
    return {row[0]: list(row[1:]) for row in collection.db.all(f"SELECT id, {KEPT[table]} FROM {table}")}


def _give_back(collection: Collection, kept: dict[str, dict[int, list[Any]]]) -> None:
    """Give decks and their options that were there before what they had."""
    assert collection.db is not None, "it is open"
    for table, rows in kept.items():
        columns = ", ".join(f"{name} = ?" for name in KEPT[table].split(", "))
        for key, row in _rows(collection, table).items():
            if key in rows and rows[key] != row:
                collection.db.execute(f"UPDATE {table} SET {columns} WHERE id = ?", *rows[key], key)
