"""The files that are to be adopted: found in folders, brought into one closed file, and dated.

A date comes from the name that Anki gives its backups, else from the collection
itself (`col.mod`), else from the file; one before Anki or after now is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import NamedTuple

from anki_backup import archives, chains, collection, durable, figures
from anki_backup.errors import SourceError
from anki_backup.model import CaptureFacts
from anki_backup.sources import open_file
from anki_backup.sources.profile import COLLECTION, Profile

ENDINGS = (".colpkg", ".apkg", ".anki2", ".anki21", ".anki")
BESIDE = ("-wal", "-shm", "-journal")
NAMED = re.compile(
    r"(?:backup|collection)-(\d{4})-(\d\d)-(\d\d)[-@](\d\d)[.-](\d\d)(?:[.-](\d\d))?(?=\D|$)", re.ASCII
)
# By these names, and by no other sign, Anki itself tells whole collections from decks.
WHOLE = re.compile(r"(backup-|collection).*\.apkg", re.IGNORECASE)
FIRST_ANKI = datetime(2006, 10, 1, tzinfo=UTC)
MILLISECONDS = 10**11


class Found(NamedTuple):
    """A file that was named, or that lies in a folder that was; why it is passed over, if it is."""

    path: Path
    ignored: str | None = None


class Dated(NamedTuple):
    """When a collection was as it is, and what says so: `name`, `collection` or `file`."""

    at: datetime
    by: str


class Brought(NamedTuple):
    """One closed file, and how it was had; whether it is a collection is for `collection.check`."""

    path: Path
    facts: CaptureFacts


def found(paths: Iterable[Path]) -> Iterator[Found]:
    """Yield every file that was named; of a folder those in it by name, subfolders not."""
    for path in paths:
        if not path.is_dir():
            yield Found(path)
            continue
        try:
            entries = sorted(os.scandir(path), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise SourceError(f"can't list {path}: {(error.strerror or '').lower()}") from error
        for entry in entries:
            if entry.is_dir() or entry.name.startswith(".") or entry.name.endswith(BESIDE):
                continue
            if not entry.is_file(follow_symlinks=False):
                yield Found(Path(entry.path), "is no regular file")
            elif not entry.name.lower().endswith(ENDINGS):
                yield Found(Path(entry.path), "is neither a collection nor a package, by its name")
            else:
                yield Found(Path(entry.path))


def dated(path: Path, zone: tzinfo | None, work: Path, now: datetime) -> Dated:
    """Return when a file is of; the collection is read only where its name doesn't tell.

    Names are in the time of `zone`, the machine's when None. SourceError if the
    collection has to be read and can't be.
    """
    named = _by_name(path.name, zone)
    if named and FIRST_ANKI <= named <= now:
        return Dated(named, "name")
    with bring(path, work) as brought:
        collection.check(brought.path, thorough=False)
        told = _by_collection(brought.path)
    if told and FIRST_ANKI <= told <= now:
        return Dated(told, "collection")
    try:
        written = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    except (OSError, OverflowError, ValueError):
        written = now
    return Dated(written if FIRST_ANKI <= written <= now else now, "file")


def _by_name(name: str, zone: tzinfo | None) -> datetime | None:
    match = NAMED.match(name)
    if not match:
        return None
    with suppress(ValueError, OverflowError):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        return figures.instant(datetime(year, month, day, hour, minute, second), zone)
    return None


def _by_collection(path: Path) -> datetime | None:
    with suppress(ValueError, OverflowError, OSError):
        stamp = collection.modified_ms(path)
        return datetime.fromtimestamp(stamp // 1000 if stamp > MILLISECONDS else stamp, UTC)
    return None


@contextmanager
def bring(path: Path, work: Path) -> Iterator[Brought]:
    """Hold a file's collection as one closed file in `work`, with all that a WAL held, while the block runs.

    SourceError for decks, for what is no package or collection, and for what can't
    be read; also what the block finds wrong with our copy is told of the file.
    """
    copy = work / "unpacked.part"
    try:
        yield Brought(copy, _unpack(path, copy) if archives.is_package(path) else _capture(path, copy))
    except SourceError as error:
        hint = None if error.hint in (collection.FROM_BACKUP, collection.NOT_ANKI) else error.hint
        raise SourceError(error.message.replace(str(copy), str(path)), hint=hint) from error
    finally:
        for name in (copy.name, "hot.part"):
            with suppress(OSError):
                (work / name).unlink()


def _unpack(path: Path, copy: Path) -> CaptureFacts:
    if path.suffix.lower() == ".apkg" and not WHOLE.fullmatch(path.name):
        raise SourceError(
            f"{path} holds decks, not a whole collection",
            hint="Import it in Anki. If it is an old backup of everything, name it backup-1.apkg.",
        )
    with archives.Package(path) as package:
        _write(copy, package.collection())
    real = os.path.realpath(path)
    return CaptureFacts(path=real.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _capture(path: Path, copy: Path) -> CaptureFacts:
    if path.suffix.lower() in (".colpkg", ".apkg"):
        raise SourceError(f"{path} is no package: it does not begin as a zip does", hint=archives.AGAIN)
    source = profile(path)
    capture = source.capture(copy.parent, 0)
    if capture.private:
        durable.publish(capture.path, copy)
        return capture.facts
    fd = open_file(capture.path)
    try:
        _write(copy, chains.file_blocks(fd, os.fstat(fd).st_size))
    except OSError as error:
        raise SourceError(f"can't read {path}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(fd)
    if source.look() != capture.sighting:
        raise SourceError(f"{path} changed while it was read", hint="Close Anki, then import it again.")
    return capture.facts


def _write(copy: Path, blocks: Iterator[bytes]) -> None:
    with durable.storing(copy):
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for block in blocks:
                durable.write_fully(fd, block)
        finally:
            os.close(fd)


def profile(path: Path) -> Profile:
    """Return a bare collection as a source; only the folder of its own name is its media."""
    media = None if path.name == COLLECTION else path.with_suffix(".media")
    return Profile("import", path, media)
