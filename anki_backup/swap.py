"""Putting one collection in the place of another, so that a crash leaves the old or the new one.

What is to come in is made ready aside, in folders of the same file system. Then
`state/rollback.json` says so (`ready`), media go in, and the rename of the
collection is the commit: before it everything can be taken back, after it
everything is finished. `settle` does whichever it is, again and again if need be.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from anki_backup import chains, durable, events, pointer
from anki_backup.errors import SourceError
from anki_backup.intent import Intent, Put, document, read
from anki_backup.model import now

SIDE = ("-wal", "-shm", "-journal")
WORK = "rollback-"

Ending = Literal["done", "reversed"]


class Settled(NamedTuple):
    """What became of an intent, and the number of the event that tells of it."""

    intent: Intent
    ending: Ending
    event: int


@contextmanager
def used(folder: str | Path) -> Iterator[None]:
    """Let `sweep` see that a folder under `cache/` is in use, until its process ends."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def sweep(root: Path) -> None:
    """Remove what killed rollbacks had got out of the repository to look at."""
    for folder in (root / "cache").glob(f"{WORK}*"):
        with suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(fd)


def commit(intent: Intent) -> None:
    """Put everything in place: media first, then the collection by one rename."""
    if intent.media is not None:
        _media_in(intent, Path(intent.media))
    _side_files_away(intent)
    durable.publish(intent.new, intent.place)
    with durable.storing(intent.place):
        durable.sync_directory(intent.place.parent)


def settle(root: Path, *, is_held: bool = False) -> Settled | None:
    """Finish or reverse what a crash interrupted; None when nothing is pending, or it has to wait.

    It waits while the file system that it is about is not there, and while Anki
    has the collection open (unless it `is_held` by the caller).
    """
    intent = read(root)
    if intent is None or not intent.place.parent.is_dir():
        return None
    from anki_backup.hold import held  # with it comes SQLite, which no reader needs for this

    try:
        with held(*([] if is_held else [intent.place])):
            return _settle(root, intent)
    except SourceError:
        if is_held:
            raise
        return None


def _settle(root: Path, intent: Intent) -> Settled:
    log = root / "state" / "events.jsonl"
    told = _told(log, intent)
    if told is None:
        ending: Ending = "done" if _is_committed(intent) else "reversed"
        if ending == "done":
            _finish(intent)
            if intent.kind == "rollback":  # else it is no backup yet
                pointer.put(root, intent.source, intent.to)
        else:
            _reverse(intent)
        fields = {
            "source": intent.source,
            "from": intent.before,
            **{name: getattr(intent, name) for name in ("to", "safety", "newest", "live", "pushed", "undo")},
            **{name: getattr(intent, name) for name in ("who", "started_at", "kept")},
        }
        told = events.append(log, intent.kind, now(), **fields, outcome=ending), ending
    _clear(intent)
    with durable.storing(document(root)):
        document(root).unlink(missing_ok=True)
        durable.sync_directory(document(root).parent)
    return Settled(intent, told[1], told[0])


def _told(log: Path, intent: Intent) -> tuple[int, Ending] | None:
    """Return the event that tells of an intent, if a crash came after it."""
    began = intent.started_at.isoformat().replace("+00:00", "Z")
    for event in reversed(events.newest(log)):
        if event["event"] == intent.kind and event.get("started_at") == began:
            return int(event["n"]), event["outcome"]
    return None


def _is_committed(intent: Intent) -> bool:
    """Only the rename takes the new collection from where it was made ready."""
    if not intent.ready or os.path.lexists(intent.new):
        return False
    # Somebody may have cleared it away since.
    return intent.aside.is_dir() or chains.digest_of(intent.place) == intent.sha256


def _media_in(intent: Intent, folder: Path) -> None:
    aside = intent.media_aside
    assert aside is not None, "there are media"
    if not intent.incoming:
        return
    old = intent.media_old
    with durable.storing(folder):
        old.mkdir(0o700, parents=True, exist_ok=True)
        for put in intent.incoming:
            if os.path.lexists(folder / put.name):
                _step_aside(folder / put.name, old / put.name)
        # The disk keeps no order of its own: what is replaced must have its second name before.
        for changed in (old, old.parent, old.parent.parent):
            durable.sync_directory(changed)
        for put in intent.incoming:
            os.rename(aside / "new" / put.name, folder / put.name)
        durable.sync_directory(folder)


def _step_aside(place: Path, old: Path) -> None:
    """Give what is replaced a second name, so that its place is never empty; move it where that can't be."""
    try:
        os.link(place, old, follow_symlinks=False)
    except OSError:
        os.rename(place, old)


def _side_files_away(intent: Intent) -> None:
    """Move aside what would spoil another database: never a main file without what belongs to it."""
    keep = Path(intent.kept) if intent.kept else intent.aside / "old"
    with durable.storing(keep):
        keep.mkdir(0o700, exist_ok=True)
        if intent.kept and intent.place.exists():
            _step_aside(intent.place, keep / intent.place.name)
        for side in SIDE:
            with suppress(FileNotFoundError):
                os.rename(_beside(intent.place, side), keep / (intent.place.name + side))
        durable.sync_directory(keep)
        durable.sync_directory(keep.parent)


def _reverse(intent: Intent) -> None:
    """Give everything its old place again; what somebody else changed since stays as it is."""
    if intent.media is not None and intent.ready:
        _media_out(intent, Path(intent.media))
    keep = Path(intent.kept) if intent.kept else intent.aside / "old"
    with durable.storing(intent.place):
        if not intent.place.exists() and (keep / intent.place.name).exists():
            os.rename(keep / intent.place.name, intent.place)
        for side in SIDE:
            moved, place = keep / (intent.place.name + side), _beside(intent.place, side)
            if os.path.lexists(moved) and not any(_beside(intent.place, each).exists() for each in SIDE[::2]):
                os.rename(moved, place)
        if intent.kept and intent.place.exists():
            (keep / intent.place.name).unlink(missing_ok=True)
        durable.sync_directory(intent.place.parent)


def _media_out(intent: Intent, folder: Path) -> None:
    aside = intent.media_aside
    assert aside is not None, "there are media"
    with durable.storing(folder):
        for put in intent.incoming:
            new, place, old = (parent / put.name for parent in (aside / "new", folder, intent.media_old))
            if os.path.lexists(new) or not _is_ours(place, put):
                if os.path.lexists(old) and not os.path.lexists(place):
                    os.rename(old, place)
            elif os.path.lexists(old):
                os.rename(old, place)
            else:
                place.unlink()
        durable.sync_directory(folder)


def _is_ours(path: Path, put: Put) -> bool:
    try:
        state = os.lstat(path)
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (put.size, put.mtime_ns)


def _finish(intent: Intent) -> None:
    """Do what comes after the commit: media that the backup doesn't have go, Anki is made to look."""
    if intent.media is None:
        return
    folder, aside = Path(intent.media), intent.media_aside
    assert aside is not None, "there are media"
    with durable.storing(folder):
        for name in intent.surplus:
            with suppress(FileNotFoundError):
                os.unlink(folder / name)
        if intent.incoming or intent.surplus:
            # Anki looks into the folder only if its time moved by a second.
            state = folder.stat()
            os.utime(folder, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
        durable.sync_directory(folder)


def _clear(intent: Intent) -> None:
    for folder in (intent.aside, intent.media_aside):
        if folder is not None:
            with durable.storing(folder), suppress(FileNotFoundError):
                shutil.rmtree(folder)
                # Before the intent is: without that nobody would look for it again.
                durable.sync_directory(folder.parent)
    if intent.kept:
        for folder in (intent.media_old if intent.media else None, Path(intent.kept)):
            with suppress(OSError):  # only if nothing had to be kept
                if folder is not None:
                    folder.rmdir()


def _beside(path: Path, side: str) -> Path:
    return path.with_name(path.name + side)
