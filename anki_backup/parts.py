"""A part of a collection, or all of it, as Anki's own exporter writes it: by deck, or by Anki's search.

All of this is for copies of our own, opened by `library`: exporting writes into
what it reads, and the filtered decks of a copy are emptied, so that their cards
stand in the decks that they come from, with the due dates that they had there.
"""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from anki_backup.errors import NotFoundError, UsageError
from anki_backup.library import said

if TYPE_CHECKING:
    from anki.collection import Collection

LEVEL = "::"
NEAREST = 3
LIST_LIMIT = 256 << 20


def notes_of_deck(collection: Collection, name: str, backup_id: str) -> list[int]:
    """Return the notes with a card whose home, or place, is a deck or one under it.

    NotFoundError, with the nearest names, where there is no such deck, or nothing in it.
    """
    decks = {deck.name: deck.id for deck in collection.decks.all_names_and_ids()}
    wanted = _folded(name)
    chosen = [
        deck
        for known, deck in decks.items()
        if _folded(known) == wanted or _folded(known).startswith(wanted + LEVEL)
    ]
    if not any(_folded(known) == wanted for known in decks):
        folded = {_folded(known): known for known in decks}
        near = [folded[found] for found in get_close_matches(wanted, folded, NEAREST)]
        raise NotFoundError(
            f"there is no deck {name!r}",
            hint=f"Did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"See them: ankibak show {backup_id} --decks",
        )
    listed = ",".join(map(str, chosen))
    notes = _ids(collection, f"SELECT DISTINCT nid FROM cards WHERE did IN ({listed}) OR odid IN ({listed})")
    if not notes:
        raise NotFoundError(f"there is no card in the deck {name!r}", hint="Choose another with --deck.")
    return notes


def notes_found(collection: Collection, query: str) -> list[int]:
    """Return the notes that Anki's search finds; UsageError if Anki can't read it, NotFoundError for none."""
    from anki.errors import SearchError

    try:
        notes = sorted(int(note) for note in collection.find_notes(query))
    except SearchError as error:
        raise UsageError(
            f"Anki can't search for {query!r}: {said(error)}",
            hint='Write it as in Anki\'s browser: tag:hard, deck:French, added:7, "two words".',
        ) from error
    if not notes:
        raise NotFoundError(f"no note is found by {query!r}", hint="Try it in Anki's browser.")
    return notes


def _ids(collection: Collection, query: str) -> list[int]:
    assert collection.db is not None, "it is open"
    return sorted(int(value) for value in collection.db.list(query))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def empty_filtered_decks(collection: Collection) -> None:
    """Bring every card that is in a filtered deck home."""
    for deck in collection.decks.all_names_and_ids(include_filtered=True):
        if collection.decks.is_filtered(deck.id):  # type: ignore[arg-type]
            collection.sched.empty_filtered_deck(deck.id)  # type: ignore[arg-type]


def write_apkg(
    collection: Collection,
    path: Path,
    notes: Sequence[int] | None,
    *,
    scheduling: bool,
    media: bool,
    legacy: bool = False,
) -> None:
    """Write notes with all their cards, or everything where `notes` is None, as an .apkg."""
    from anki.collection import ExportAnkiPackageOptions, NoteIdsLimit

    if notes is not None:
        empty_filtered_decks(collection)
    options = ExportAnkiPackageOptions(
        with_scheduling=scheduling, with_deck_configs=scheduling, with_media=media, legacy=legacy
    )
    limit = None if notes is None else NoteIdsLimit(list(notes))  # type: ignore[arg-type]
    collection.export_anki_package(out_path=str(path), options=options, limit=limit)


def write_old_colpkg(collection: Collection, path: Path, *, media: bool) -> None:
    """Write everything as a .colpkg that Anki reads since 2012; the collection is closed by it."""
    collection.export_collection_package(str(path), include_media=media, legacy=True)


def listed_media(package: zipfile.ZipFile, *, old: bool) -> list[str]:
    """Return the names of the media in a package that the library wrote, in the order of their numbers."""
    data = package.read("media")
    if old:
        names = json.loads(data)
        return [names[str(number)] for number in range(len(names))]
    from anki.import_export_pb2 import MediaEntries

    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
        return [entry.name for entry in MediaEntries.FromString(reader.read(LIST_LIMIT)).entries]
