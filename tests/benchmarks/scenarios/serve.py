"""The web view on many thousand backups: its start, its pages, slow clients, and a large download.

Pages are asked for one after the other, over a connection that stays; each time is
that until the last byte. Pages of one backup are of another backup each time. The
collection has a gigabyte of media, as many real ones, and pictures and decks to draw.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from tests.benchmarks import many
from tests.benchmarks.inputs import Site, Student
from tests.benchmarks.measure import BenchmarkError
from tests.benchmarks.peers import Ankibak, programs
from tests.benchmarks.serving import PASSWORD, Answer, Server, Wire, slow_clients

# These differ by backup: as many of them are asked for as there are requests.
OF_ONE = {
    "one backup": "/backups/{}",
    "its media": "/backups/{}/media",
    "roll back": "/backups/{}/rollback",
    "backups, further back": "/backups?before={}",
}
PAGES = {
    "home": "/",
    "backups": "/backups",
    "lost": "/lost",
    "lost: a deck": "/lost?what=deck",
    "lost: cards": "/lost?what=cards",
    "lost: media": "/lost?what=media",
    "lost: all": "/lost?what=all",
    "runs": "/runs",
    "config": "/config",
    "cards": "/backups/latest/cards",
}
DOCUMENTS = {
    "backups": "/api/v1/backups",
    "runs": "/api/v1/runs",
    "status": "/api/v1/status",
    "healthz": "/api/v1/healthz",
    "readyz": "/api/v1/readyz",
    "metrics": "/metrics",
    "openapi.json": "/schema/openapi.json",
}
DOCUMENTS_OF_ONE = {"one backup": "/api/v1/backups/{}", "backups, further back": "/api/v1/backups?before={}"}
DOWNLOADS = ("tar.zst", "colpkg")
HEALTH = "/api/v1/healthz"
# A media file has 100 KB on average.
LEAST_BYTES = 80_000


def measure(site: Site) -> dict[str, Any]:
    """Return all of that; the memory is that of a server which did nothing but the download."""
    profile = site.profile(site.reference(), site.sizes.package_media)
    many.enliven(profile / "collection.anki2")
    ankibak = programs(site.place, profile, ("ankibak",))["ankibak"]
    assert isinstance(ankibak, Ankibak)
    with Student(profile) as student:
        many.fill(site, ankibak, student)
    subprocess.run(
        ankibak.words("passwd"),
        input=f"{PASSWORD}\n".encode(),
        env=ankibak.environment,
        check=True,
        capture_output=True,
    )
    ids = [backup["id"] for backup in ankibak.backups()]
    with Server(ankibak) as server:
        cookie = {"Cookie": server.log_in()}
    return {
        "backups": len(ids),
        "requests": site.sizes.requests,
        "starts": _starts(site, ankibak, cookie),
        **_answers(site, ankibak, cookie, ids),
        "slow": _slow(site, ankibak, cookie),
        "downloads": {form: _download(site, ankibak, cookie, form) for form in DOWNLOADS},
    }


def _starts(site: Site, ankibak: Ankibak, cookie: Mapping[str, str]) -> dict[str, list[dict[str, float]]]:
    """Return the time from the start of the process to the end of the first answer, and to the first page."""
    site.say("start it")
    found: dict[str, list[dict[str, float]]] = {"by itself": [], "by its socket": [], "to the first page": []}
    for _ in range(site.sizes.repeats):
        for name, times in found.items():
            path = "/" if name == "to the first page" else HEALTH
            with (
                Server(ankibak, activated=name == "by its socket") as server,
                Wire(server.port, cookie) as wire,
            ):
                _well(wire.get(path))
                times.append({"seconds": round(time.perf_counter() - server.began, 4)})
    return found


def _answers(
    site: Site, ankibak: Ankibak, cookie: Mapping[str, str], ids: list[str]
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return every request of each kind of page and of document, the very first one first."""
    spread = ids[:: max(1, len(ids) // site.sizes.requests)]
    newest = f"from={ids[1]}&to={ids[0]}"
    pages = _paths(PAGES | {"compare": f"/compare?{newest}"}, OF_ONE, spread)
    documents = _paths(DOCUMENTS | {"diff": f"/api/v1/diff?{newest}"}, DOCUMENTS_OF_ONE, spread)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for part, kinds in (("pages", pages), ("documents", documents)):
        with Server(ankibak) as server, Wire(server.port, cookie) as wire:
            site.say(f"{site.sizes.requests} times each: {', '.join(kinds)}")
            found[part] = {
                kind: [_well(wire.get(next(path))).figures() for _ in range(site.sizes.requests)]
                for kind, path in kinds.items()
            }
    with Server(ankibak) as server, Wire(server.port) as stranger:
        asked = [_well(stranger.get("/login")).figures() for _ in range(site.sizes.requests)]
    return found | {"pages": found["pages"] | {"login": asked}}


def _paths(one: Mapping[str, str], of_each: Mapping[str, str], ids: list[str]) -> dict[str, Iterator[str]]:
    """Return for each kind the paths to ask for: always one, or that of another backup each time."""
    always = {kind: cycle([path]) for kind, path in one.items()}
    return always | {kind: cycle([path.format(each) for each in ids]) for kind, path in of_each.items()}


def _slow(site: Site, ankibak: Ankibak, cookie: Mapping[str, str]) -> dict[str, Any]:
    """Return normal requests, each over a connection of its own, while slow clients go on."""
    site.say(f"{site.sizes.slow_clients} slow clients")
    found = []
    with Server(ankibak) as server:
        with Wire(server.port, cookie) as wire:
            _well(wire.get("/"))
        with slow_clients(server.port, site.sizes.slow_clients):
            end = time.monotonic() + site.sizes.slow_seconds
            while time.monotonic() < end:
                began = time.perf_counter()
                with Wire(server.port, cookie) as wire:
                    _well(wire.get("/"))
                found.append({"seconds": round(time.perf_counter() - began, 5)})
                time.sleep(0.05)
    return {"clients": site.sizes.slow_clients, "requests": found}


def _download(site: Site, ankibak: Ankibak, cookie: Mapping[str, str], form: str) -> dict[str, float]:
    """Return a download of the newest backup, and the server's peak of memory."""
    site.say(f"download as {form}")
    with Server(ankibak) as server, Wire(server.port, cookie) as wire:
        before = server.peak_bytes()
        answer = _well(wire.get(f"/backups/latest/download?format={form}"))
        peak = server.peak_bytes()
    if answer.wire_bytes < site.sizes.package_media * LEAST_BYTES:
        raise BenchmarkError(f"the download as {form} has only {answer.wire_bytes} bytes")
    return answer.figures() | {"peak_rss_bytes": peak, "started_rss_bytes": before}


def _well(answer: Answer) -> Answer:
    if answer.status != 200:
        raise BenchmarkError(f"an answer has the status {answer.status}: {answer.headers}")
    return answer
