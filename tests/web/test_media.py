"""Media of a backup by browser: listed, found by a part of the name, and given back as they were."""

from __future__ import annotations

import hashlib

import pytest

from tests.web.conftest import Served

PAGE = {"Accept": "text/html"}


def test_each_file_is_listed_and_given_back(served: Served):
    backup = served.repository.backups()[-1]
    files = {file.name.decode(): file for file in served.repository.media(backup.id)}
    with served.client() as client:
        shown = client.get(f"/backups/{backup.id}/media", headers=PAGE).text
        for name, file in files.items():
            assert name in shown
            answer = client.get(f"/backups/{backup.id}/media/{name}?download=1")
            assert hashlib.sha256(answer.content).hexdigest() == file.sha256
            assert int(answer.headers["content-length"]) == file.size
            assert answer.headers["content-disposition"].startswith("attachment; ")
        some = client.get(f"/backups/{backup.id}/media", params={"q": "PICTURE 3"}, headers=PAGE).text
    assert [name in some for name in files] == ["picture 3" in name.casefold() for name in files]


def test_a_part_of_a_file_is_sent_and_nothing_that_is_known(served: Served):
    file = served.repository.media(served.repository.backups(limit=1)[0].id)[0]
    path = f"/backups/latest/media/{file.name.decode()}?download=1"
    with served.client() as client:
        whole = client.get(path)
        part = client.get(path, headers={"Range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, whole.content[2:6])
        assert part.headers["content-range"] == f"bytes 2-5/{file.size}"
        assert client.get(path, headers={"Range": f"bytes={file.size}-"}).status_code == 416
        for known in (whole.headers["etag"], "*"):
            assert client.get(path, headers={"If-None-Match": known}).status_code == 304
        head = client.head(path)
        assert (head.headers["content-length"], head.content) == (str(file.size), b"")


@pytest.mark.parametrize(
    "asked", ["media?page=x", "media/none.png?download=1", "media/..%2F..%2Fmarker?download=1"]
)
def test_what_is_not_there_is_told(served: Served, asked: str):
    with served.client() as client:
        assert client.get(f"/backups/latest/{asked}", headers=PAGE).status_code in (400, 404)


def test_a_file_that_is_gone_can_be_fetched_where_it_is_found(serve):
    served: Served = serve()
    with served.client() as client:
        shown = client.get("/lost", params={"q": "picture 3"}, headers=PAGE).text
        assert "media/picture%203.png?download=1" in shown


def test_a_damaged_file_is_not_given_as_if_it_were_good(serve):
    served: Served = serve()
    file = served.repository.media(served.repository.backups()[-1].id)[0]
    path = served.repository.store.path(file.sha256)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with served.client() as client:
        answer = client.get(f"/backups/latest/media/{file.name.decode()}?download=1", headers=PAGE)
    assert answer.status_code == 422 and "This is damaged" in answer.text
