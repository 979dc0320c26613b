"""I lost something: each answer names the backup that has it."""

from __future__ import annotations

import re
from pathlib import Path

from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest

from tests.web.conftest import Served
from tests.web.lively import after

PAGE = {"Accept": "text/html"}
CHESS = "(SELECT id FROM decks WHERE name LIKE 'Chess endings')"


def entry(served: Served, name: str) -> str:
    """Return what the wizard says of a lost deck; nothing where it says nothing."""
    with served.client() as client:
        shown = client.get("/lost?what=deck", headers=PAGE).text
    return next((each for each in re.findall(r"<li.*?</li>", shown, re.DOTALL) if name in each), "")


def test_a_deck_that_is_gone_was_last_where_any_card_of_it_was(serve):
    served: Served = serve()
    some = f"(SELECT id FROM cards WHERE did = {CHESS} LIMIT 5)"
    last = after(served.place, f"DELETE FROM cards WHERE did = {CHESS} AND id NOT IN {some}")
    full = re.findall(r"/backups/([^/\"]+)", entry(served, "Chess"))[0]
    assert full != last.id, "of one that shrank, it is the last that had most of it"
    after(served.place, f"DELETE FROM cards WHERE did = {CHESS}")
    told = entry(served, "Chess")
    assert "nothing" in told and f'last in the backup of <a href="/backups/{last.id}"' in told
    assert "had more before" in told and f"/backups/{full}/download?format=apkg" in told


def test_a_deck_that_was_imported_again_is_not_lost(serve, tmp_path: Path):
    served: Served = serve()
    backup = served.repository.backups(limit=1)[0]
    path = served.place / "profile" / "collection.anki2"
    with served.client() as client:
        package = tmp_path / "deck.apkg"
        package.write_bytes(
            client.get(f"/backups/{backup.id}/download?format=apkg&deck=Chess%20endings").content
        )
    _in_anki(path, lambda col: col.decks.remove([col.decks.id_for_name("Chess endings")]))
    after(served.place)
    assert "nothing" in entry(served, "Chess")
    options = ImportAnkiPackageOptions(with_scheduling=True, with_deck_configs=True)
    request = ImportAnkiPackageRequest(package_path=str(package), options=options)
    _in_anki(path, lambda col: col.import_anki_package(request))
    after(served.place)
    assert "nothing" not in entry(served, "Chess")


def _in_anki(path: Path, change) -> None:
    collection = Collection(str(path))
    try:
        change(collection)
    finally:
        collection.close()
