"""What is done from the pages: roll back, undo, pin, verify, run; and how such a job stands."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post

from anki_backup import sources
from anki_backup.errors import AnkibakError
from anki_backup.model import Backup
from anki_backup.places import Place
from anki_backup.web import actions, house
from anki_backup.web.desk import now
from anki_backup.web.entry import go
from anki_backup.web.house import House
from anki_backup.web.outlook import outlook
from anki_backup.web.replies import Refused

Asked = Request[Any, Any, Any]


@get("/backups/{backup_id:str}/rollback", include_in_schema=False)
async def confirm(request: Asked, backup_id: str, wait: str | None = None) -> Response[Any]:
    """What comes back, what is lost since, and the word to type; unless told, that waits for the figures."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    return await _confirm(here, request, backup, waits=wait != "no")


async def _confirm(
    here: House, request: Asked, backup: Backup, *, wrong: bool = False, waits: bool = False
) -> Response[Any]:
    present = await here.desk.ask(here.desk.standing_of, backup.source)
    found, fault = None, None
    try:
        found = await here.comparing.soon(present, backup)
    except AnkibakError as error:
        fault = error.message
    going = found is None and fault is None
    settings = here.config.sources.get(backup.source)

    def build() -> Response[Any]:
        server = _is_of_server(here, backup.source, settings)
        page = here.paper.page(
            request,
            "rollback",
            422 if wrong else 200,
            backup=backup,
            present=present,
            rows=list(outlook(present, backup, found, media=not server)) if found else [],
            fault=fault,
            going=going,
            waits=going and waits,
            kind=settings.kind if settings else None,
            server=server,
            wrong=wrong,
            wait=here.desk.cooling(backup.source, now()),
            active=here.desk.pointers().get(backup.source) == backup.id,
        )
        if going and waits:
            page.headers["Refresh"] = "1"
        return page

    return await here.desk.ask(build)


def _is_of_server(here: House, name: str, settings: Any) -> bool:
    """Say whether a source is configured, and is the folder of a sync server itself."""
    if settings is None or settings.kind != "profile":
        return False
    return Place.of(here.desk.repository.root, sources.make(name, settings, 1)).server


@post("/backups/{backup_id:str}/rollback", include_in_schema=False, status_code=303)
async def roll_back(request: Asked, backup_id: str) -> Response[Any]:
    """Start it, if the word was typed."""
    here, who = house.of(request), house.asker(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    if who.form.get("word", "").strip().lower() != backup.source:
        return await _confirm(here, request, backup, wrong=True)
    job = await here.desk.ask(actions.roll_back, here, backup, who)
    return go(request, f"/jobs/{job.id}")


@post("/undo", include_in_schema=False, status_code=303)
async def undo(request: Asked) -> Response[Any]:
    """Undo the last rollback of a source."""
    here, who = house.of(request), house.asker(request)
    job = await here.desk.ask(actions.undo, here, who.form.get("source", ""), who)
    return go(request, f"/jobs/{job.id}")


@post("/backups/{backup_id:str}/{word:str}", include_in_schema=False, status_code=303)
async def act(request: Asked, backup_id: str, word: str) -> Response[Any]:
    """Pin, unpin or verify a backup."""
    here, who = house.of(request), house.asker(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    if word == "pin":
        job = await here.desk.ask(actions.pin, here, backup, who.form.get("label", ""), who)
    elif word == "unpin":
        job = await here.desk.ask(actions.unpin, here, backup, who)
    elif word == "verify":
        job = await here.desk.ask(actions.verify, here, backup, who)
    else:
        raise Refused(404, "there is nothing here")
    return go(request, f"/jobs/{job.id}")


@post("/runs", include_in_schema=False, status_code=303)
async def run(request: Asked) -> Response[Any]:
    """Start a run."""
    here, who = house.of(request), house.asker(request)
    job = await here.desk.ask(actions.run, here, who.form.get("source") or None, who)
    return go(request, f"/jobs/{job.id}")


@get("/jobs/{job_id:str}", include_in_schema=False)
async def job(request: Asked, job_id: str) -> Response[Any]:
    """How a job stands; the page comes again by itself while it goes on."""
    here = house.of(request)

    def build() -> Response[Any]:
        progress = here.jobs.find(job_id)
        what = progress.job.words[0]
        source = None
        if what == "rollback" and progress.result:
            source = progress.result.get("source")
        if what == "rollback" and source is None and progress.job.backup:
            entry = here.desk.places().get(progress.job.backup)  # none once it is pruned
            source = entry.source if entry else None
        settings = here.config.sources.get(source or "")
        server = _is_of_server(here, source or "", settings)
        page = here.paper.page(
            request,
            "job",
            progress=progress,
            what=what,
            undo="--undo" in progress.job.words,
            source=source,
            places=here.desk.places(),
            active=here.desk.pointers().get(source or "") == (progress.result or {}).get("to"),
            place={"kind": settings.kind if settings else None, "server": server},
            seconds=_seconds(progress.job),
        )
        if progress.state == "running":
            page.headers["Refresh"] = "2"
        return page

    return await here.desk.ask(build)


def _seconds(job: Any) -> int:
    return int((now() - job.started_at).total_seconds())


HANDLERS = [confirm, roll_back, undo, act, run, job]
