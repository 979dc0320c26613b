"""What a backup can be written as. A format is a file here and a word in `WORDS`.

A driver has `stream(contents, sink, options)`, which needs nothing of a sink but
`write` and little memory; or `write(contents, target, options)`, where a file or
folder can be made in a better way; or both. It promises: what it wrote is what was
backed up, compared by hash; the target appears whole or not at all; names from
inside a backup never lead out of it; nothing that exists is replaced unless
`overwrite`; a damaged collection fails before the first byte. What could not be
written as it was comes back as warnings. A media file that is damaged in the
repository is left out, and a DamageError that names it ends the work after all the rest.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from anki_backup import durable, figures
from anki_backup.errors import DamageError, UsageError
from anki_backup.pieces import Contents
from anki_backup.zips import Sink

WORDS = {
    "colpkg": "anki_backup.formats.colpkg",
    "apkg": "anki_backup.formats.apkg",
    "anki2": "anki_backup.formats.anki2",
    "tar.zst": "anki_backup.formats.tar_zst",
    "zip": "anki_backup.formats.zip",
    "dir": "anki_backup.formats.dir",
}
# Which words take a part of a backup, and which know an old form.
IN_PARTS, WITH_OLD = {"apkg"}, {"apkg", "colpkg"}
SIDE = ("-wal", "-shm", "-journal")
BUFFER = 1 << 18


class Options(NamedTuple):
    """What of a backup is wanted, and how."""

    media: bool = True
    deck: str | None = None
    search: str | None = None
    scheduling: bool = True
    legacy: bool = False


class Outcome(NamedTuple):
    """What could not be written as it was, and the media files that are damaged."""

    warnings: list[str]
    damaged: list[str]


EVERYTHING = Options()


def stream(word: str, contents: Contents, sink: Sink, options: Options = EVERYTHING) -> list[str]:
    """Write a backup to a sink in the format `word`; return warnings.

    What the sink raises comes through. Where anything is raised, what the sink
    has got is no whole backup, but for a DamageError that says so.
    """
    with _still_there(contents):
        return _told(contents, _stream(_driver(word, options), contents, sink, options))


def write(
    word: str,
    contents: Contents,
    target: Path | None,
    *,
    overwrite: bool = False,
    options: Options = EVERYTHING,
) -> list[str]:
    """Write a backup in the format `word` to `target`, standard output when None; return warnings."""
    driver = _driver(word, options)
    if target is None:
        warnings = stream(word, contents, sys.stdout.buffer, options)
        sys.stdout.buffer.flush()
        return warnings
    if os.path.lexists(target) and not overwrite and not _is_empty_folder(target):
        raise UsageError(f"{target} exists", hint="Name another place with -o, or add --overwrite.")
    refuse_device(target)
    refuse_nowhere(target.absolute().parent)
    with _still_there(contents):
        if hasattr(driver, "write"):
            return _told(contents, driver.write(contents, target, options))
        return _told(contents, _write(driver, contents, target, options))


@contextmanager
def _still_there(contents: Contents) -> Iterator[None]:
    """What can't be read of a backup that was pruned meanwhile is gone, not damaged: GoneError."""
    try:
        yield
    except DamageError:
        contents.manifest()
        raise


def _driver(word: str, options: Options) -> ModuleType:
    wants_part = options.deck is not None or options.search is not None or not options.scheduling
    if wants_part and word not in IN_PARTS:
        raise UsageError(
            f"{word} holds a whole collection, as it was",
            hint="For a deck, a search, or cards without scheduling: --format apkg",
        )
    if options.deck is not None and options.search is not None:
        raise UsageError("--deck and --search can't go together", hint='Write: --search "deck:NAME ..."')
    if options.legacy and word not in WITH_OLD:
        raise UsageError(f"there is only one form of {word}", hint="Leave --legacy out.")
    return import_module(WORDS[word])


def _stream(driver: ModuleType, contents: Contents, sink: Sink, options: Options) -> Outcome:
    buffer = _Buffer(sink)
    outcome: Outcome = driver.stream(contents, buffer, options)
    buffer.flush()
    return outcome


def _write(driver: ModuleType, contents: Contents, target: Path, options: Options) -> Outcome:
    refuse_folder(target)
    part = beside(target)
    with durable.storing(target):
        fd = os.open(part, durable.CREATE, 0o600)
    try:
        try:
            outcome = _stream(driver, contents, _File(fd, target), options)
        finally:
            os.close(fd)
        durable.publish_synced(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return outcome


class _File:
    """An open file as a sink; what the disk refuses becomes a StorageError that names the target."""

    def __init__(self, fd: int, target: Path) -> None:
        self._fd, self._target = fd, target

    def write(self, data: bytes) -> None:
        with durable.storing(self._target):
            durable.write_fully(self._fd, data)


class _Buffer:
    """Joins small writes, for a sink that may be a socket."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= BUFFER:
            self.flush()

    def flush(self) -> None:
        if self._size:
            data = b"".join(self._parts)
            self._parts, self._size = [], 0
            self._sink.write(data)


def _told(contents: Contents, outcome: Outcome) -> list[str]:
    if outcome.damaged:
        count, some = len(outcome.damaged), ", ".join(outcome.damaged[:3])
        raise DamageError(
            f"{figures.counted(count, 'damaged file')} of {contents.backup.id} left out: {some}",
            hint="All the rest was written. See what else is damaged: ankibak verify --read-data",
        )
    return outcome.warnings


def refuse_nowhere(folder: Path) -> None:
    """A file can't be made in a folder that is not there."""
    if not os.path.isdir(folder):
        hint = f"Make it first: mkdir -p {shlex.quote(str(folder))}"
        raise UsageError(f"there is no folder {folder}", hint=hint)


def refuse_folder(target: Path) -> None:
    """A file can't take the place of a folder."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder", hint="Name a file, or choose --format dir.")


def refuse_device(target: Path) -> None:
    """What is neither a file nor a folder is never replaced: a device, a pipe, a socket."""
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise UsageError(
            f"{target} is neither a file nor a folder, so it is not replaced",
            hint="Name another place; -o - writes to standard output.",
        )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def beside(target: Path) -> Path:
    """Return a name beside the target that nothing has, for what is not whole yet."""
    for number in range(10_000):
        path = target.with_name(f".ankibak-{os.getpid()}-{number}.part")
        if not os.path.lexists(path):
            return path
    raise UsageError(
        f"{target.parent} is full of unfinished exports", hint="Remove its .ankibak-*.part files."
    )


def refuse_leftovers(target: Path) -> None:
    """A database must not be put beside another one's `-wal`: SQLite would mix the two."""
    for side in SIDE:
        if os.path.lexists(target.with_name(target.name + side)):
            raise UsageError(
                f"{target.name}{side} of another database lies beside {target}",
                hint="Export to an empty folder, or move the old files away together.",
            )
