"""The documents of the API, as the OpenAPI document describes them: those of `--json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from msgspec import UNSET, Struct, UnsetType

from anki_backup.differences import CardCounts, Counts, MediaCounts
from anki_backup.model import Backup, DeckStats, Run, Skipped
from anki_backup.safety import OpenAlarm, RepositoryFigures, SourceSafety


class Backups(Struct, kw_only=True):
    """Backups, newest first; `next` is what to ask for as `before` to get on."""

    schema: int
    backups: list[Backup]
    next: str | None


class OneBackup(Backup, frozen=True, kw_only=True):
    """One backup with its decks and what was left out of it, as `ankibak show --json` prints it."""

    schema: int
    decks: list[DeckStats] | None
    skipped: list[Skipped]


class Runs(Struct, kw_only=True):
    """Runs, newest first, as `ankibak runs --json` prints them; `next` as for backups."""

    schema: int
    results: list[Run]
    next: str | None


class Status(Struct, kw_only=True):
    """Are the cards safe, as `ankibak status --json` prints it."""

    schema: int
    safe: bool
    sentence: str
    problems: list[str]
    sources: list[SourceSafety]
    repository: RepositoryFigures
    alarms: list[OpenAlarm]
    findings: int
    proved_at: datetime | None
    proved_backup: str | None


class Difference(Struct, kw_only=True, rename={"old": "from", "new": "to"}):
    """What changed, as `ankibak diff --json` prints it."""

    schema: int
    source: str
    old: str
    new: str
    equal: bool
    notes: Counts
    cards: CardCounts
    decks: Counts
    options: Counts
    notetypes: Counts
    tags: Counts
    settings: Counts
    media: MediaCounts
    reviews: Counts
    items: list[dict[str, Any]] | UnsetType = UNSET


class Started(Struct, kw_only=True):
    """A job was started; `event` is where it can be followed."""

    schema: int
    event: str
    job: str


class JobState(Struct, kw_only=True):
    """How a job stands: `running`, `done`, `failed`, or `lost` with the machine it ran on."""

    schema: int
    id: str
    words: list[str]
    started_at: datetime
    by: str
    state: str
    exit_code: int | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None


class Health(Struct, kw_only=True):
    """All that may be told to anybody."""

    ok: bool


class Told(Struct, kw_only=True):
    """What went wrong: a word, a clause, a way out."""

    code: str
    message: str
    hint: str | None


class Failure(Struct, kw_only=True):
    """Every answer that is not what was asked for."""

    error: Told


MEANINGS = {
    400: "The request is not understood",
    401: "No login and no token, or a wrong one",
    403: "Not from here, or not to be done",
    404: "There is no such thing",
    409: "A run or a rollback goes on; try later",
    416: "The range lies beyond the end",
    421: "The host name is not ours",
    422: "The backup is damaged",
    429: "Too many tries, or within the cooldown; see Retry-After",
    500: "A bug",
    503: "Not ready",
}


def answers(
    document: type | None, *failures: int, status: int = 200, kind: str = "application/json"
) -> dict[int, ResponseSpec]:
    """Return what a handler may answer, for the OpenAPI document."""
    found = {
        each: ResponseSpec(data_container=Failure, generate_examples=False, description=MEANINGS[each])
        for each in (400, 401, 403, 421, *failures)
    }
    if document is not None:
        said = (document.__doc__ or "").splitlines()[0]
        found[status] = ResponseSpec(data_container=document, generate_examples=False, description=said)
    elif kind != "application/json":
        found[status] = ResponseSpec(
            data_container=str, generate_examples=False, description="The text", media_type=kind
        )
    return found
