"""Making the account itself what a backup is: only after a rollback, only when a person says so twice.

Every other device then has to choose between the account and its own state, and
what it did not sync is lost when it takes the account's. There is no way to
compare and swap on a sync server, so the account is backed up first, and looked
at once more just before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from anki_backup import chains, content, swap
from anki_backup.errors import AnkibakError, DamageError, EmptiedError, SourceError, StorageError
from anki_backup.filenames import is_file_name
from anki_backup.gather import Options
from anki_backup.model import Backup, MediaFile, file_name_text
from anki_backup.places import Place
from anki_backup.repository import Repository
from anki_backup.rollback import Wish
from anki_backup.runs import back_up_held
from anki_backup.sender import Sender, touch
from anki_backup.sources import Source
from anki_backup.temporary import TemporaryFolder

OTHERS = (
    "each of your other devices says at its next sync that it and the account are not the same, and asks",
    'choose there "Download from AnkiWeb" (in AnkiDroid: "AnkiWeb"): then the rollback is there too',
    '"Upload to AnkiWeb" (in AnkiDroid: "AnkiDroid") would undo it for all your devices',
    "reviews and notes that a device has not synced before are lost there when it downloads",
)


class AccountSource(Source, Protocol):
    """A source that can be replaced from here."""

    def sender(self) -> Sender:
        """Return the device that does it."""


class Saved(NamedTuple):
    """The backup of the account as it was just now; None where the account is `empty`."""

    safety: Backup | None
    empty: bool
    warnings: tuple[str, ...] = ()


def save(repository: Repository, source: Source, target: Backup, options: Options) -> Saved:
    """Back up and pin the account as it is now; an account that was emptied has nothing to lose."""
    with repository.writing(f"push {source.name}", options.wait_s):
        result = back_up_held(repository, source, options._replace(origin="safety"))
        if isinstance(result.error, EmptiedError):
            return Saved(None, True, result.warnings)
        if result.error:
            raise result.error
        assert result.current is not None, "it was backed up"
        safety = repository.find(result.current)
        if not safety.pinned:
            repository.record("pin", backup=safety.id, label=f"before the push of {target.id}")
        return Saved(repository.find(safety.id), False, result.warnings)


def push(
    repository: Repository,
    driver: Callable[[], Source],
    source: Source,
    wish: Wish,
    saved: Saved,
    options: Options,
) -> tuple[int, list[str]]:
    """Make the account what `active/<source>/` is, see that it is, and record it; return the event's number.

    SourceError if the account changed since it was saved, or the server refuses: then it is
    as it was. What is told as a warning concerns single media files.
    """
    place = Place.of(repository.root, source)
    sender = cast(AccountSource, source).sender()
    before = saved.safety.id if saved.safety else None
    newest = repository.newest_of(source.name).id
    told: dict[str, object] = {
        "source": source.name,
        "from": before,
        "to": wish.target.id,
        "safety": before,
        "newest": newest,
    }
    told |= {"live": True, "pushed": True, "undo": wish.undo, "who": wish.who}
    with (
        repository.writing(f"push {source.name}", options.wait_s),
        TemporaryFolder(prefix=swap.WORK, dir=repository.root / "cache") as work,
    ):
        collection = Path(work) / "collection.anki2"
        shutil.copyfile(place.collection, collection)
        if not sender.is_as_mirrored(empty=saved.empty):
            raise SourceError(
                f"the account at {sender.server} changed meanwhile, so nothing was sent to it",
                hint="Let no device sync for a moment, and run it again.",
            )
        repository.record("rollback", **told, outcome="pushing")
        try:
            sender.replace(collection)
        except AnkibakError:
            repository.record("rollback", **told, outcome="failed")
            raise
        files = repository.media(wish.target.id)
        warnings = send_media(repository, sender, collection, files, saved, exact=wish.exact_media)
        account = driver()
        _look_again(account, sender, collection)
        warnings += _missing(account, files)
        number = repository.record("rollback", **told, outcome="done")
        repository.index()
    return number, warnings


def send_media(
    repository: Repository,
    sender: Sender,
    collection: Path,
    files: list[MediaFile],
    saved: Saved,
    *,
    exact: bool = False,
) -> list[str]:
    """Give the account these media: what is missing there or differs; others go only if `exact`."""
    folder = collection.with_suffix(".media")
    sender.begin_media(collection, empty=saved.empty)
    before = {file.name: file.sha256 for file in repository.media(saved.safety.id)} if saved.safety else {}
    for file in files:
        path = Path(os.fsdecode(bytes(folder) + b"/" + file.name))
        if is_file_name(file.name) and not (before.get(file.name) == file.sha256 and path.exists()):
            _put(repository, file, path)
    if exact:
        wanted = {file.name for file in files}
        for name in os.listdir(os.fsencode(folder)):
            if name not in wanted:
                os.unlink(bytes(folder) + b"/" + name)
    try:
        sender.send_media(collection)
    except SourceError as error:
        return [f"the collection was pushed, but not all media: {error.message}"]
    return []


def _put(repository: Repository, file: MediaFile, path: Path) -> None:
    try:
        before = path.stat().st_mtime if path.exists() else 0.0
        # Never into the file that is there: the mirror may have it too.
        path.unlink(missing_ok=True)
        with open(path, "xb") as out:
            for block in repository.store.blocks(file.sha256):
                out.write(block)
        touch(path, before)
    except OSError as error:
        raise StorageError(f"can't write {path}: {(error.strerror or '').lower()}") from error


def _look_again(account: Source, sender: Sender, collection: Path) -> None:
    """Fetch the account as any device would, and compare it with what was sent."""
    account.look()
    fetched = account.capture(collection.parent, 0).path
    nothing = content.media_section([])
    if content.content_hash(fetched, nothing) != content.content_hash(collection, nothing):
        raise DamageError(
            f"the account at {sender.server} is not what was sent to it",
            hint="See what it is now: ankibak run; and what it was: ankibak list",
        )


def _missing(account: Source, files: list[MediaFile]) -> list[str]:
    """Return what is to be said of media that the account doesn't have now as the backup has them."""
    return [
        f"media file {file_name_text(file.name)!r} could not be pushed: Anki takes no such name or size"
        for file in files
        if not _is_there(account.media, file)
    ]


def _is_there(folder: Path, file: MediaFile) -> bool:
    path = Path(os.fsdecode(bytes(folder) + b"/" + file.name))
    return path.is_file() and chains.digest_of(path) == file.sha256
