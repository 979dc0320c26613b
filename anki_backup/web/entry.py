"""Login and logout."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie

from anki_backup.web import desk, house
from anki_backup.web.forms import COOKIE
from anki_backup.web.replies import Refused

Asked = Request[Any, Any, Any]
DAY_S = 86_400


def inside(target: str | None) -> str:
    """Return where to go after the login: a path of ours, whatever was asked for."""
    text = target or "/"
    ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if ours else "/"


def go(request: Asked, path: str, cookies: list[Cookie] | None = None) -> Response[bytes]:
    """Return the answer that leads to another page of ours."""
    base = house.asker(request).base
    target = path if base and path.startswith(base + "/") else base + path
    return Response(b"", status_code=303, headers={"Location": target}, cookies=cookies or [])


@get("/login", include_in_schema=False)
async def show(request: Asked, next: str | None = None) -> Response[Any]:
    """Show the form."""
    here = house.of(request)
    who = house.asker(request)
    if who.session or not who.may_log_in:
        return go(request, inside(next))
    return here.paper.page(request, "login", target=inside(next), wrong=None)


@post("/login", include_in_schema=False, status_code=200)
async def login(request: Asked) -> Response[Any]:
    """Begin a session, if the password is right."""
    here, who = house.of(request), house.asker(request)
    wait = here.guesses.wait_s(who.client) or here.all_guesses.wait_s("all")
    if wait:
        raise Refused(429, "too many passwords were tried", hint=f"Try again in {wait} s.", wait_s=wait)
    here.guesses.count(who.client)
    here.all_guesses.count("all")
    loop = asyncio.get_running_loop()
    right = await loop.run_in_executor(here.hashing, here.logins.is_password, who.form.get("password", ""))
    if not right:
        wrong = "password" if here.logins.has_password() else "absent"
        return here.paper.page(request, "login", 401, target=inside(who.form.get("next")), wrong=wrong)
    here.guesses.forgive(who.client)
    secret = here.logins.begin(desk.now())
    cookie = Cookie(
        key=COOKIE,
        value=secret,
        path=who.base or "/",
        httponly=True,
        samesite="strict",
        secure=who.secure,
        max_age=30 * DAY_S,
    )
    return go(request, inside(who.form.get("next")), [cookie])


@post("/logout", include_in_schema=False, status_code=303)
async def logout(request: Asked) -> Response[Any]:
    """End the session."""
    here, who = house.of(request), house.asker(request)
    if who.session:
        here.logins.end(who.session)
    gone = Cookie(key=COOKIE, value="", path=who.base or "/", httponly=True, samesite="strict", max_age=0)
    return go(request, "/login", [gone])


HANDLERS = [show, login, logout]
