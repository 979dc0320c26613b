"""The page before a rollback: what it would take away and bring back, as `rollback --dry-run` counts it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from pathlib import Path

import httpx
import pytest

from anki_backup import config
from anki_backup.web import app
from anki_backup.web.house import House
from tests.web.conftest import PASSWORD, Served
from tests.web.lively import after

PAGE = {"Accept": "text/html"}
ORIGIN = "http://127.0.0.1:8088"


def told(page: str) -> dict[str, list[int]]:
    """Return the figures of each kind: now, lost, back, changed, afterwards."""
    found = {}
    for row in re.findall(r'<tr><th scope="row">.*?</tr>', page):
        noun, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        texts = [re.sub(r"<[^>]*>|[^\w]", "", cell) for cell in cells]
        found[noun] = [0 if text == "none" else int(text) for text in texts]
    return found


def figures(client: httpx.Client, backup: str) -> dict[str, list[int]]:
    for _ in range(100):
        shown = client.get(f"/backups/{backup}/rollback", headers=PAGE)
        if "Refresh" not in shown.headers:
            return told(shown.text)
        time.sleep(0.1)
    raise AssertionError("it is never done")


def test_the_page_counts_what_is_lost_and_what_comes_back_as_a_dry_run_does(serve, run_ankibak):
    served: Served = serve()
    old = served.repository.backups(limit=1)[0]
    media = served.place / "profile" / "collection.media"
    pictures = sorted(media.iterdir())
    for number, path in enumerate(pictures[:3]):
        path.unlink()
        (media / f"new {number}.png").write_bytes(b"new %d" % number)
    some = "(SELECT id FROM notes ORDER BY id LIMIT 60)"
    after(
        served.place,
        f"UPDATE cards SET id = id + 7000000, nid = nid + 9000000 WHERE nid IN {some}",
        f"UPDATE notes SET id = id + 9000000, guid = 'n' || guid WHERE id IN {some}",
    )
    with served.client() as client:
        found = figures(client, old.id)
    dry = run_ankibak("-c", served.place / "config.toml", "rollback", old.id, "--dry-run", "--json")
    plan = json.loads(dry.stdout)["plan"]
    assert found["notes"][1:3] == [60, 60]
    assert found["media files"] == [9, 0, 3, 0, 12], "none is removed"
    for noun, (_, lost, back, *_) in found.items():
        assert (lost, back) == (plan[noun.split()[0]]["lost"], plan[noun.split()[0]]["regained"]), noun
    media.rename(media.with_name("media"))
    with served.client() as client:
        assert figures(client, old.id)["media files"] == [9, 0, 0, 0, 9], "as for the user of a sync server"


@pytest.mark.filterwarnings("ignore:.*deprecated inferred style")
def test_while_it_is_compared_the_page_says_so_and_can_be_gone_on_from(place: Path):
    house = House(place / "repository", _config(place), None)
    free = threading.Event()
    house.comparing.thread.submit(free.wait)
    oldest = house.desk.repository.backups()[-1]
    path = f"/backups/{oldest.id}/rollback"

    async def visit() -> None:
        transport = httpx.ASGITransport(app.build(house))
        headers = {**PAGE, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as client:
            assert (await client.post("/login", data={"password": PASSWORD})).status_code == 303
            waiting = await client.get(path)
            assert "being compared" in waiting.text and waiting.headers["Refresh"] == "1"
            assert 'name="word"' not in waiting.text, "what is typed would be lost"
            without = await client.get(f"{path}?wait=no")
            assert 'name="word"' in without.text and "Refresh" not in without.headers
            free.set()
            for _ in range(100):
                shown = await client.get(path)
                if "Refresh" not in shown.headers:
                    break
                await asyncio.sleep(0.1)
            assert 'name="word"' in shown.text and "notes" in told(shown.text)

    try:
        asyncio.run(visit())
    finally:
        free.set()


def _config(place: Path) -> config.Config:
    text = '[storage]\nroot = "repository"\n[sources.desktop]\nkind = "profile"\npath = "profile"\n'
    (place / "config.toml").write_text(text)
    return config.load(place / "config.toml", {})
