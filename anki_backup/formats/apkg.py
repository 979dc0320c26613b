"""`apkg`: a deck, what a search finds, or everything, as a package that Anki adds to a collection.

Anki's own exporter chooses and writes; it sees empty files in place of the media,
which are then streamed from objects into what it wrote.
"""

from __future__ import annotations

from pathlib import Path

from anki_backup import filenames, library, packages, parts
from anki_backup.formats import Options, Outcome
from anki_backup.pieces import Contents
from anki_backup.temporary import TemporaryFolder
from anki_backup.zips import Sink


def stream(contents: Contents, sink: Sink, options: Options) -> Outcome:
    """Write the package, once Anki's library has made it in a temporary folder."""
    named = filenames.named(contents.media() if options.media else [], library.media_names)
    with TemporaryFolder(prefix="ankibak-") as place:
        path, package = Path(place) / "collection.anki2", Path(place) / "package"
        contents.collection(path)
        packages.put_stand_ins(path.with_suffix(".media"), named.files)
        with library.opened(path) as collection:
            notes = None
            if options.deck is not None:
                notes = parts.notes_of_deck(collection, options.deck, contents.backup.id)
            elif options.search is not None:
                notes = parts.notes_found(collection, options.search)
            wanted = {"scheduling": options.scheduling, "media": options.media, "legacy": options.legacy}
            parts.write_apkg(collection, package, notes, **wanted)
        path.unlink()
        used, damaged = packages.fill(package, named.files, contents, sink, old=options.legacy)
    # What is odd about a file matters only where the package has it.
    told = [text for text in named.warnings if notes is None or any(repr(name) in text for name in used)]
    return Outcome(told, damaged)
