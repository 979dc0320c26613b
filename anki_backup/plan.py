"""What a run would do, without doing it: nothing is written.

No lock is taken, but for an account: its mirror is opened, which a run may be syncing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from anki_backup import chains, collection, content, locks, media, medialist
from anki_backup.baseline import Baseline
from anki_backup.errors import AnkibakError, NoRepositoryError, Terminated
from anki_backup.gather import Options
from anki_backup.marks import known
from anki_backup.model import MediaFile, Outcome, Run
from anki_backup.repository import Repository
from anki_backup.runs import Result, refused
from anki_backup.sources import Source
from anki_backup.temporary import TemporaryFolder


def plan(root: Path, source: Source, options: Options) -> Result:
    """Return what `back_up` would come to: planned, skipped, or the failure."""
    run = Run(source=source.name, started_at=datetime.now(UTC), outcome="planned")
    try:
        with held(root, source, "run --dry-run", options.wait_s):
            reason = _reason(_opened(root), source, options)
    except Terminated:
        raise
    except (AnkibakError, OSError) as error:
        return refused(source.name, error)
    outcome: Outcome = "skipped" if reason == "unchanged" else "planned"
    return Result(structs.replace(run, outcome=outcome, reason=reason))


@contextmanager
def held(root: Path, source: Source, command: str, wait_s: float) -> Iterator[None]:
    """Hold the repository's lock for a look at an account; a profile is only read, and needs none."""
    path = root / "state" / "lock"
    with nullcontext() if source.is_live or not path.exists() else locks.lock(path, command, wait_s):
        yield


def _opened(root: Path) -> Repository | None:
    try:
        return Repository.open(root)
    except NoRepositoryError:
        return None


def _reason(repository: Repository | None, source: Source, options: Options) -> str:
    if foreseen := source.foresee():
        return "forced" if options.force else foreseen
    sighting = source.look()
    seen = media.look_again(source.media, None, time.time_ns())
    mark = None
    if repository:
        mark = known(repository, source.name, Baseline(repository.root / "cache" / source.name))
    if mark and not options.force and mark.fits(sighting.states(), seen):
        return "unchanged"
    with TemporaryFolder(prefix="ankibak-") as folder:
        capture = source.capture(Path(folder), options.wait_s)
        collection.check(capture.path, thorough=capture.private)
        if mark is None or options.force:
            return "the first backup" if mark is None else "forced"
        assert repository is not None
        before = repository.media(mark.backup)
        if not _same_media(before, seen):
            return "media changed"
        if chains.digest_of(capture.path) == mark.collection_sha256:
            return "unchanged"
        found = content.content_hash(capture.path, content.media_section(medialist.named(before)))
        return "unchanged" if found == mark.content_hash else "the collection changed"


def _same_media(before: list[MediaFile], seen: media.Look | None) -> bool:
    """Compare by name, size and time: a file that was only touched counts as changed here."""
    now = {(entry.name, entry.size, entry.mtime_ns) for entry in seen.entries} if seen else set()
    return now == {(file.name, file.size, file.mtime_ns) for file in before}
