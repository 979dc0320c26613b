"""The gate: who is asking, and may they? Every request passes it before any page sees it.

First the Host (a page of another site must not reach us by a name of its own),
then who it is (a session, a token, or anybody), then, for what changes something,
that one of our own pages asked for it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from anki_backup.errors import AnkibakError
from anki_backup.logins import Logins
from anki_backup.settings import Security, Server
from anki_backup.web import desk
from anki_backup.web.forms import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    again,
    answer,
    cookie,
    read_body,
    read_form,
)
from anki_backup.web.limits import Limit
from anki_backup.web.replies import Refused, headers_of, refusal, status_of, wants_page

# Whoever has neither password nor token may see these: they tell nothing.
OPEN = {"/login", "/api/v1/healthz", "/api/v1/readyz"}
# The application would answer OPTIONS by itself; TRACE it refuses, and says what it takes.
METHODS = {"HEAD": "GET", "OPTIONS": "TRACE"}
LOCAL = {"localhost", "127.0.0.1", "[::1]"}
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "private, no-store",
}


class Who(NamedTuple):
    """Who asks: by `session` (its secret), by `token` (its name), or neither."""

    client: str
    session: str | None = None
    token: str | None = None
    may_read: bool = False
    may_log_in: bool = True
    secure: bool = False
    form: Mapping[str, str] = {}
    base: str = ""

    @property
    def csrf(self) -> str:
        """What every form of this session carries; only its own pages know it."""
        key = (self.session or "").encode()
        return hmac.new(key, b"ankibak csrf", hashlib.sha256).hexdigest()

    @property
    def may_write(self) -> bool:
        return self.session is not None or self.token is not None


class Gate:
    """An ASGI application around another one."""

    def __init__(self, inner: App, fail: App, logins: Logins, server: Server, security: Security) -> None:
        self.inner, self.fail, self.logins = inner, fail, logins
        self.server, self.security = server, security
        self.base = server.base
        self.beyond = False  # whether we listen beyond this machine
        self.guesses = Limit(20, 6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        who = Who(self._client(scope), base=self.base)
        sealed = self._sealed(send)
        try:
            headers = self._headers(scope)
            self._check_host(headers)
            scope["path"] = self._inside(scope["path"])
            who = self._identify(scope, headers, who)
            if scope["method"] not in ("GET", "HEAD"):
                who, receive = await self._check_write(scope, headers, who, receive)
            elif not (who.may_read or self._is_open(scope["path"])):
                raise self._unknown()
            scope.setdefault("state", {})["who"] = who
        except AnkibakError as error:
            await self._refuse(scope, sealed, error, who)
            return
        # What answers HEAD is what answers GET; the server sends no body then.
        scope["state"]["bare"] = scope["method"] == "HEAD"
        method = METHODS.get(scope["method"], scope["method"])
        await self.inner({**scope, "method": method}, receive, sealed)

    # Where from

    def _client(self, scope: Scope) -> str:
        return str(scope["client"][0]) if scope.get("client") else "unix"

    def _is_proxy(self, scope: Scope) -> bool:
        client = self._client(scope)
        try:
            address = ipaddress.ip_address(client)
            return any(address in ipaddress.ip_network(each, strict=False) for each in self._networks())
        except ValueError:
            return client in self.server.trusted_proxies

    def _networks(self) -> list[str]:
        return [each for each in self.server.trusted_proxies if each != "unix"]

    def _headers(self, scope: Scope) -> dict[str, str]:
        """Return the headers by name; those that decide something may stand only once."""
        found: dict[str, str] = {}
        for name, value in scope["headers"]:
            text = name.decode("latin-1").lower()
            if text in found and text in ("host", "origin", "sec-fetch-site", "content-length"):
                raise Refused(400, f"there are two headers {text}")
            # Two tokens are one that nobody has.
            before = f"{found[text]}, " if text in found and text == "authorization" else ""
            found[text] = before + value.decode("latin-1")
        if "transfer-encoding" in found and "content-length" in found:
            # One of the two lies, and whoever stands before us may believe the other.
            raise Refused(400, "the request has two lengths")
        if scope.get("http_version") not in ("1.0", "1.1"):
            raise Refused(400, "the request is of another version of HTTP")
        return found

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not host or len(host) > 255:
            raise Refused(400, "the request names no host")
        name, colon, port = host.lower().rpartition(":")
        name = name if colon and port.isdigit() else host.lower()
        if name in LOCAL or name in (known.lower() for known in self.server.trusted_hosts):
            return
        # A name can be made to lead here by anybody who owns a domain; a number can't.
        if self.beyond and _is_address(name):
            return
        raise Refused(
            421, "this host name is not ours", hint="Add it to server.trusted_hosts, if it is meant to be."
        )

    def _inside(self, path: str) -> str:
        if not self.base:
            return path
        if path == self.base:
            return "/"
        # A proxy may have taken the base path away already.
        return path[len(self.base) :] if path.startswith(self.base + "/") else path

    # Who

    def _identify(self, scope: Scope, headers: Mapping[str, str], who: Who) -> Who:
        secure = False
        if self._is_proxy(scope):
            secure = headers.get("x-forwarded-proto", "").strip() == "https"
            forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            who = who._replace(client=forwarded if _is_address(forwarded) else who.client)
        who = who._replace(
            secure=secure, may_read=self.security.public_read, may_log_in=self.security.auth_enabled
        )
        if not self.security.auth_enabled:
            return who
        if (given := headers.get("authorization")) is not None:
            return who._replace(token=self._token(given, who), may_read=True)
        secret = cookie(headers.get("cookie", ""))
        if secret and self.logins.is_session(secret, desk.now()):
            return who._replace(session=secret, may_read=True)
        return who

    def _token(self, given: str, who: Who) -> str:
        scheme, _, secret = given.partition(" ")
        if scheme.lower() == "bearer" and (name := self.logins.token(secret.strip())):
            return name
        if wait := self.guesses.wait_s(who.client):
            raise Refused(429, "too many wrong tokens", hint="Wait, then try another one.", wait_s=wait)
        self.guesses.count(who.client)
        raise self._unknown()

    def _is_open(self, path: str) -> bool:
        return path in OPEN or path.startswith("/static/")

    def _unknown(self) -> Refused:
        # The same for no token and a wrong one, so that nothing is told of what was tried.
        return Refused(
            401, "this needs a login or a token", hint="Log in, or make a token: ankibak token add NAME"
        )

    # Writes

    async def _check_write(
        self, scope: Scope, headers: Mapping[str, str], who: Who, receive: Receive
    ) -> tuple[Who, Receive]:
        """Let a request through that changes something, with the form that it brought."""
        if scope["method"] != "POST":
            if not who.may_read:
                raise self._unknown()
            return who, again(b"")
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            raise Refused(403, "the request comes from another site")
        origin = headers.get("origin")
        # Browsers tell no origin where pages, as ours, ask them for no referrer.
        hidden = origin == "null" and site == "same-origin"
        if not (origin is None or hidden or _host_of(origin) == headers["host"].lower()):
            raise Refused(403, "the request comes from another site")
        if not self.security.auth_enabled:
            raise Refused(403, "nothing can be changed here", hint="Set security.auth_enabled = true.")
        login = scope["path"] == "/login"
        if not (who.may_write or login):
            raise self._unknown()
        body = await read_body(headers, receive)
        form = read_form(headers, body)
        is_api = scope["path"].startswith("/api/")
        if is_api and who.token is None:
            raise Refused(403, "the API takes a token", hint="Make one: ankibak token add NAME")
        # A page's form is believed only with the mark of its session; a token is in no browser.
        if (
            who.token is None
            and not login
            and not hmac.compare_digest(form.get("csrf", "").encode(), who.csrf.encode())
        ):
            raise Refused(403, "the form is not one of ours", hint="Go back, reload the page, and try again.")
        return who._replace(form=form), again(body)

    # Answers

    def _sealed(self, send: Send) -> Send:
        """Add our headers to an answer, but for those that it has of its own."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                names = {bytes(name).lower() for name, _ in given}
                given += [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in names
                ]
                message = {**message, "headers": given}
            await send(message)

        return sealed

    async def _refuse(self, scope: Scope, send: Send, error: AnkibakError, who: Who) -> None:
        status = status_of(error)
        path, page = scope["path"], wants_page(scope)
        if status == 401 and scope["method"] in ("GET", "HEAD") and page:
            target = path if path.startswith("/") and not path.startswith("//") else "/"
            query = scope.get("query_string", b"").decode("latin-1")
            after = quote(target + (f"?{query}" if query else ""), safe="/")
            await answer(send, 303, b"", [("location", f"{self.base}/login?next={after}")])
            return
        headers = [("content-type", "application/json")]
        if status == 401:
            headers.append(("www-authenticate", 'Bearer realm="ankibak"'))
        headers += headers_of(error).items()
        if page and status not in (400, 421):
            scope.setdefault("state", {}).update(who=who, error=error)
            await self.fail(scope, again(b""), send)
            return
        await answer(send, status, refusal(error), headers)


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # a bracket that isn't closed
        return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
