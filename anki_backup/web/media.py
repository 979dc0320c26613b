"""Media inside a backup: which files it has, small pictures of them, and each one as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, get

from anki_backup import chains
from anki_backup.model import file_name_text
from anki_backup.web import downloads, house
from anki_backup.web.replies import Refused

Asked = Request[Any, Any, Any]
PER_PAGE = 40
QUERY_LIMIT = 200
THUMB_LIMIT = 300_000


@get("/backups/{backup_id:str}/media", include_in_schema=False)
async def listing(
    request: Asked, backup_id: str, q: str | None = None, page: str | None = None
) -> Response[bytes]:
    """The media files of a backup, or those with a word in their names."""
    here = house.of(request)
    text, number = (q or "").strip()[:QUERY_LIMIT], house.whole(page, "page", 1, 100_000)
    start = (number - 1) * PER_PAGE

    def build() -> Response[bytes]:
        backup = here.desk.backup(backup_id)
        files, found = here.desk.media(backup.id).find(text, start, PER_PAGE)
        if number > 1 and not files:
            raise Refused(404, "there is no such page")
        return here.paper.page(
            request,
            "media",
            backup=backup,
            q=text,
            files=[(file_name_text(file.name), file) for file in files],
            found=found,
            page=number,
            more=found > start + PER_PAGE,
            pictures=tuple(downloads.PICTURES),
            small=THUMB_LIMIT,
        )

    return await here.desk.ask(build)


@get("/backups/{backup_id:str}/media/{name:str}", include_in_schema=False)
async def one(request: Asked, backup_id: str, name: str, download: str | None = None) -> Response[Any]:
    """A small picture of a backup, or any file of its media as a download."""
    here = house.of(request)
    backup = await here.desk.ask(here.desk.backup, backup_id)
    if download:
        file = (await here.desk.ask(here.desk.media, backup.id)).get(name)
        if file is None:
            raise Refused(404, "there is no such file")
        fill = partial(chains.materialise, here.desk.repository.store, file.sha256)
        sent = downloads.File(file.sha256, file.size, "application/octet-stream", fill)
        return here.hall.plain(request, sent, {"Content-Disposition": downloads.disposition(name)})
    kind = downloads.PICTURES.get(name[name.rfind(".") :].lower())
    data = await here.desk.ask(here.desk.picture, backup.id, name) if kind else None
    if data is None:
        raise Refused(404, "there is no such picture")
    return Response(data, media_type=f"image/{kind}", headers={"Cache-Control": "private, max-age=86400"})


HANDLERS = [listing, one]
