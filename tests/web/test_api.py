"""The API gives the same documents as `--json`, and its writes are the program's own commands."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.model import ID_PATTERN
from anki_backup.sources.profile import Profile
from tests.made_collections import sql
from tests.web.conftest import Served, csrf


def typed(run_ankibak, served: Served, *args: str) -> dict:
    """Return what the program prints for the same question."""
    done = run_ankibak("-c", served.place / "config.toml", *args, "--json")
    return json.loads(done.stdout)


def ended(client, event: str) -> dict:
    """Wait for a job, and return how it ended."""
    for _ in range(300):
        state = client.get(event).json()
        if state["state"] != "running":
            return state
        time.sleep(0.2)
    raise AssertionError("the job went on and on")


def test_the_list_is_that_of_list_json(served: Served, run_ankibak):
    with served.client() as client:
        found = client.get("/api/v1/backups", params={"limit": 5}).json()
    assert found["backups"] == typed(run_ankibak, served, "list", "--limit", "5")["backups"]


def test_paging_comes_by_all_of_them_once(served: Served):
    with served.client() as client:
        names, before = [], None
        while True:
            page = client.get("/api/v1/backups", params={"limit": 3} | ({"before": before} if before else {}))
            names += [backup["id"] for backup in page.json()["backups"]]
            if not (before := page.json()["next"]):
                break
        everything = client.get("/api/v1/backups", params={"limit": 500}).json()["backups"]
    assert names == [backup["id"] for backup in everything]
    assert len(set(names)) == len(names) > 6


def test_the_list_can_be_narrowed(served: Served):
    with served.client() as client:
        assert client.get("/api/v1/backups", params={"source": "desktop"}).json()["backups"]
        newest = client.get("/api/v1/backups", params={"limit": 1}).json()["backups"][0]
        since = client.get("/api/v1/backups", params={"since": newest["created_at"]}).json()
    assert [backup["id"] for backup in since["backups"]] == [newest["id"]]
    assert since["next"] is None


@pytest.mark.parametrize("what", ["backups", "runs"])
def test_a_source_that_nobody_knows_is_not_found(served: Served, what: str):
    with served.client() as client:
        for more in ({}, {"before": "2026-01-01T00-00-00Z" if what == "backups" else "1"}):
            answer = client.get(f"/api/v1/{what}", params={"source": "nope"} | more)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert client.get(f"/api/v1/{what}", params={"since": "2200-01-01T00:00:00Z"}).status_code == 200


def test_paging_comes_by_all_runs_once(served: Served):
    with served.client() as client:
        everything = client.get("/api/v1/runs", params={"limit": 500}).json()
        for narrowed in ({}, {"source": "desktop"}):
            seen, before = [], None
            while True:
                asked = {"limit": 40} | narrowed | ({"before": before} if before else {})
                page = client.get("/api/v1/runs", params=asked).json()
                seen += page["results"]
                if not (before := page["next"]):
                    break
            assert seen == everything["results"]
    assert len(seen) > 200 and everything["next"] is None


def test_since_is_a_time_or_a_day(served: Served):
    backups = served.repository.backups()
    made = backups[3].created_at
    with served.client() as client:
        for since in (made.isoformat(), f"{made:%Y-%m-%dT%H:%M:%SZ}"):
            found = client.get("/api/v1/backups", params={"since": since, "limit": 500}).json()["backups"]
            assert [each["id"] for each in found] == [each.id for each in backups[:4]]
        assert client.get("/api/v1/runs", params={"since": f"{made:%Y-%m-%d}"}).status_code == 200
        for wrong in ("", "0.5", "yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00"):
            told = client.get("/api/v1/runs", params={"since": wrong})
            assert told.status_code == 400 and "2026-01-31T18:00:00Z" in told.json()["error"]["hint"]


@pytest.mark.parametrize(("zone", "after"), [("Etc/GMT+12", 1), ("Etc/GMT-12", 2)])
def test_since_without_an_offset_is_in_the_zone_of_the_schedule(zone, after, serve):
    served = serve(settings=f'[schedule]\ntimezone = "{zone}"\n')
    first, second = (backup.created_at for backup in served.repository.backups()[:2])
    since = first.astimezone(ZoneInfo(zone)) if after == 1 else second.astimezone(ZoneInfo(zone))
    with served.client() as client:
        asked = {"since": f"{since:%Y-%m-%dT%H:%M:%S}"}
        assert len(client.get("/api/v1/backups", params=asked).json()["backups"]) == after


def test_the_document_tells_the_least_number_too(served: Served):
    with served.client() as client:
        document = client.get("/schema/openapi.json").json()
    parameters = {
        each["name"]: each["schema"] for each in document["paths"]["/api/v1/runs"]["get"]["parameters"]
    }
    assert "'minimum': 0" in str(parameters["before"])
    assert "date-time" in str(parameters["since"])


def test_one_backup_is_that_of_show_json(served: Served, run_ankibak):
    with served.client() as client:
        newest = client.get("/api/v1/backups/latest").json()
        assert client.get(f"/api/v1/backups/{newest['id']}").json() == newest
    assert newest == typed(run_ankibak, served, "show", "latest")


def test_status_is_that_of_status_json(served: Served, run_ankibak):
    with served.client() as client:
        found = client.get("/api/v1/status").json()
    expected = typed(run_ankibak, served, "status")
    for document in (found, expected):
        for source in document["sources"]:
            source.pop("age_s"), source.pop("next_run_at")
    assert found == expected


def test_runs_are_those_of_runs_json(served: Served, run_ankibak):
    with served.client() as client:
        found = client.get("/api/v1/runs", params={"limit": 20}).json()
    assert found.pop("next")
    assert found == typed(run_ankibak, served, "runs", "--limit", "20")


def test_runs_since_a_time_are_those_since_then(served: Served):
    with served.client() as client:
        first = client.get("/api/v1/runs?limit=9").json()["results"][-1]["started_at"]
        there = timezone(timedelta(hours=14))
        for earlier, found in ((timedelta(seconds=1), True), (-timedelta(seconds=1), False)):
            at = datetime.fromisoformat(first) - earlier
            params = {"since": at.astimezone(there).isoformat(), "limit": 500}
            told = client.get("/api/v1/runs", params=params).json()["results"]
            assert (first in [run["started_at"] for run in told]) is found


def test_a_deck_without_cards_is_told_as_such(serve):
    served = serve()
    path = served.place / "profile" / "collection.anki2"
    deck = "DELETE FROM cards WHERE did = (SELECT id FROM decks WHERE name = 'Chess endings')"
    sql(path, deck, "UPDATE col SET mod = mod + 1")
    assert runs.back_up(served.repository, Profile("desktop", path), Options(threads=1)).backup
    with served.client() as client:
        asked = {"format": "apkg", "deck": "Chess endings"}
        answer = client.get("/backups/latest/download", params=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_an_answer_that_is_known_is_not_sent_again(served: Served):
    with served.client() as client:
        first = client.get("/api/v1/backups")
        again = client.get("/api/v1/backups", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_metrics_are_for_those_with_a_token(served: Served):
    with served.client() as client:
        answer = client.get("/metrics")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
        assert "\nankibak_safe " in answer.text and 'source="desktop"' in answer.text
    with served.client(None) as client:
        assert client.get("/metrics").status_code == 401


def test_what_changed_is_that_of_diff_json(served: Served, run_ankibak):
    with served.client() as client:
        assert client.get("/api/v1/diff").json() == typed(run_ankibak, served, "diff")
        with_items = client.get("/api/v1/diff", params={"items": "1"}).json()
    assert with_items == typed(run_ankibak, served, "diff", "--notes")


def test_health_needs_no_login_and_tells_nothing(served: Served):
    with served.client(None) as client:
        assert client.get("/api/v1/healthz").json() == {"ok": True}
        assert client.get("/api/v1/readyz").json() == {"ok": True}


def test_the_openapi_document_is_held_against_the_page_of_the_api(served: Served):
    page = (Path(__file__).parents[2] / "docs" / "API.md").read_text("utf-8")
    with served.client() as client:
        document = client.get("/schema/openapi.json").json()
    routes = {f"{method.upper()} {path}" for path, verbs in document["paths"].items() for method in verbs}
    assert len(routes) >= 11
    assert {route for route in routes if f"`{route}" not in page} == set()


def test_a_run_is_started_by_a_token(serve):
    served = serve()
    with served.client() as client:
        started = client.post("/api/v1/runs")
        assert started.status_code == 202
        state = ended(client, started.json()["event"])
        assert state["state"] == "done", state
        assert client.get("/api/v1/runs", params={"limit": 1}).json()["results"][0]["source"] == "desktop"


@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/backups/latest/rollback"])
def test_of_several_at_once_one_is_started_and_the_others_are_told(serve, path: str):
    served = serve()
    # As after a run of a process that has ended: nobody holds the lock yet.
    (served.place / "repository" / "state" / "lock").write_text("")
    with served.client() as client, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(path), range(4)))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
        (event,) = [answer.json()["event"] for answer in answers if answer.status_code == 202]
        assert ended(client, event)["state"] == "done"
        assert client.post("/api/v1/runs").status_code == 202


def test_verifying_from_a_page_is_seen_on_it(serve):
    served = serve()
    with served.browser() as client:
        page = client.get("/backups/latest")
        assert "<dd>not yet</dd>" in page.text
        started = client.post("/backups/latest/verify", data={"csrf": csrf(page)})
        state = ended(client, f"/api/v1{started.headers['location']}")
        assert (state["state"], state["result"]["proven"]) == ("done", 1), state
        assert client.get("/api/v1/backups/latest").json()["verified_at"] >= state["started_at"]
        assert "<dd>not yet</dd>" not in client.get("/backups/latest").text


def test_a_rollback_by_token_moves_the_pointer_and_writes_the_event(serve):
    served = serve()
    with served.client() as client:
        names = [backup["id"] for backup in client.get("/api/v1/backups").json()["backups"]]
        target = names[2]
        started = client.post(f"/api/v1/backups/{target}/rollback")
        assert started.status_code == 202
        state = ended(client, started.json()["event"])
        assert state["state"] == "done", state
        assert state["result"]["to"] == target
        assert served.repository.pointers()["desktop"] == target
        log = (served.place / "repository" / "state" / "events.jsonl").read_text()
        rolled = [json.loads(line) for line in log.splitlines() if '"event":"rollback"' in line]
        assert rolled[-1]["to"] == target and rolled[-1]["safety"] in {
            backup["id"] for backup in client.get("/api/v1/backups").json()["backups"]
        }
        again = client.post(f"/api/v1/backups/{target}/rollback")
        assert again.status_code == 429 and 0 < int(again.headers["retry-after"]) <= 600
        assert again.json()["error"]["code"] == "too_many"


@pytest.mark.parametrize("name", ["x", "2026-01-01T00-00-00Z", "2026-01-01T00-00-00Z%0A", "..%2f..%2fetc"])
def test_what_is_no_backup_is_not_found(served: Served, name: str):
    with served.client() as client:
        answer = client.get(f"/api/v1/backups/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_ids_that_are_listed_are_ids(served: Served):
    with served.client() as client:
        found = client.get("/api/v1/backups").json()["backups"]
    assert all(ID_PATTERN.fullmatch(backup["id"]) for backup in found)
