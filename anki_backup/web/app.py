"""The application: routes, errors, the OpenAPI document, and the gate around them."""

from __future__ import annotations

import traceback
from typing import Any, cast

from litestar import Litestar, Request, Response, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Server
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from anki_backup import __version__, terminal
from anki_backup.errors import AnkibakError, DamageError
from anki_backup.web import api, entry, house, pages, paper
from anki_backup.web.forms import App, Receive, Scope, Send
from anki_backup.web.gate import Gate
from anki_backup.web.house import House
from anki_backup.web.replies import (
    WORDS,
    Refused,
    headers_of,
    refusal,
    status_of,
    takes_gzip,
    wants_page,
)

BODY_LIMIT = 64 << 10
TITLES = {
    401: "Please log in",
    404: "Not found",
    422: "This is damaged",
    429: "Not so fast",
    500: "That went wrong",
}
TOKEN = SecurityScheme(type="http", scheme="bearer", description="ankibak token add")


@get("/static/{name:str}", include_in_schema=False)
async def static(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    """Return the style sheet, which may be kept for ever: its address changes with it."""
    if name != f"style.{paper.style_mark()}.css":
        raise Refused(404, "there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    packed = takes_gzip(request)
    if packed:  # there is no secret in it whose length could tell anything
        headers["Content-Encoding"] = "gzip"
    return Response(paper.style(packed=packed), headers=headers, media_type="text/css")


def told(request: Request[Any, Any, Any], error: AnkibakError, status: int) -> Response[Any]:
    """Return an error as a page or as JSON, whichever is wanted."""
    headers = headers_of(error)
    if isinstance(error, DamageError) and error.hint is None:
        error.hint = "Other backups may have it. See what is damaged: ankibak verify --read-data"
    if wants_page(cast(Scope, request.scope)):
        title = TITLES.get(status, "That can't be done")
        shown = house.of(request).paper.page(request, "error", status, title=title, error=error)
        shown.headers.update(headers)
        return shown
    return Response(refusal(error), status_code=status, headers=headers, media_type="application/json")


def on_our_error(request: Request[Any, Any, Any], error: AnkibakError) -> Response[Any]:
    return told(request, error, status_of(error))


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    status = error.status_code if error.status_code in WORDS else 400 if error.status_code < 500 else 500
    words = {404: "there is nothing here", 405: "this can't be done to it", 413: "the request is too large"}
    problem = Refused(status, words.get(status, "the request is not understood"), headers=_allowed(error))
    extra = getattr(error, "extra", None)
    if status == 400 and isinstance(extra, list):
        named = [str(each.get("key")) for each in extra if isinstance(each, dict) and each.get("key")]
        problem.hint = f"Look at {', '.join(named)}." if named else None
    return told(request, problem, status)


def _allowed(error: HTTPException) -> dict[str, str]:
    """Return what may be done instead, where that is what is wrong: with HEAD, which the gate makes a GET."""
    found = {word for word in (error.headers or {}).get("allow", "").split(", ") if word}
    found = found - {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())
    return {"Allow": ", ".join(sorted(found))} if found else {}


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Say nothing of what went wrong but that it did; the log has the rest."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        terminal.write_error(terminal.escape(line))
    bug = Refused(500, "this is a bug", hint="The log of the server says more.")
    return told(request, bug, 500)


@get("/__failed__", include_in_schema=False)
async def failed(request: Request[Any, Any, Any]) -> Response[Any]:
    """Draw the page of an error that the gate found; reached by no path from outside."""
    error = request.scope.get("state", {}).get("error") or Refused(404, "there is nothing here")
    return told(request, error, status_of(error))


class Lean(Litestar):
    """Litestar without support for what we don't use: loading pydantic takes a fifth of the start."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def _openapi(base: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="ankibak",
        version=__version__,
        description="Backups of Anki collections. The documents are those that `--json` prints.",
        path="/schema",
        render_plugins=[],
        servers=[Server(url=base or "/")],
        components=Components(security_schemes={"token": TOKEN}),
    )


def build(here: House) -> Gate:
    """Return the application of a house."""

    def configure(config: AppConfig) -> AppConfig:
        config.state = State({"house": here})
        return config

    app = Lean(
        route_handlers=[*api.HANDLERS, *entry.HANDLERS, *pages.HANDLERS, static, failed],
        on_app_init=[configure],
        openapi_config=_openapi(here.config.server.base),
        exception_handlers={AnkibakError: on_our_error, HTTPException: on_http_error, Exception: on_bug},
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
        debug=False,
    )
    inner = cast(App, app)
    return Gate(inner, _failing(inner), here.logins, here.config.server, here.config.security)


def _failing(app: App) -> App:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await app(
            {**scope, "path": "/__failed__", "method": "GET", "raw_path": b"/__failed__"}, receive, send
        )

    return fail
