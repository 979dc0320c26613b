"""Where a source meets the repository: an attempt, recorded from its start to its end."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import structs

from anki_backup import alarms
from anki_backup.attempt import Attempt
from anki_backup.errors import AnkibakError, DamageError, EmptiedError, StorageError, Terminated
from anki_backup.gather import Options
from anki_backup.model import Backup, Run, RunError
from anki_backup.repository import Repository
from anki_backup.sources import Source

INDEX_EVERY = 100
WARNING = 500
REFUSED = (StorageError, DamageError)


class Result(NamedTuple):
    """What came of a run: its record, the backup if one was made, and what a person should know.

    `alarmed` is the backup that an alarm stands on which this run gave rise to, or saw to go on.
    `current` is the backup that the source is equal to, be it new or not.
    """

    run: Run
    backup: Backup | None = None
    warnings: tuple[str, ...] = ()
    incomplete: bool = False
    error: AnkibakError | None = None
    alarmed: Backup | None = None
    current: str | None = None


def refused(source: str, error: AnkibakError | OSError) -> Result:
    """Return the result of a run that could not begin, so that nothing is recorded of it."""
    fault = _foreseen(error)
    run = Run(source=source, started_at=datetime.now(UTC), outcome="failed", error=_told(fault))
    return Result(run, error=fault)


def back_up(repository: Repository, source: Source, options: Options) -> Result:
    """Back up one source if it changed, under the lock, and record how it went.

    What a source or a disk can do comes back as a failed run. BusyError is raised
    when another process holds the lock for longer than `options.wait_s`.
    """
    with repository.writing(f"run {source.name}", options.wait_s):
        return back_up_held(repository, source, options)


def back_up_held(repository: Repository, source: Source, options: Options) -> Result:
    """Do what `back_up` does, for a caller that holds the lock."""
    started, clock = datetime.now(UTC), time.monotonic()
    run = Run(source=source.name, started_at=started, outcome="skipped", reason="unchanged")
    number = None
    late = _judged(repository, options)
    try:
        number = repository.record("run_started", source=source.name)
        options.before()
        attempt = Attempt(repository, source, options)
        backup = attempt.go()
        result = Result(run, backup, tuple(attempt.warnings), attempt.incomplete, alarmed=late)
    except (Terminated, KeyboardInterrupt):
        _record(repository, number, Result(_ended(run, clock, outcome="interrupted", reason=None)))
        raise
    except EmptiedError as error:
        emptied = _ended(run, clock, reason="the account is empty")
        if not (alarmed := alarms.emptied(repository, source.name)):
            return _record(repository, number, Result(emptied))
        error.hint = (
            "If it was not meant, put the newest backup back, which is pinned: "
            f"ankibak rollback {source.name}:{alarmed.id} --push-after-rollback"
        )
        failed = structs.replace(emptied, outcome="failed", error=_told(error))
        return _record(repository, number, Result(failed, error=error, alarmed=alarmed))
    except (AnkibakError, OSError) as caught:
        fault = _foreseen(caught)
        failed = _ended(run, clock, outcome="failed", reason=None, error=_told(fault))
        return _record(repository, number, Result(failed, error=fault, alarmed=late))
    if backup:
        result = _compared(repository, result, attempt.mark.backup if attempt.mark else None, options)
        made = {"outcome": "created", "reason": None, "backup": backup.id}
        run = structs.replace(run, stored_bytes=backup.stored_bytes, **made)
    current = backup.id if backup else attempt.mark.backup if attempt.mark else None
    if source.is_live and current:
        result = _pointed(repository, result, source.name, current)
    left = [*repository.mended, *(result.warnings if result.incomplete else ())]
    run = _ended(run, clock, warning=_warning(left) if left or result.incomplete else None)
    result = result._replace(run=run, current=current)
    return _record(repository, number, result, live=source.is_live)


def _told(error: AnkibakError) -> RunError:
    return RunError(code=error.code, message=error.message, hint=error.hint)


def _foreseen(error: AnkibakError | OSError) -> AnkibakError:
    """Return an error in our words; what nobody foresaw of a system must not keep other sources back."""
    if isinstance(error, AnkibakError):
        return error
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    return AnkibakError(f"{place}{error.strerror.lower()}" if error.strerror else str(error))


def _judged(repository: Repository, options: Options) -> Backup | None:
    """Raise the alarm that a run which was interrupted may have left out."""
    try:
        return alarms.settle(repository, options.alarms)
    except REFUSED:  # what is wrong will be told by the attempt
        return None


def _compared(repository: Repository, result: Result, before: str | None, options: Options) -> Result:
    """Raise an alarm if the new backup shrank; it is made, whatever comes of that."""
    assert result.backup is not None
    try:
        backup = alarms.look(repository, result.backup, before, options.alarms)
    except REFUSED as error:
        return result._replace(warnings=(*result.warnings, error.message), incomplete=True)
    return result._replace(backup=backup, alarmed=backup if backup.alarm else result.alarmed)


def _pointed(repository: Repository, result: Result, source: str, current: str) -> Result:
    """Note which backup a source's live state is; the backup is made, whatever comes of that."""
    try:
        repository.point(source, current)
    except REFUSED as error:
        return result._replace(warnings=(*result.warnings, error.message), incomplete=True)
    return result


def _warning(told: Sequence[str]) -> str:
    """Return in one line what could not be saved; a folder of many thousand files may be unreadable."""
    first, *more = told or ("not all could be saved",)
    return first[:WARNING] + (f", and {len(more):,} more" if more else "")


def _ended(run: Run, clock: float, **fields: object) -> Run:
    return structs.replace(run, duration_ms=round((time.monotonic() - clock) * 1000), **fields)


def _record(repository: Repository, number: int | None, result: Result, **more: object) -> Result:
    """Write the end of a run; a disk that refuses it makes it incomplete, or failed if nothing was saved."""
    if number is None:
        return result
    try:
        end = repository.record("run", run=number, **result.run.document(), **more)
        if result.backup or end % INDEX_EVERY < 2:
            repository.index()
    except REFUSED as error:
        if result.backup:
            return result._replace(warnings=(*result.warnings, error.message), incomplete=True)
        return result if result.error else result._replace(error=error)
    return result
