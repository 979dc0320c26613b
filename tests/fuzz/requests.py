"""What the fuzz target `http` sends: one request to every route, and what can be wrong with it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from tests.fuzz import LENGTH_LIMIT, mangled

HOST = b"Host: {host}\r\nX-Forwarded-For: {client}\r\n"
TOKEN = b"Authorization: Bearer {token}\r\n"
PAGE = b"Accept: text/html\r\nCookie: ankibak={session}\r\n"
OWN = b"Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"

API = """/api/v1/backups?source=desktop&limit=3&before={id} /api/v1/backups/{id} /api/v1/backups/latest
/api/v1/backups/{damaged} /api/v1/backups?since=2026-01-01T00:00:00%2B02:00
/api/v1/runs?source=desktop&since=2026-01-01&limit=2 /api/v1/jobs/{job} /api/v1/status /metrics
/api/v1/healthz /api/v1/readyz /api/v1/diff?from={older}&to={id}&items=true /api/v1/diff
/api/v1/backups/{id}/download?format=anki2 /schema/openapi.json /static/style.{style}.css"""
PAGES = """/ /?source=desktop /backups?source=desktop&before={id}&since=7d /backups?since=2026-11-01
/backups/{id}?all=1
/backups/{damaged} /backups/{id}/download?format=apkg&deck=Empty /backups/{id}/download?format=tar.zst
/backups/{id}/media/a%20b.png /backups/{id}/rollback /backups/{id}/cards?q=front&page=1
/backups/{id}/cards/{card}?q=front&history=1 /backups/{id}/cards/{card}/front /backups/{id}/cards/{card}/back
/compare?from={older}&to={id} /compare /lost?what=deck /lost?what=cards&source=desktop /lost?q=front+3
/lost?what=media /lost?what=all /runs?source=desktop&outcome=created&page=1 /jobs/{job} /config
/login?next=/runs"""
FORMS = {
    "/login": b"password={password}&next=%2Fruns",
    "/logout": b"csrf={csrf}",
    "/runs": b"csrf={csrf}&source=desktop",
    "/undo": b"csrf={csrf}&source=desktop",
    "/backups/{id}/rollback": b"csrf={csrf}&word=desktop",
    "/backups/{older}/pin": b"csrf={csrf}&label=a+label%20%C3%BC",
    "/backups/{older}/unpin": b"csrf={csrf}",
    "/backups/{id}/verify": b"csrf={csrf}",
}


def _get(path: str, who: bytes, method: bytes = b"GET") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, path.encode(), HOST, who)


def _post(path: str, headers: bytes, body: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\n%s%s\r\n%s" % (path.encode(), HOST, headers, body)


def _odd() -> Iterable[bytes]:
    """Yield requests that show what a client may do besides."""
    download = "/backups/{id}/download?format=anki2"
    yield _get(download, PAGE + b"Range: bytes=100-199\r\n")
    yield _get(download, PAGE, b"HEAD")
    yield _get("/backups/{id}/download?format=zip", PAGE, b"HEAD")
    yield _get("/api/v1/status", TOKEN + b'If-None-Match: "{id}"\r\n')
    yield _get("/static/style.{style}.css", b"Accept-Encoding: gzip\r\n")
    yield _get("/runs", PAGE) + _get("/api/v1/healthz", b"Connection: close\r\n")
    yield _post(
        "/api/v1/runs",
        TOKEN + b"Transfer-Encoding: chunked\r\n",
        b"5\r\na=1&b\r\n1;x=y\r\n=\r\n0\r\nX: y\r\n\r\n",
    )
    yield _post("/login", FORM + b"Expect: 100-continue\r\n", b"password=x")
    yield b"GET http://{host}/runs HTTP/1.0\r\nHost: {host}\r\n" + PAGE + b"X-Forwarded-Proto: https\r\n\r\n"
    yield b"PUT /backups/{id}/pin HTTP/1.1\r\n" + HOST + TOKEN + b"X-HTTP-Method-Override: POST\r\n\r\n"
    yield b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"


SEEDS = (
    *(_get(path, TOKEN) for path in API.split()),
    *(_get(path, PAGE) for path in PAGES.split()),
    *(_post(path, PAGE + OWN + FORM, form) for path, form in FORMS.items()),
    *(_post(path, TOKEN + FORM) for path in ("/api/v1/runs?source=desktop", "/api/v1/backups/{id}/rollback")),
    *_odd(),
)


def _lines(text: bytes) -> list[bytes]:
    """Return headers, one from each line; ` | ` stands for what ends a line within one."""
    return [line.replace(b" | ", b"\r\n") for line in text.split(b"\n")]


METHODS = b"GET HEAD POST PUT DELETE PATCH OPTIONS TRACE CONNECT get G\xc9T PRI PROPFIND".split()
PIECES = b"""%00 %2e%2e %2F %5c %ff %0d%0a %252e .. . // ; ? # %E2%80%AE %ED%A0%80 %C3%28 + %20 : \xff *
{id} {older} latest {damaged} {card} {job} {token} 0 -1 1e9 99999999999999999999
true null \xd9\xa3 %D9%A3 __failed__""".split()
PIECES += [b"a" * 300, b"a" * 9000, b"0001-01-01T00:00:00%2B14:00", b"9999-12-31T23:59:59-14:00", b"99999d"]
QUERY = b"""source since before limit from to items format deck q page what outcome history all next
_method""".split()
FIELDS = b"csrf password next word source label _method".split()
HEADERS = [HOST, TOKEN, PAGE, OWN, FORM]
HEADERS += _lines(
    b"""Content-Length: 0
Content-Length: 99
Content-Length: -1
Content-Length: 1000000000000000000
Content-Length: \xb2
Transfer-Encoding: chunked
Transfer-Encoding: gzip, chunked
Host: evil.example
Host: anki.example.org:443
Host: [::1
Host: \xff
Origin: null
Origin: http://[::1
Origin: https://evil.example
Sec-Fetch-Site: cross-site
Connection: close
Connection: Upgrade | Upgrade: websocket
Upgrade: h2c | Connection: upgrade, HTTP2-Settings
Expect: 100-continue
Accept: text/html
Accept: */*;q=\xff
Accept-Encoding: gzip, \xe9
Range: bytes=-1
Range: bytes=9-1
Range: bytes=99999999999-
Range: bytes=0-0,2-3
If-None-Match: *
Cookie: ankibak=\xff\xfe
Cookie: ankibak=a; ankibak={session}"""
)
HEADERS += [b"Cookie: " + b"a=b;" * 900]
HEADERS += _lines(
    b"""Authorization: Basic Og==
Authorization: \xe9\xff
Authorization:
Authorization: Bearer
X-Forwarded-For: \xff, ::1%25x
X-Forwarded-Proto: https
X-HTTP-Method-Override: POST
Content-Type: multipart/form-data; boundary=x
Content-Type: application/json
Content-Type: \xff
X: a\0b
X: a |  b
 X: a
X : a"""
)
HEADERS += [
    b"X: " + b"a" * 20_000,
    b"\r\n".join([b"X: 1"] * 2000),
    b":",
    b"no colon",
    b"Accept-Language: \x80",
]


def mangle(rnd: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return a request with a few things done to it: to its bytes, or to what they mean."""
    for _ in range(rnd.choice((1, 1, 2, 2, 3))):
        way = rnd.randrange(10)
        if way < 2:
            data = mangled(rnd, data, others)
            continue
        head, separator, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if way == 2:
            lines[0] = _other_line(rnd, lines[0])
        elif way in (3, 4):
            lines[0] = _other_target(rnd, lines[0])
        elif way in (5, 6):
            lines.insert(rnd.randrange(1, len(lines) + 1), rnd.choice(HEADERS).removesuffix(b"\r\n"))
        elif way == 7:
            at = rnd.randrange(len(lines))
            lines[at : at + 1] = rnd.choice(
                ([], [lines[at]] * 2, [lines[at].swapcase()], [lines[at].replace(b" ", b"", 1)])
            )
        elif way == 8:
            body = _other_body(rnd, body)
        else:
            other = rnd.choice(others)
            body = rnd.choice((body + other, other, body * 40, chunked(rnd, body)))
        data = b"\r\n".join(lines) + separator + body
    return data[: LENGTH_LIMIT * 2]


def _other_line(rnd: random.Random, line: bytes) -> bytes:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if rnd.randrange(3):
        return rnd.choice(METHODS) + b" " + rest
    return b" ".join(
        [method, target, rnd.choice((b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"", version * 2))]
    )


def _other_target(rnd: random.Random, line: bytes) -> bytes:
    """Put something odd into a path or a query."""
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    path, _, query = target.partition(b"?")
    piece = rnd.choice(PIECES)
    if rnd.randrange(2):
        parts = path.split(b"/")
        at = rnd.randrange(len(parts))
        parts[at] = rnd.choice((piece, parts[at] + piece, piece + parts[at]))
        path = b"/".join(parts) or b"/"
    else:
        pairs = [pair for pair in query.split(b"&") if pair]
        name = rnd.choice(QUERY)
        if pairs and rnd.randrange(2):
            at = rnd.randrange(len(pairs))
            name, _, value = pairs.pop(at).partition(b"=")
            piece = rnd.choice((piece, value + piece, piece + value))
        pairs.insert(0, name + b"=" + piece)
        query = b"&".join(pairs)
    return b" ".join([method, path + (b"?" + query if query else b""), version])


def _other_body(rnd: random.Random, body: bytes) -> bytes:
    """Put something odd into a form."""
    pairs = [pair for pair in body.split(b"&") if pair]
    match rnd.randrange(4):
        case 0 if pairs:
            at = rnd.randrange(len(pairs))
            name, _, value = pairs[at].partition(b"=")
            pairs[at] = name + b"=" + rnd.choice((b"", value + rnd.choice(PIECES), rnd.choice(PIECES)))
        case 1 if pairs:
            del pairs[rnd.randrange(len(pairs))]
        case 2:
            pairs += [rnd.choice(FIELDS) + b"=" + rnd.choice(PIECES)] * rnd.choice((1, 1, 60))
        case _:
            return body + rnd.choice((b"\r\n", b"\0", b"&" * 99, b"a" * 70_000))
    return b"&".join(pairs)


def chunked(rnd: random.Random, body: bytes) -> bytes:
    """Return a body in chunks, whose sizes may lie."""
    at = rnd.randrange(len(body) + 1)
    parts = [body[:at], body[at:]]
    told = [b"%x" % len(part) for part in parts]
    if not rnd.randrange(3):
        told[rnd.randrange(2)] = rnd.choice(
            (b"ffffffffffffffff", b"-1", b"", b"0", b"%x" % (1 << 70), b"1;" + b"a" * 9000)
        )
    return (
        b"".join(size + b"\r\n" + part + b"\r\n" for size, part in zip(told, parts, strict=True))
        + b"0\r\n\r\n"
    )
