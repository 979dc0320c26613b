"""A run with everybody who listens: the user's hooks, the notifiers, the metrics.

What they do can make a run incomplete; it never makes one fail that saved
something, and nothing of it is undone. Only a hook that comes before may stop it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec import structs

from anki_backup import metrics, redaction, runs, safety
from anki_backup.config import Config
from anki_backup.errors import AnkibakError, BusyError, Terminated
from anki_backup.gather import Options
from anki_backup.hooks import Around
from anki_backup.model import RunError
from anki_backup.repository import Repository
from anki_backup.runs import Result
from anki_backup.sources import Source
from anki_backup.tidings import Ended, Tidings

WARNINGS, LONGEST = 50, 500

Say = Callable[[str], object]


def back_up(repository: Repository, source: Source, options: Options, config: Config, say: Say) -> Result:
    """Back up one source as `runs.back_up` does, and let everybody know.

    `say` gets what hooks print. Nobody hears of a run that found another one at work.
    """
    secrets = known_secrets(config)
    facts = {"SOURCE": source.name, "REPOSITORY": str(repository.root)}
    if config.file:
        facts["CONFIG"] = str(config.file)
    around = Around(config.hooks_of(source.name), facts, secrets, say)
    tidings = Tidings(
        repository.root, config, secrets, lambda: safety.status(repository, config, datetime.now(UTC))
    )
    begun = False

    def before() -> None:
        nonlocal begun
        begun = True
        tidings.started(source.name)
        around.before()

    try:
        result = runs.back_up(repository, source, options._replace(before=before))
    except (Terminated, KeyboardInterrupt):
        if begun:
            around.after("interrupted", {"OUTCOME": "interrupted"})
        raise
    except BusyError:
        raise
    except (AnkibakError, OSError) as error:  # a disk that refuses everything must be heard of all the same
        result = runs.refused(source.name, error)
    result = _redacted(result, secrets)
    trouble = [*around.warnings, *around.after(result.run.outcome, _facts(result))]
    trouble = list(dict.fromkeys(trouble))
    now = datetime.now(UTC)
    shown = (*result.warnings, *trouble)
    trouble += tidings.ended(Ended(result.run, result.alarmed, shown), now)
    trouble += _after_all(repository, config, tidings, now)
    if not trouble:
        return result
    return result._replace(warnings=(*result.warnings, *dict.fromkeys(trouble)), incomplete=True)


def _after_all(repository: Repository, config: Config, tidings: Tidings, now: datetime) -> list[str]:
    """Write the metrics, send the digest; return what went wrong."""
    try:
        tidings.digest(repository, now)
        if config.metrics.textfile:
            metrics.write(config.metrics.textfile, metrics.text(repository, config, now))
    except AnkibakError as error:
        return [error.message]
    return []


def known_secrets(config: Config) -> list[str]:
    """Return every secret that this process could know of, for the redaction."""
    given = [config.ping.url, config.apprise.url]
    given += [getattr(source, "password", None) for source in config.sources.values()]
    found = [secret.reveal() for secret in given if secret] + redaction.in_environment(os.environ)
    return [part for secret in found for part in redaction.parts(secret)]


def _redacted(result: Result, secrets: list[str]) -> Result:
    """Take the secrets out of what is told of a run, in case an error repeats one."""
    warnings = tuple(redaction.redact(text, secrets) for text in result.warnings)
    run, error = result.run, result.run.error
    if run.warning:
        run = structs.replace(run, warning=redaction.redact(run.warning, secrets))
    if error:
        message = redaction.redact(error.message, secrets)
        told = RunError(code=error.code, message=message, hint=error.hint)
        run = structs.replace(run, error=told)
    return result._replace(run=run, warnings=warnings)


def _facts(result: Result) -> dict[str, str]:
    """Return what hooks are told in their environment, without the prefix of its names."""
    run = result.run
    return {
        "OUTCOME": run.outcome,
        "REASON": run.reason or "",
        "BACKUP": run.backup or "",
        "STORED_BYTES": str(run.stored_bytes),
        "DURATION_MS": str(run.duration_ms),
        "ERROR": run.error.code if run.error else "",
        "ERROR_MESSAGE": run.error.message if run.error else "",
        "ALARM": result.alarmed.alarm.kind if result.alarmed and result.alarmed.alarm else "",
        "WARNINGS": "\n".join(_some(result.warnings)),
    }


def _some(warnings: Sequence[str]) -> list[str]:
    """Return what of many warnings the environment of a program can hold (execve(2): 128 KiB a string)."""
    more = len(warnings) - WARNINGS
    return [text[:LONGEST] for text in warnings[:WARNINGS]] + ([f"and {more:,} more"] if more > 0 else [])
