"""Making a backup the active state of its source: prepare, look, then do it.

`prepare` changes nothing: it gets the backup out, sees that it opens and is what
its manifest says, and compares it with what is there. `perform` backs up what is
there, then lets `swap` put the prepared collection in its place.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from anki_backup import chains, collection, durable, media, preview, staging, swap
from anki_backup import intent as intents
from anki_backup.baseline import Baseline
from anki_backup.cooldown import left_after
from anki_backup.errors import BusyError, DamageError, NotFoundError, SourceError
from anki_backup.gather import Options
from anki_backup.hold import held, merge
from anki_backup.intent import Intent
from anki_backup.losses import Losses
from anki_backup.marks import of
from anki_backup.model import Backup, MediaFile
from anki_backup.places import Place, reader
from anki_backup.repository import Repository
from anki_backup.runs import back_up_held
from anki_backup.sources import Source
from anki_backup.swap import Settled
from anki_backup.temporary import TemporaryFolder


class Wish(NamedTuple):
    """What is wanted: which backup is to become the active state, by whom, and how.

    `account` is what a push would replace, as it was backed up last; None where it is empty.
    """

    target: Backup
    who: str
    exact_media: bool = False
    undo: bool = False
    pushed: bool = False
    account: Backup | None = None


class Prepared(NamedTuple):
    """A backup that was got out and found good, and what it would change."""

    wish: Wish
    place: Place
    path: Path
    media: list[MediaFile]
    losses: Losses | None
    unreadable: str | None


class Done(NamedTuple):
    """What a rollback came to; `warnings` is what a person should know."""

    settled: Settled
    warnings: list[str]


@contextmanager
def prepare(repository: Repository, source: Source, wish: Wish, *, dry: bool = False) -> Iterator[Prepared]:
    """Get a backup out into a folder of our own, prove it, and say what it would change.

    DamageError if any byte of it is not what was backed up; media are compared when
    they are made ready. Nothing but that folder is written; it goes away again.
    """
    place = Place.of(repository.root, source)
    if not dry:
        with held(*place.databases):  # better told now than after the question
            pass
    work = repository.root / "cache"
    if not dry:
        work.mkdir(mode=0o700, exist_ok=True)
    with (
        TemporaryFolder(prefix=swap.WORK, dir=None if dry else work) as folder,
        swap.used(folder),
    ):
        path = Path(folder) / "collection.anki2"
        files = repository.media(wish.target.id)
        repository.restore_collection(wish.target.id, path)
        staging.mark_schema(path)
        with ThreadPoolExecutor(1) as pool:
            # As thorough as when it was backed up: that an index was wrong already is no reason to
            # refuse the way back (Anki's Check Database makes it anew), and its bytes are those.
            whole = pool.submit(collection.check, path, thorough=False)
            then = preview.read(wish.target, path, files, whole)
            changes = unreadable = None
            try:
                if present := _present(repository, source, place, wish, Path(folder)):
                    changes = preview.compare(present, path, then, files, exact=wish.exact_media)
            except SourceError as error:
                unreadable = error.message
            preview.whole(wish.target, whole)
        yield Prepared(wish, place, path, files, changes, unreadable)


def perform(repository: Repository, source: Source, prepared: Prepared, options: Options) -> Done:
    """Make it so, under the lock: all of it, or nothing.

    The present state is backed up and pinned first. SourceError while Anki has the
    collection open, or if what is there can't be backed up and `prepare` didn't say so.
    """
    wish, place = prepared.wish, prepared.place
    warnings: list[str] = []
    with repository.writing(f"rollback {source.name}", options.wait_s), held(*place.databases):
        repository.manifest(wish.target.id)  # it may have been pruned while a person was asked
        if intents.read(repository.root):
            raise BusyError(
                "an earlier rollback was interrupted and can't be settled yet",
                hint="Close Anki, mount what is missing, and run again.",
            )
        if place.live:
            # Only that folder: without what is above it the disk may not be mounted.
            durable.make_directory(place.collection.parent)
        else:
            _make_active(repository, place)
        safety = _safety(repository, source, prepared, options, warnings)
        if safety and place.collection.exists() and reader(repository.root, source).look().hot:
            merge(place.collection)
        is_copied = place.collection.exists()  # else the safety backup is of the account
        before = {file.name: file for file in repository.media(safety.id)} if safety and is_copied else {}
        newest = next(iter(repository.backups(source.name, limit=1)), None)
        intent = Intent(
            source=source.name,
            before=safety.id if safety else None,
            to=wish.target.id,
            safety=safety.id if safety else None,
            newest=newest.id if newest else None,
            live=place.live,
            undo=wish.undo,
            who=wish.who,
            started_at=datetime.now(UTC),
            collection=os.fsdecode(place.collection),
            media=os.fsdecode(place.media) if place.media else None,
            kept=None if safety else os.fsdecode(place.kept(wish.target.id)),
        )
        intents.write(repository.root, intent)
        try:
            ready = staging.stage(repository, intent, prepared.path, prepared.media, before, warnings)
            if wish.exact_media:
                ready = structs.replace(ready, surplus=staging.surplus(ready, prepared.media, before))
            intents.write(repository.root, ready)
            swap.commit(ready)
        except BaseException:
            swap.settle(repository.root, is_held=True)
            raise
        settled = swap.settle(repository.root, is_held=True)
        assert settled is not None and settled.ending == "done", "what was committed is finished"
        look_again(ready)
        if place.live:
            _follow(repository, source.name, wish.target)
        repository.index()
    return Done(settled, warnings)


def who() -> str:
    """Return who does it, for the record: the user and the machine."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{os.uname().nodename}"


def cooldown(repository: Repository, wish: Wish, least: timedelta, now: datetime) -> timedelta:
    """Return how long another rollback of a source has to wait, zero when it need not.

    To push what was just gone back to, or to try a push again that failed, is the same one.
    """
    last = repository.last_rollback(wish.target.source)
    if last and wish.pushed and not last.get("pushed") and last["to"] == wish.target.id:
        return timedelta()
    return left_after(datetime.fromisoformat(last["at"]), least, now) if last else timedelta()


def undoing(repository: Repository, source: str | None) -> Backup:
    """Return the backup that undoes the newest rollback of a source, or of all; NotFoundError without one."""
    last = repository.last_rollback(source)
    if last is None:
        raise NotFoundError("there was no rollback to undo", hint="Choose a backup: ankibak list")
    if last["safety"] is None:
        kept = last.get("kept")
        raise NotFoundError(
            f"what was there before the rollback to {last['to']} could not be backed up",
            hint=f"Its files are in {kept}" if kept else "Choose a backup: ankibak list",
        )
    return repository.find(last["safety"])


def _present(
    repository: Repository, source: Source, place: Place, wish: Wish, work: Path
) -> preview.Present | None:
    """Return what would be replaced, None where nothing is; SourceError if it can't be read."""
    path = work / "present.anki2"
    if wish.pushed:
        if wish.account is None:
            return None
        repository.restore_collection(wish.account.id, path)
        files = repository.media(wish.account.id)
        return preview.Present(path, {file.name: file.sha256 for file in files})
    if not place.collection.exists():
        return None
    capture = reader(repository.root, source).capture(work, 0)
    collection.check(capture.path, thorough=capture.private)
    if place.media is None:
        return preview.Present(capture.path, None)
    seen = media.look(place.media, time.time_ns()).entries if media.is_there(place.media) else []
    return preview.Present(capture.path, {entry.name: (entry.size, entry.mtime_ns) for entry in seen})


def _safety(
    repository: Repository, source: Source, prepared: Prepared, options: Options, warnings: list[str]
) -> Backup | None:
    """Back up and pin what is there; None where nothing is, or what is there is known to be unreadable."""
    name, place, current = source.name, prepared.place, None
    if place.collection.exists():
        options = options._replace(origin="safety", force=False)
        if not place.live:
            pointed = repository.pointers().get(name)
            mark = of(repository, pointed) if pointed else None
            options = options._replace(cache=f"{name}.active", mark=mark)
        result = back_up_held(repository, reader(repository.root, source), options)
        if result.error:
            if isinstance(result.error, SourceError) and prepared.unreadable:
                return None
            raise result.error
        warnings += result.warnings
        current = result.current
    elif not place.live:
        # Until now the account itself was its own active state, and this is how it was last seen.
        current = repository.standing_of(name).id
    if current is None:
        return None
    safety = repository.find(current)
    if not safety.pinned:
        repository.record("pin", backup=current, label=f"before the rollback to {prepared.wish.target.id}")
    return safety


def _make_active(repository: Repository, place: Place) -> None:
    """Make the folder of a copy that Anki opens with `anki -b`: it is its own only profile."""
    for folder in (repository.root / "active", place.collection.parent):
        durable.make_directory(folder)
    with durable.storing(place.collection), suppress(FileExistsError):
        os.symlink(".", place.collection.with_name("User 1"))


def look_again(intent: Intent) -> None:
    """Compare what lies there now with what was proven, and see that nothing lies beside it."""
    beside = [side for side in swap.SIDE if os.path.lexists(f"{intent.place}{side}")]
    if beside or chains.digest_of(intent.place) != intent.sha256:
        raise DamageError(
            f"{intent.place} is not what was put there",
            hint="Don't open it in Anki; see which other program writes there, then: ankibak rollback --undo",
        )


def _follow(repository: Repository, source: str, target: Backup) -> None:
    """Let the next run compare with what is there now."""
    baseline = Baseline(repository.root / "cache" / source)
    before = baseline.mark()
    mark = of(repository, target.id)
    baseline.keep(structs.replace(mark, index_sha256=before.index_sha256 if before else None))
