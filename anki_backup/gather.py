"""The media of one attempt: what is new is kept, what is missing or odd is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from anki_backup import chains, collection, content, filenames, media, medialist
from anki_backup.baseline import Baseline, Mark
from anki_backup.errors import SourceError
from anki_backup.model import MediaFile, Origin, Skipped, file_name_text
from anki_backup.objects import ObjectStore
from anki_backup.settings import Alarms

NAMED = 8
DAMAGED = (
    "the list of media of the newest backup is damaged, so all media were read again;"
    " see what else is: ankibak verify --read-data"
)
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]


class Options(NamedTuple):
    """How a run is to be done. `threads` is 0 for one a processor, 1 for writes in a fixed order.

    A backup of `origin` "safety" is taken before a rollback: it raises no alarm. `cache` and
    `mark` stand in for those of the source where it is a copy of it that is captured.
    """

    force: bool = False
    rehash: bool = False
    wait_s: float = 0
    threads: int = 0
    progress: Progress = lambda title, total: nullcontext(lambda count: None)
    alarms: Alarms = Alarms()
    origin: Origin = "run"
    cache: str | None = None
    mark: Mark | None = None
    before: Callable[[], object] = lambda: None


class Media(NamedTuple):
    """The media of a capture and their digest; `files` is None when they are those of the mark's backup.

    `renewed` says that the list of these is damaged, so that there is something new to keep.
    """

    files: list[MediaFile] | None
    section: str
    read: dict[bytes, tuple[media.Entry, str]] | None = None
    failed: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    renewed: bool = False


def gather(
    store: ObjectStore,
    baseline: Baseline,
    mark: Mark | None,
    listed: str | None,
    folder: Path,
    seen: media.Look,
    threads: int,
    options: Options,
) -> Media:
    """Keep what is new in a media folder as it was seen; read only what was not read before.

    `listed` is the object that lists the media of the mark's backup.
    """
    renewed = listed is not None and not chains.is_sound(store, listed)
    afresh = options.rehash or renewed
    if mark and mark.fits_media(seen) and not afresh:
        return Media(None, mark.media_section)
    known = {} if afresh else baseline.index(mark)
    collector = media.Collector(store, folder, known)
    total = sum(entry.size for entry in seen.entries)
    with options.progress(f"media in {folder.name}", total) as advance:
        files, failed = collector.collect(seen, threads, advance)
    warnings = [DAMAGED] if renewed else []
    warnings += [f"media file {item.name} could not be read: {item.reason}" for item in failed]
    warnings += [f"{item.name} in the media folder {item.reason}: left out" for item in seen.skipped]
    warnings += _unsynced(file for file in files if file.name not in known)
    section = content.media_section(medialist.named(files))
    return Media(files, section, collector.index, tuple(failed), tuple(warnings), renewed)


def _unsynced(files: Iterable[MediaFile]) -> Iterator[str]:
    """Say of media that are new to us which of them Anki keeps to this machine; of many, of some."""
    reasons = ((file, filenames.why_not_synced(file.name, file.size)) for file in files)
    odd = [(file_name_text(file.name), reason) for file, reason in reasons if reason]
    for name, reason in odd[:NAMED]:
        yield f"media file {name} is kept, but Anki will not sync it: {reason}"
    if len(odd) > NAMED:
        yield f"Anki will not sync {len(odd) - NAMED:,} more media files, which are kept too"


def missing(folder: Path, path: Path, files_before: int) -> Media:
    """Return the media of a source without a folder; that is odd only where there should be one."""
    section = content.media_section([])
    try:
        wanted = files_before > 0 or collection.refers_to_media(path)
    except SourceError:  # what is wrong with the collection is told elsewhere
        wanted = False
    if not wanted:
        return Media([], section, {})
    name = file_name_text(bytes(folder))
    odd = "while older backups have it" if files_before else "though notes refer to pictures or sounds"
    told = f"the media folder {name} is missing, {odd}"
    return Media([], section, {}, (Skipped(name=name, reason="is missing"),), (told,))
