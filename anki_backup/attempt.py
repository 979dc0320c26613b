"""One attempt to back up a source: is anything new, and what becomes of it.

Three tests, cheapest first, decide whether anything changed since the newest
good backup of the source: its files are untouched; the bytes are the same; the
rows are the same. Only then a backup is made. An attempt that fails moves no mark.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import NamedTuple

from anki_backup import (
    __version__,
    chains,
    collection,
    content,
    deposit,
    durable,
    marks,
    media,
    medialist,
    pictures,
)
from anki_backup.baseline import Baseline, Change, Mark
from anki_backup.errors import DamageError, SourceError, StorageError
from anki_backup.gather import Media, Options, gather, missing
from anki_backup.laps import Laps
from anki_backup.model import FORMAT, Backup, BackupManifest, Durations, now
from anki_backup.repository import Repository
from anki_backup.sources import Capture, Source, by_its_own_path, open_file

TRIES = 5
PAUSE_S = 0.2
DAMAGED = (
    "the newest backup is damaged, so a whole copy is kept; see what else is: ankibak verify --read-data"
)


class Reading(NamedTuple):
    """What a look inside the captured collection gave."""

    schema: int
    statistics: collection.Statistics
    content_hash: str
    pictures: pictures.Pictures | None


class Attempt:
    """What is known of a source before, and what an attempt finds; the caller holds the lock."""

    def __init__(self, repository: Repository, source: Source, options: Options) -> None:
        self.repository = repository
        self.store = repository.store
        self.source = source
        self.options = options
        self.laps = Laps()
        self.threads = options.threads or os.cpu_count() or 1
        self.warnings: list[str] = []
        self.incomplete = self.spoilt = False
        self.baseline = Baseline(repository.root / "cache" / (options.cache or source.name))
        self.mark = options.mark or marks.known(repository, source.name, self.baseline)

    def go(self) -> Backup | None:
        """Make a backup if there is anything new; None when there is not."""
        self.store.settle()
        durable.make_directory(self.baseline.folder)
        self.now_ns = time.time_ns()
        sighting = self.source.look()
        if self.source.is_ours:
            # No age is too young: nobody writes there until the next run.
            self.now_ns = time.time_ns() + media.RACY_NS
        self.seen = media.look_again(self.source.media, None, self.now_ns)
        eager = self.options.force or self.options.rehash
        untouched = self.mark and not eager and self.mark.fits(sighting.states(), self.seen)
        if self.mark and untouched and self.store.has(self.mark.collection_sha256):
            return None
        try:
            return self._compare()
        except BaseException as error:
            self.baseline.revert()
            if isinstance(error, SourceError):
                self.source.doubt()
            raise
        finally:
            self.baseline.clear()

    def _compare(self) -> Backup | None:
        capture, change, base = self._take()
        self.seen = media.look_again(self.source.media, self.seen, self.now_ns)
        found = self._media()
        self.laps.end("media")
        self.warnings += found.warnings
        self.incomplete = bool(found.failed)
        mark = None if self.options.force or found.renewed else self.mark
        same_media = mark is not None and mark.media_section == found.section
        if mark and same_media and mark.collection_sha256 == change.sha256 and self._is_sound(mark):
            self._confirm(mark, capture, found)
            return None
        with self.options.progress(f"storing {self.source.name}", 0):
            reading = self._read_and_store(capture, change, base, found.section)
        if mark and not self.spoilt and reading.content_hash == self._hash_of(mark):
            self.store.discard(change.sha256)
            self.baseline.revert()
            self._confirm(mark, capture, found)
            return None
        self.warnings += capture.facts.warnings
        backup = self._commit(capture, change, found, reading)
        mark = Mark(
            backup=backup.id,
            collection_sha256=change.sha256,
            content_hash=reading.content_hash,
            media_section=found.section,
        )
        try:
            self._confirm(mark, capture, found)
        except StorageError as error:  # the backup is made, whatever becomes of the cache
            self.warnings.append(error.message)
            self.incomplete = True
        return backup

    def _take(self) -> tuple[Capture, Change, str | None]:
        """Bring one consistent moment into the cache; return the object that it was compared with."""
        self.laps.end("look")
        deadline, tries = time.monotonic() + self.options.wait_s, 0
        base = self.mark.collection_sha256 if self.mark else None
        while True:
            tries += 1
            capture = self.source.capture(self.baseline.folder, self.options.wait_s)
            self.laps.end("capture")
            change = self._cache(capture)
            if base and change.old_sha256 != base:
                # The cache is not what the mark says: lost, cut off by a crash, or rotten.
                if self.baseline.fill(self.store, base):
                    change = self._cache(capture)
                else:
                    self._lose()
                    base = None
            self.laps.end("compare")
            if capture.private or self.source.look() == capture.sighting:
                return capture, change, base
            self.baseline.revert()
            if tries >= TRIES and time.monotonic() >= deadline:
                raise SourceError(
                    f"{capture.path} kept changing while it was read, {tries} times",
                    hint="Close Anki, or give it time: ankibak run --wait 10m",
                )
            time.sleep(PAUSE_S)

    def _is_sound(self, mark: Mark) -> bool:
        return not self.spoilt and chains.is_sound(self.store, mark.collection_sha256)

    def _lose(self) -> None:
        """Note that the newest backup is damaged: what it was is stored once more, whole."""
        self.spoilt = True
        self.warnings.append(DAMAGED)

    def _cache(self, capture: Capture) -> Change:
        fd = open_file(capture.path)
        try:
            if not collection.looks_like_one(fd):
                with by_its_own_path(capture.path, capture):
                    collection.check(capture.path, thorough=False)  # says what is wrong with it
            return self.baseline.take(fd)
        finally:
            os.close(fd)

    def _read_and_store(
        self, capture: Capture, change: Change, base: str | None, media_section: str
    ) -> Reading:
        """Look inside the capture while it is being stored; what turns out to be no backup is taken back."""

        def store() -> None:
            nonlocal base
            if base and not chains.is_sound(self.store, base):
                self._lose()
                base = None
            self.warnings += deposit.put_collection(self.store, self.baseline, change, base, self.threads)

        if self.threads == 1:
            reading = self._read(capture, media_section)
            store()
            return reading
        with ThreadPoolExecutor(1) as pool:
            storing = pool.submit(store)
            try:
                reading = self._read(capture, media_section)
            except BaseException:
                storing.exception()
                self.store.discard(change.sha256)
                raise
            storing.result()
            return reading

    def _read(self, capture: Capture, media_section: str) -> Reading:
        """Check the cached copy and read it, two things at a time; what the check finds is told first."""
        path = self.baseline.collection
        with ThreadPoolExecutor(1) as pool:
            hashed = pool.submit(content.content_hash, path, media_section)
            try:
                with by_its_own_path(path, capture):
                    schema = collection.check(path, thorough=capture.private)
                    statistics = collection.statistics(path)
                drawn = pictures.count(path, statistics.decks, now())
            finally:
                hashed.exception()
        if schema > collection.NEWEST:
            self.warnings.append(
                f"schema {schema} is newer than this program knows: kept, but without statistics"
            )
        self.laps.end("read")
        return Reading(schema, statistics, hashed.result(), drawn)

    def _hash_of(self, mark: Mark) -> str:
        """Return the content hash of the mark's backup in today's version."""
        if mark.content_hash.startswith(f"{content.VERSION}:"):
            return mark.content_hash
        old = self.baseline.folder / "base.part"
        try:
            self.repository.restore_collection(mark.backup, old)
            return content.content_hash(
                old, content.media_section(medialist.named(self.repository.media(mark.backup)))
            )
        except (DamageError, SourceError):
            return mark.content_hash

    @cached_property
    def _before(self) -> BackupManifest | None:
        return self.repository.manifest(self.mark.backup) if self.mark else None

    def _media(self) -> Media:
        before, folder = self._before, self.source.media
        if not (seen := self.seen):
            return missing(folder, self.baseline.collection, before.media_files if before else 0)
        listed = before.media_list if before else None
        return gather(self.store, self.baseline, self.mark, listed, folder, seen, self.threads, self.options)

    def _commit(self, capture: Capture, change: Change, found: Media, reading: Reading) -> Backup:
        before = self._before
        if found.files is None and before:
            media_list, files, size = before.media_list, before.media_files, before.media_bytes
        else:
            files, size = len(found.files or []), sum(file.size for file in found.files or [])
            newest = before.media_list if before else None
            media_list = deposit.put_list(self.store, found.files or [], newest) if self.seen else None
        created_at = now()
        backup_id, sequence = self.repository.next_place(created_at)
        drawn = pictures.keep(self.store, reading.pictures)
        self.laps.end("store")
        manifest = BackupManifest(
            format=FORMAT,
            repository=self.repository.id,
            id=backup_id,
            source=self.source.name,
            sequence=sequence,
            origin=self.options.origin,
            created_at=created_at,
            content_hash=reading.content_hash,
            collection_sha256=change.sha256,
            collection_bytes=change.size,
            collection_schema=reading.schema,
            media_list=media_list,
            media_bytes=size,
            media_files=files,
            stored_bytes=0,
            stats=reading.statistics.stats,
            stats_sha256="",
            pictures=drawn,
            source_revision=capture.revision,
            duration_ms=Durations(sync=capture.sync_ms),
            anki_version=capture.anki_version,
            program_version=__version__,
            host=os.uname().nodename,
            capture=capture.facts,
            skipped=[*(self.seen.skipped if self.seen else []), *found.failed],
        )
        return self.repository.commit(manifest, reading.statistics.decks, self.laps.flushed)

    def _confirm(self, mark: Mark, capture: Capture, found: Media) -> None:
        """Note by what the source can be told to be untouched next time; only what is old enough counts."""
        # What is odd is to be told again by the next run, so that one has to look closer.
        settled = capture.sighting.settled(self.now_ns, media.RACY_NS) and not found.failed
        index = self.mark.index_sha256 if self.mark else None
        if found.read is not None:
            index = self.baseline.keep_index(found.read)
        self.baseline.keep(
            Mark(
                backup=mark.backup,
                collection_sha256=mark.collection_sha256,
                content_hash=mark.content_hash,
                media_section=found.section,
                sighting=capture.sighting.states() if settled else None,
                has_media=self.seen is not None,
                media_digest=self.seen.digest if self.seen and not found.failed else None,
                index_sha256=index,
            )
        )
