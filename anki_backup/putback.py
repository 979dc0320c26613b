"""Putting notes of a backup back: prepare, look, then do it to the live collection of a profile.

`prepare` changes nothing: it takes the notes out of the backup and tries it on a
copy. `perform` backs up what is there, does the same to a copy of that, compares
every note with what it was, and lets `swap` put the copy in place, by one rename.
"""

from __future__ import annotations

import os
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from anki_backup import collection, filenames, grafts, library, packages, parts, regain, staging, swap
from anki_backup import intent as intents
from anki_backup.errors import BusyError, SourceError, UsageError
from anki_backup.gather import Options
from anki_backup.hold import held, merge
from anki_backup.intent import Intent
from anki_backup.model import Backup, MediaFile, file_name_text
from anki_backup.places import Place
from anki_backup.regain import Regained
from anki_backup.repository import Repository
from anki_backup.rollback import look_again
from anki_backup.runs import back_up_held
from anki_backup.sources import Source
from anki_backup.temporary import TemporaryFolder

AGAIN = (
    "deleted again later, they may make a sync ask for Check Database, and then which side is to win,"
    " as after an import in Anki"
)


class Wish(NamedTuple):
    """Which notes of which backup are wanted, by whom; without `scheduling` cards that are there stay."""

    backup: Backup
    who: str
    deck: str | None = None
    search: str | None = None
    scheduling: bool = True

    @property
    def export(self) -> str:
        """The command that takes the same notes out as a package."""
        chosen = ("--search", self.search or "") if self.deck is None else ("--deck", self.deck)
        return shlex.join(["ankibak", "export", self.backup.id, *chosen])


class Prepared(NamedTuple):
    """Notes that were taken out of a backup, and what putting them back would do."""

    wish: Wish
    place: Place
    then: Path
    package: Path
    notes: Regained
    kinds: list[str]
    media: list[MediaFile]
    warnings: list[str]
    saved: Backup | None
    schema: int


class Done(NamedTuple):
    """What putting back came to; `warnings` is what a person should know."""

    event: int
    safety: str
    warnings: list[str]


@contextmanager
def prepare(
    repository: Repository, source: Source, wish: Wish, saved: Backup | None = None, *, dry: bool = False
) -> Iterator[Prepared]:
    """Take the notes out into a folder of our own, and try on a copy what putting them back does.

    That is a copy of the profile, or, for an account, of the backup `saved`.

    NotFoundError if the backup has no such notes, UsageError if Anki can't search for
    them, SourceError if Anki has the collection open. Only that folder is written.
    """
    place = Place.of(repository.root, source)
    _refuse(source, place, wish)
    assert place.live or saved, "an account is looked at by its backup"
    work = repository.root / "cache"
    if not dry and place.live:
        with held(*place.databases):  # better told now than after the question
            pass
    if not dry:
        work.mkdir(mode=0o700, exist_ok=True)
    with (
        TemporaryFolder(prefix=swap.WORK, dir=None if dry else work) as folder,
        swap.used(folder),
    ):
        then, package = Path(folder) / "then.anki2", Path(folder) / "notes.apkg"
        repository.restore_collection(wish.backup.id, then)
        present = Path(folder) / "present.anki2"
        if place.live:
            seen = _names(place.media)
            _copy(source, present)
        else:
            assert saved is not None, "as said above"
            seen = {file.name for file in repository.media(saved.id)}
            repository.restore_collection(saved.id, present)
        with collection.connect(present) as db:
            schema = collection.schema(db) or 0
        named = filenames.named(repository.media(wish.backup.id), library.media_names)
        packages.put_stand_ins(then.with_suffix(".media"), named.files)
        notes, names, kinds = _take(wish, then, present, package)
        known = dict(named.files)
        files = [structs.replace(known[name], name=name.encode()) for name in names]
        warnings = [text for text in named.warnings if any(repr(name) in text for name in names)]
        wanted = [file for file in files if file.name not in seen]
        yield Prepared(wish, place, then, package, notes, kinds, wanted, warnings, saved, schema)


def _refuse(source: Source, place: Place, wish: Wish) -> None:
    if place.server:
        raise UsageError(
            f"source {source.name} is a sync server's folder, which devices would not be told of",
            hint=f"Take the notes out, import them in Anki, and sync: {wish.export}",
        )
    if place.live and not place.collection.exists():
        raise SourceError(f"there is no collection at {place.collection}", hint="Start Anki there once.")


def _names(folder: Path | None) -> set[bytes]:
    return set(os.listdir(bytes(folder))) if folder and folder.is_dir() else set()


def _copy(source: Source, path: Path) -> None:
    """Copy what is there now, merged with its WAL."""
    work = path.with_name("capture")
    work.mkdir()
    capture = source.capture(work, 0)
    if capture.private:
        os.rename(capture.path, path)
    else:
        shutil.copyfile(capture.path, path)
        if source.look() != capture.sighting:
            raise SourceError(f"{capture.path} changed while it was read", hint="Close Anki, then run again.")
    collection.check(path, thorough=True)


def _take(wish: Wish, then: Path, present: Path, package: Path) -> tuple[Regained, list[str], list[str]]:
    """Choose the notes, write those that are not as they were into the package, and try it on a copy.

    Returns what was found, the media that the notes need, and the note types that would be added.
    """
    with library.opened(then) as opened:
        if wish.deck is not None:
            chosen = parts.notes_of_deck(opened, wish.deck, wish.backup.id)
        else:
            chosen = parts.notes_found(opened, wish.search or "")
        parts.empty_filtered_decks(opened)
    found = regain.compare(then, present, chosen, scheduling=wish.scheduling)
    if not found.wanted:
        return found, [], []
    with library.opened(then) as opened:
        parts.write_apkg(opened, package, found.wanted, scheduling=True, media=True)
    with zipfile.ZipFile(package) as made:
        names = parts.listed_media(made, old=False)
    return found, names, graft(wish, then, present, package, found)


def graft(wish: Wish, then: Path, path: Path, package: Path, found: Regained) -> list[str]:
    """Put the notes into a copy, and see that each is there as it was; SourceError if one is not."""
    guids = regain.guids(then, found.wanted)
    kinds = grafts.graft(path, package, guids, scheduling=wish.scheduling)
    collection.check(path, thorough=True)
    left = regain.compare(then, path, found.wanted, scheduling=wish.scheduling)
    if left.wanted:
        raise SourceError(
            f"Anki's importer would not put {len(left.wanted)} of {len(found.wanted)} notes back"
            f" as they were ({', '.join(map(repr, left.texts))}), so nothing was changed",
            hint=f"Take them out, and look at them in Anki: {wish.export}",
        )
    if wish.scheduling and (lost := regain.lacking_reviews(then, path, found.wanted)):
        raise SourceError(f"Anki's importer would not bring {lost} reviews back, so nothing was changed")
    return kinds


def perform(repository: Repository, source: Source, prepared: Prepared, options: Options) -> Done:
    """Make it so, under the lock: all of it, or nothing. The present state is backed up and pinned first."""
    wish, place = prepared.wish, prepared.place
    warnings = list(prepared.warnings)
    with repository.writing(f"restore-notes {source.name}", options.wait_s), held(*place.databases):
        repository.manifest(wish.backup.id)  # it may have been pruned while a person was asked
        if intents.read(repository.root):
            raise BusyError(
                "an earlier rollback was interrupted and can't be settled yet",
                hint="Close Anki, mount what is missing, and run again.",
            )
        saved = safety(repository, source, wish, options, warnings)
        if source.look().hot:
            merge(place.collection)
        path = prepared.then.with_name("new.anki2")
        repository.restore_collection(saved.id, path)
        graft(wish, prepared.then, path, prepared.package, prepared.notes)
        before = {file.name: file for file in repository.media(saved.id)}
        intent = Intent(
            kind="putback",
            source=source.name,
            before=saved.id,
            to=wish.backup.id,
            safety=saved.id,
            who=wish.who,
            started_at=datetime.now(UTC),
            collection=os.fsdecode(place.collection),
            media=os.fsdecode(place.media) if place.media and prepared.media else None,
        )
        intents.write(repository.root, intent)
        try:
            files = [file for file in prepared.media if file.name not in before]
            ready = staging.stage(repository, intent, path, files, before, warnings)
            intents.write(repository.root, ready)
            swap.commit(ready)
        except BaseException:
            swap.settle(repository.root, is_held=True)
            raise
        settled = swap.settle(repository.root, is_held=True)
        assert settled is not None and settled.ending == "done", "what was committed is finished"
        look_again(ready)
    return Done(settled.event, saved.id, warnings)


def safety(
    repository: Repository, source: Source, wish: Wish, options: Options, warnings: list[str]
) -> Backup:
    """Back up and pin what is there; whatever stops that stops everything."""
    result = back_up_held(repository, source, options._replace(origin="safety", force=False))
    if result.error:
        raise result.error
    warnings += result.warnings
    assert result.current is not None, "a source that was backed up is equal to a backup"
    saved = repository.find(result.current)
    if not saved.pinned:
        label = f"before notes of {wish.backup.id} were put back"
        repository.record("pin", backup=saved.id, label=label)
    return saved


def plan(source: str, prepared: Prepared) -> list[str]:
    """Return in sentences what would be done."""
    wish, notes = prepared.wish, prepared.notes
    lines = []
    if notes.missing:
        lines.append(f"{len(notes.missing)} notes that {source} lacks come back, with cards and reviews")
    if notes.changed and wish.scheduling:
        lines.append(f"{len(notes.changed)} notes become as they were, text and scheduling; reviews stay")
    elif notes.changed:
        lines.append(f"{len(notes.changed)} notes get their old text and tags; their cards stay as they are")
    if notes.texts:
        lines.append("among them: " + ", ".join(notes.texts))
    if notes.missing or (notes.changed and wish.scheduling):
        lines.append(AGAIN)
    if notes.wanted and prepared.schema < collection.NEWEST:
        lines.append(
            f"{source} has schema {prepared.schema}, of an older Anki, and gets {collection.NEWEST} for ever,"
            " as when a newer one opens it"
        )
    if notes.same:
        lines.append(f"{len(notes.same)} notes are as they were and are not touched")
    if prepared.media:
        some = ", ".join(file_name_text(file.name) for file in prepared.media[: regain.NAMES])
        lines.append(f"{len(prepared.media)} media files come back: {some}")
    if prepared.kinds:
        lines.append(f"note types changed since, so copies are added: {', '.join(prepared.kinds)}")
    return lines
