"""Downloads: a backup on its way out, in constant memory, and nothing left behind.

A collection alone, or a media file, has a length that is known, so it is got out into a
file first, and parts of it can be asked for. All other formats are written while they are sent, by
`ankibak export` as a process of its own: what it needs of memory and time is not the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from litestar import Request, Response
from litestar.response import Stream

from anki_backup import formats, heap
from anki_backup.errors import AnkibakError, NotFoundError, UsageError
from anki_backup.model import Backup
from anki_backup.repository import Repository
from anki_backup.web import jobs, piped
from anki_backup.web.forms import Receive, Scope, Send
from anki_backup.web.ranges import Span, span
from anki_backup.web.replies import Refused, is_known

BLOCK = 1 << 18
MOST = 16
DEFAULT = "tar.zst"
TYPES = {
    "tar.zst": "application/zstd",
    "zip": "application/zip",
    "colpkg": "application/zip",
    "apkg": "application/zip",
    "anki2": "application/vnd.sqlite3",
}
PLAIN = "anki2"
# No SVG: as a document of its own it could hold a script.
PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}


def words() -> list[str]:
    """Return the formats that can be sent, the first one unless told."""
    return [word for word in TYPES if word in formats.WORDS]


def file_name(backup: Backup, word: str, deck: str | None = None) -> str:
    """Return what a download is called."""
    part = f"-{deck.replace('::', ' - ')[:80]}" if deck else ""
    return f"{backup.source}-{backup.id}{part}.{word}"


def disposition(name: str) -> str:
    """Return how a file is named to a browser (RFC 6266): plain ASCII, and in full beside it."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%;/]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


class File(NamedTuple):
    """A file of a length that is known; `fill` writes it to a path, or says that it is damaged."""

    sha256: str
    size: int
    kind: str
    fill: Callable[[Path], object]


class Hall:
    """All downloads that go on; so many at once, and more are asked to come again."""

    def __init__(self, config: Path | None) -> None:
        self.config = config
        self.going = 0
        self.threads = ThreadPoolExecutor(MOST, "download")

    @contextlib.contextmanager
    def place(self) -> Any:
        if self.going >= MOST:
            raise Refused(429, f"{MOST} downloads go on already", hint="Try again in a minute.", wait_s=60)
        self.going += 1
        try:
            yield
        finally:
            self.going -= 1
            if not self.going:
                self.threads.submit(heap.give_back)

    def plain(self, request: Request[Any, Any, Any], file: File, headers: dict[str, str]) -> Response[Any]:
        """Return the answer that sends a file, or the part of it that is asked for."""
        headers["ETag"] = tag = f'"{file.sha256[:24]}"'
        if is_known(request, tag):
            return Response(b"", status_code=304, headers=headers, media_type=file.kind)
        return _Plain(self, file, span(request.headers, tag, file.size), headers)

    async def send(
        self,
        request: Request[Any, Any, Any],
        repository: Repository,
        backup: Backup,
        word: str | None,
        deck: str | None = None,
    ) -> Response[Any]:
        """Return the answer that sends a backup, or one deck of it."""
        known = words()
        word = word or (DEFAULT if DEFAULT in known else known[0])
        if word not in known:
            raise UsageError(f"there is no format {word!r}", hint=f"Choose one of {', '.join(known)}.")
        if deck and word != "apkg":
            raise UsageError("only apkg can hold one deck", hint="Add format=apkg.")
        if deck and all(each.name != deck for each in repository.decks(backup.id)):
            raise NotFoundError(f"there is no deck {deck!r} in {backup.id}")
        headers = {"Content-Disposition": disposition(file_name(backup, word, deck))}
        if word == PLAIN:
            file = File(
                backup.collection_sha256,
                backup.collection_bytes,
                TYPES[PLAIN],
                partial(repository.restore_collection, backup.id),
            )
            return self.plain(request, file, headers)
        if request.scope["state"]["bare"]:
            # Not a plain answer: that would tell a length of 0, and nobody knows it before the end.
            return Stream(iter(()), headers=headers, media_type=TYPES[word])
        asked = ["--log-format", "json", "export", backup.id, "-o", "-", f"--format={word}"]
        asked += [f"--deck={deck}"] if deck else []
        body = piped.blocks(jobs.command(repository.root, self.config, asked), BLOCK, self.place())
        # Once the answer has begun, all that can be told is that it breaks off.
        first = await anext(body, b"")
        return Stream(_Resumed(first, body), headers=headers, media_type=TYPES[word])


class _Resumed:
    """What was taken out already, then the rest.

    No generator, and there is only one below it: at the end of the server all that are left
    are closed at once, and of two that stand in each other the outer one would find the inner one busy.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self.first: bytes | None = first
        self.rest = rest

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self.first = self.first, None
        return await anext(self.rest) if first is None else first


class _Plain(Response[bytes]):
    """A file as it is: with its length, and in parts where that is asked for."""

    def __init__(self, hall: Hall, file: File, part: Span | None, headers: dict[str, str]) -> None:
        super().__init__(b"")
        self.hall, self.file, self.span, self.given = hall, file, part, headers

    def to_asgi_response(self, *args: Any, **more: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self.file.size
        start, end = self.span or (0, size)
        headers = {
            **self.given,
            "Content-Type": self.file.kind,
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
        }
        if self.span:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        begin = {"type": "http.response.start", "status": 206 if self.span else 200, "headers": told}
        if scope["state"]["bare"]:
            await send(begin)
            await send({"type": "http.response.body", "body": b""})
            return
        with self.hall.place(), tempfile.TemporaryDirectory(prefix="ankibak-") as folder:
            path = Path(folder) / "file"
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.hall.threads, self.file.fill, path)
            await send(begin)
            with open(path, "rb") as file:
                while start < end:
                    block = os.pread(file.fileno(), min(BLOCK, end - start), start)
                    if not block:
                        raise AnkibakError("the file ended early")
                    start += len(block)
                    await send({"type": "http.response.body", "body": block, "more_body": start < end})
