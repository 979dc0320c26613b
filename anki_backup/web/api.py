"""The JSON API: the same documents as `--json` prints, for programs."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.openapi.spec import SecurityRequirement
from litestar.params import Parameter
from msgspec import structs

from anki_backup.entries import CatalogError
from anki_backup.errors import AnkibakError
from anki_backup.figures import instant
from anki_backup.web import actions, house
from anki_backup.web.jobs import Job, Progress
from anki_backup.web.replies import Refused, document
from anki_backup.web.shapes import (
    Backups,
    Health,
    JobState,
    OneBackup,
    Runs,
    Started,
    Status,
    answers,
)

Asked = Request[Any, Any, Any]
ID = r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d+)?$"
Source = Annotated[
    str | None, Parameter(query="source", pattern=r"^[a-z][a-z0-9_-]*$", description="Only of this source.")
]
Since = Annotated[
    str | None,
    Parameter(
        query="since",
        description="Only from then on: a time, or a day.",
        schema_extra={"format": "date-time"},
    ),
]
Limit = Annotated[int, Parameter(query="limit", ge=1, le=500, description="At most so many.")]
Before = Annotated[str | None, Parameter(query="before", pattern=ID, description="Only older ones.")]
BeforeRun = Annotated[
    int | None,
    Parameter(
        query="before",
        ge=0,
        le=2**62,
        description="The `next` of the page before this.",
        schema_extra={"minimum": 0},  # a least number of 0 is left out otherwise
    ),
]
BackupId = Annotated[str, Parameter(description="A whole id, or `latest`.")]
TOKEN: list[SecurityRequirement] = [{"token": []}]


def _start(since: str | None, zone: tzinfo | None) -> datetime | None:
    """Return a time in UTC; one without an offset is one in `zone`."""
    try:
        return None if since is None else instant(datetime.fromisoformat(since), zone)
    except (ValueError, OverflowError):
        raise Refused(
            400, "since is no time of the calendar", hint="Write it as 2026-01-31T18:00:00Z, or 2026-01-31."
        ) from None


@get("/api/v1/backups", responses=answers(Backups, 404), operation_id="listBackups", security=TOKEN)
async def list_backups(
    request: Asked, source: Source = None, since: Since = None, before: Before = None, limit: Limit = 50
) -> Response[bytes]:
    """List backups, newest first."""
    desk = house.of(request).desk
    start = _start(since, desk.zone)

    def look() -> dict[str, Any]:
        desk.know(source)
        found, more = desk.page(source, start, before, limit)
        return {"backups": found, "next": more}

    return document(request, await desk.ask(look))


@get(
    "/api/v1/backups/{backup_id:str}",
    responses=answers(OneBackup, 404, 422),
    operation_id="showBackup",
    security=TOKEN,
)
async def show_backup(request: Asked, backup_id: BackupId) -> Response[bytes]:
    """Show one backup with its decks."""
    desk = house.of(request).desk

    def look() -> dict[str, Any]:
        backup = desk.backup(backup_id)
        known = backup.stats.decks is not None
        return structs.asdict(backup) | {
            "decks": desk.decks(backup.id) if known else None,
            "skipped": desk.manifest(backup.id).skipped,
        }

    return document(request, await desk.ask(look))


@get(
    "/api/v1/backups/{backup_id:str}/download",
    responses=answers(None, 404, 416, 422, 429),
    operation_id="downloadBackup",
    security=TOKEN,
)
async def download_backup(
    request: Asked,
    backup_id: BackupId,
    format: Annotated[str | None, Parameter(query="format", description="In which format.")] = None,
    deck: Annotated[str | None, Parameter(query="deck", description="Only this deck, as apkg.")] = None,
) -> Response[Any]:
    """Download a backup as a file."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    return await here.hall.send(request, here.desk.repository, backup, format or None, deck or None)


@post(
    "/api/v1/backups/{backup_id:str}/rollback",
    status_code=202,
    responses=answers(Started, 404, 409, 422, 429, status=202),
    operation_id="rollBack",
    security=TOKEN,
)
async def roll_back(request: Asked, backup_id: BackupId) -> Response[bytes]:
    """Make a backup the active state of its source; what is there now is backed up first."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    job = await here.desk.ask(actions.roll_back, here, backup, house.asker(request))
    return _started(request, job)


@get("/api/v1/runs", responses=answers(Runs, 404), operation_id="listRuns", security=TOKEN)
async def list_runs(
    request: Asked, source: Source = None, since: Since = None, before: BeforeRun = None, limit: Limit = 50
) -> Response[bytes]:
    """List runs, newest first."""
    desk = house.of(request).desk
    start = _start(since, desk.zone)

    def look() -> dict[str, Any]:
        found, more = desk.runs_page(source, start, before, limit)
        if not found:
            desk.know(source)
        return {"results": found, "next": more}

    return document(request, await desk.ask(look))


@post(
    "/api/v1/runs",
    status_code=202,
    responses=answers(Started, 404, 409, 429, status=202),
    operation_id="startRun",
    security=TOKEN,
)
async def start_run(request: Asked, source: Source = None) -> Response[bytes]:
    """Start a run of one source, or of all enabled ones."""
    here = house.of(request)
    job = await here.desk.ask(actions.run, here, source, house.asker(request))
    return _started(request, job)


def _started(request: Asked, job: Job) -> Response[bytes]:
    event = f"{house.asker(request).base}/api/v1/jobs/{job.id}"
    return document(request, {"event": event, "job": job.id}, 202)


@get("/api/v1/jobs/{job_id:str}", responses=answers(JobState, 404), operation_id="showJob", security=TOKEN)
async def show_job(request: Asked, job_id: str) -> Response[bytes]:
    """Say how a rollback or a run that was started here stands."""
    return document(request, _job(house.of(request).jobs.find(job_id)))


def _job(progress: Progress) -> dict[str, Any]:
    job = progress.job
    told = {"id": job.id, "words": job.words, "started_at": job.started_at, "by": job.by}
    kept = ("state", "exit_code", "result", "error")
    return told | {name: getattr(progress, name) for name in kept}


@get("/api/v1/status", responses=answers(Status), operation_id="status", security=TOKEN)
async def status(request: Asked) -> Response[bytes]:
    """Say whether the cards are safe."""
    here = house.of(request)
    return document(request, await here.desk.ask(here.safety))


@get("/metrics", responses=answers(None, kind="text/plain"), operation_id="metrics", security=TOKEN)
async def figures(request: Asked) -> Response[str]:
    """Give the figures of the repository in Prometheus's text format."""
    here = house.of(request)
    told = await here.desk.ask(here.metrics)
    return Response(told, media_type="text/plain", headers={"Content-Type": "text/plain; version=0.0.4"})


@get("/api/v1/healthz", responses=answers(Health), operation_id="healthz")
async def healthz() -> Response[bytes]:
    """Say that this process lives."""
    return Response(b'{"ok":true}\n', media_type="application/json")


@get("/api/v1/readyz", responses=answers(Health, 503), operation_id="readyz")
async def readyz(request: Asked) -> Response[bytes]:
    """Say whether backups can be listed, and the last run of each source is young enough."""
    here = house.of(request)

    def look() -> bool:
        try:
            with here.desk.repository.history.catalog():
                return not here.stale()
        except (CatalogError, AnkibakError):
            return False

    ready = await here.desk.ask(look)
    body = b'{"ok":true}\n' if ready else b'{"ok":false}\n'
    return Response(body, status_code=200 if ready else 503, media_type="application/json")


HANDLERS = [
    list_backups,
    show_backup,
    download_backup,
    roll_back,
    list_runs,
    start_run,
    show_job,
    status,
    figures,
    healthz,
    readyz,
]
