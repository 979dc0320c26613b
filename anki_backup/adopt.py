"""The past adopted: backups made of packages and collections from elsewhere, at their own dates.

Files are taken in the order of their dates, so that each is a delta over the one
before. What is known already is skipped, so an import that was cut short goes on
where it was. A backup from the past becomes the newest of its source only if its
date says so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from msgspec import Struct, structs

from anki_backup import candidates, collection, content, durable, enclosed
from anki_backup.candidates import Dated, Found
from anki_backup.errors import SourceError, StorageError
from anki_backup.gather import Options
from anki_backup.model import Backup, Outcome, RunError, now
from anki_backup.past import Past
from anki_backup.repository import Repository

WORK = "import" + durable.PART
INDEX_EVERY = 50


class Adopted(Struct, frozen=True, kw_only=True):
    """What came of one file; `dated_by` is `name`, `collection` or `file`."""

    file: str
    outcome: Outcome
    reason: str | None = None
    backup: Backup | None = None
    error: RunError | None = None
    created_at: datetime | None = None
    dated_by: str | None = None
    stored_bytes: int = 0
    duration_ms: int = 0


class Adoption:
    """One import into one source. What came of each file can be asked for also after it was cut short."""

    def __init__(
        self, repository: Repository | None, source: str, zone: tzinfo | None, options: Options
    ) -> None:
        self._repository = repository
        self._source = source
        self._zone = zone
        self._options = options
        self._results: dict[int, Adopted] = {}
        self.warnings: list[str] = []
        self.incomplete = False

    @property
    def results(self) -> list[Adopted]:
        """Return what came of the files, in the order in which they were named."""
        return [self._results[number] for number in sorted(self._results)]

    def adopt(self, paths: Sequence[Path]) -> None:
        """Make a backup of each file that is new, under the lock; those that can't be read are passed over.

        A disk that refuses ends it with a StorageError: what was adopted until then
        stays, and the same import goes on from there.
        """
        repository = self._repository
        assert repository is not None
        with repository.writing(f"import into {self._source}", self._options.wait_s):
            work = repository.root / "cache" / WORK
            durable.make_directory(work)
            try:
                self._go(paths, Past(repository, self._source, work, self._options.threads), keep=True)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            try:
                repository.index()
            except StorageError as error:  # the backups are made, whatever becomes of the catalog
                self.warnings.append(error.message)
                self.incomplete = True

    def plan(self, paths: Sequence[Path]) -> None:
        """Say what `adopt` would do; the repository is not touched and need not be there."""
        with tempfile.TemporaryDirectory(prefix="ankibak-") as folder:
            self._go(paths, Past(self._repository, self._source, Path(folder)), keep=False)

    def _go(self, paths: Sequence[Path], past: Past, *, keep: bool) -> None:
        files = list(candidates.found(paths))
        with self._options.progress(f"importing into {self._source}", len(files)) as advance:
            dated = self._dated(files, past.work)
            advance(len(self._results))
            for number, when in sorted(dated.items(), key=lambda item: (item[1].at, item[0])):
                self._results[number] = self._one(files[number].path, when, past, keep=keep)
                advance(1)
                if keep and self._repository and len(self._results) % INDEX_EVERY == 0:
                    self._repository.index()
        self.warnings += dict.fromkeys(past.warnings)

    def _dated(self, files: list[Found], work: Path) -> dict[int, Dated]:
        """Return when each file is of; one of which that can't be told has a result instead."""
        dated, at = {}, now()
        for number, file in enumerate(files):
            if file.ignored:
                name = os.fspath(file.path)
                self._results[number] = Adopted(file=name, outcome="skipped", reason=file.ignored)
                continue
            try:
                dated[number] = candidates.dated(file.path, self._zone, work, at)
            except SourceError as error:
                self._results[number] = _failed(file.path, error)
        return dated

    def _one(self, path: Path, when: Dated, past: Past, *, keep: bool) -> Adopted:
        """Adopt one file if it is whole and new; with `keep` False only say so."""
        clock = time.monotonic()
        told = Adopted(file=os.fspath(path), outcome="planned", created_at=when.at, dated_by=when.by)
        try:
            with candidates.bring(path, past.work) as brought:
                schema = collection.check(brought.path, thorough=True)
                found = enclosed.gather(path, enclosed.weighing(past.work))
                sections = content.sections(brought.path, found.section)
                if same := past.same(when.at.timestamp(), sections, found):
                    return structs.replace(told, outcome="skipped", reason=f"the same as {same}")
                self._warn(path, found.unread)
                if schema > collection.NEWEST:
                    self.warnings.append(
                        f"{path.name}: schema {schema} is newer than this program knows: no statistics"
                    )
                if not keep:
                    past.note(when.at.timestamp(), told.file, content.combined(sections), found)
                    return told
                backup = past.add(path, brought, when.at, schema, sections, found)
        except SourceError as error:
            return structs.replace(_failed(path, error), created_at=when.at, dated_by=when.by)
        took = round((time.monotonic() - clock) * 1000)
        stored = backup.stored_bytes
        return structs.replace(told, outcome="created", backup=backup, stored_bytes=stored, duration_ms=took)

    def _warn(self, path: Path, unread: Sequence[str]) -> None:
        """Tell which media are left out; the rest is adopted all the same."""
        self.warnings += [f"{path.name}: {text}" for text in unread]
        self.incomplete |= bool(unread)


def _failed(path: Path, error: SourceError) -> Adopted:
    told = RunError(code=error.code, message=error.message, hint=error.hint)
    return Adopted(file=os.fspath(path), outcome="failed", error=told)
