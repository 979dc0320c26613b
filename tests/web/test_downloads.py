"""Downloads by program: their bytes, parts of them, and what is told of them before."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from anki_backup.web import downloads, piped
from anki_backup.web.replies import Refused
from tests.web.conftest import Served


def test_a_download_has_the_bytes_that_the_manifest_names(served: Served):
    with served.client() as client:
        newest = client.get("/api/v1/backups/latest").json()
        answer = client.get("/api/v1/backups/latest/download", params={"format": "anki2"})
    assert hashlib.sha256(answer.content).hexdigest() == newest["collection_sha256"]
    assert int(answer.headers["content-length"]) == newest["collection_bytes"] == len(answer.content)
    assert f'filename="desktop-{newest["id"]}.anki2"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-15", 206, slice(0, 16)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-20", 206, slice(-20, None)),
        ("bytes=5-1000000000", 206, slice(5, None)),
        ("lines=1-2", 200, slice(None)),
        ("bytes=9-3", 200, slice(None)),
        ("bytes=99999999999-", 416, slice(0)),
    ],
)
def test_parts_of_a_plain_file_can_be_asked_for(served: Served, asked: str, status: int, part: slice):
    with served.client() as client:
        path = "/api/v1/backups/latest/download?format=anki2"
        whole = client.get(path).content
        answer = client.get(path, headers={"Range": asked})
    assert answer.status_code == status
    if status < 400:
        assert answer.content == whole[part]


def test_a_part_beyond_the_end_tells_how_long_the_file_is(served: Served):
    with served.client() as client:
        size = client.get("/api/v1/backups/latest").json()["collection_bytes"]
        path = "/api/v1/backups/latest/download?format=anki2"
        answer = client.get(path, headers={"Range": f"bytes={size}-"})
        page = client.get(path.removeprefix("/api/v1"), headers={"Range": f"bytes={size}-"})
    assert answer.headers["content-range"] == page.headers["content-range"] == f"bytes */{size}"


def test_a_download_is_gone_on_with_only_where_it_is_the_same_file(served: Served):
    with served.client() as client:
        path = "/api/v1/backups/latest/download?format=anki2"
        whole = client.get(path)
        first = client.get("/api/v1/backups", params={"limit": 500}).json()["backups"][-1]["id"]
        other = client.head(f"/api/v1/backups/{first}/download?format=anki2").headers["etag"]

        def go_on(mark: str) -> tuple[int, bytes]:
            answer = client.get(path, headers={"Range": "bytes=3000-", "If-Range": mark})
            return answer.status_code, answer.content

        assert go_on(whole.headers["etag"]) == (206, whole.content[3000:])
        for mark in (other, f"W/{whole.headers['etag']}", "Sun, 01 Nov 2026 10:00:00 GMT"):
            assert go_on(mark) == (200, whole.content)
        beyond = client.get(path, headers={"Range": "bytes=99999999999-", "If-Range": other})
    assert beyond.status_code == 200


def test_a_collection_that_is_known_is_not_sent_again(served: Served):
    with served.client() as client:
        path = "/api/v1/backups/latest/download?format=anki2"
        mark = client.head(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": mark, "Range": "bytes=3-"})
        changed = client.get(path, headers={"If-None-Match": '"another"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", mark)
    assert changed.status_code == 200 and changed.content


def test_head_tells_the_length_and_sends_nothing(served: Served):
    with served.client() as client:
        answer = client.head("/api/v1/backups/latest/download?format=anki2")
        size = client.get("/api/v1/backups/latest").json()["collection_bytes"]
    assert answer.status_code == 200 and answer.content == b""
    assert int(answer.headers["content-length"]) == size


@pytest.mark.parametrize("word", ["tar.zst", "zip", "colpkg", "apkg"])
def test_head_tells_no_length_of_what_is_written_while_it_is_sent(served: Served, word: str):
    with served.client() as client:
        path = f"/api/v1/backups/latest/download?format={word}"
        answer = client.head(path)
        with client.stream("GET", path) as whole:
            assert dict(answer.headers) | {"date": ""} == dict(whole.headers) | {"date": ""}
    assert answer.status_code == 200 and answer.content == b""
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("asked", ["format=tar.zst", "format=colpkg", "format=apkg&deck=Chess+endings"])
def test_what_a_download_takes_is_not_the_servers(serve: Callable[[], Served], asked: str):
    served = serve()
    with served.client() as client:
        client.get("/api/v1/backups")
        before = peak_kib(served)
        assert len(client.get(f"/api/v1/backups/latest/download?{asked}").content) > 1000
    assert "_rsbridge" not in Path(f"/proc/{served.process.pid}/maps").read_text()
    assert peak_kib(served) < before + (8 << 10)


def peak_kib(served: Served) -> int:
    return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{served.process.pid}/status").read_text())[1])


def test_one_download_too_many_is_asked_to_come_again_and_starts_no_process():
    hall = downloads.Hall(None)
    hall.going = downloads.MOST
    with pytest.raises(Refused) as refused:
        asyncio.run(anext(piped.blocks(["no such program"], 1000, hall.place())))
    assert (refused.value.status, refused.value.wait_s, hall.going) == (429, 60, downloads.MOST)
