"""What the pages look things up with: asked by several at once, and for many things."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from anki_backup import config, events, metrics
from anki_backup.repository import Repository
from anki_backup.web import happened
from anki_backup.web.comparing import Comparing
from anki_backup.web.desk import KEPT, Desk
from anki_backup.web.house import House
from anki_backup.web.jobs import Job, Jobs
from tests.web.conftest import Served


def test_two_who_compare_at_once_get_each_their_own(served: Served):
    ids = [backup.id for backup in served.repository.backups()]
    comparing = Comparing(served.repository)
    wait = threading.Event()
    comparing.thread.submit(wait.wait)

    async def both():
        pairs = [served.repository.backups()[at : at + 2] for at in (0, 2)]
        asked = [asyncio.create_task(comparing.between(*pair)) for pair in pairs]
        await asyncio.sleep(0)
        wait.set()
        return [(found.old, found.new) for found in await asyncio.gather(*asked)]

    assert asyncio.run(both()) == [tuple(ids[:2]), tuple(ids[2:4])]


def test_a_job_of_an_earlier_server_goes_on_and_a_number_that_was_given_anew_is_none(tmp_path: Path):
    jobs = Jobs(tmp_path, None)
    jobs.folder.mkdir(parents=True)
    name = "2026-01-01T00-00-00Z-00000000"
    # Its parent is no server of ours.
    command = ["/bin/sh", "-c", 'sh -c "echo; read line" "$0" <&3 & echo $!; wait', name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(["/bin/sh", "-c", 'exec 3<&0; exec "$@"', "sh", *command], **pipes) as between:
        number = int((between.stdout.readline() + between.stdout.readline()).strip())
        job = Job(id=name, words=["run"], started_at=datetime.now(UTC), process=number, by="test")
        (jobs.folder / f"{name}.json").write_text(json.dumps(to_builtins(job)))
        assert jobs.are_writing() and jobs.find(name).state == "running"
        for words, another in ((["pin"], number), (["run"], os.getpid())):
            other = replace(job, words=words, process=another)
            (jobs.folder / f"{name}.json").write_text(json.dumps(to_builtins(other)))
            assert not jobs.are_writing()
        assert jobs.find(name).state == "lost"
        (jobs.folder / f"{name}.json").write_text("[]")
        assert not jobs.are_writing()
        between.communicate(b"\n")


def test_what_was_asked_for_is_not_remembered_without_bounds(served: Served):
    desk = Desk(served.place / "repository", config.load(served.place / "config.toml", {}), None)
    for limit in range(1, 700):
        assert desk.runs(None, None, limit)
    assert len(desk._known) <= KEPT


def test_events_that_are_not_as_ours_are_stop_no_page(serve):
    served: Served = serve()
    log = served.repository.history.log
    strange = [{"alarm": None}, {"alarm": [1], "backup": {}}, {"alarm": {"kind": 1}}]
    with served.repository.writing("test"):
        for fields in strange:
            served.repository.record("alarm", **fields)
    lines = log.read_bytes()
    log.write_bytes(events.encode({"n": 1, "at": "one day", "event": "run_started"}) + lines)
    desk = Desk(served.place / "repository", config.load(served.place / "config.toml", {}), None)
    assert happened.began_at(desk) is None and isinstance(happened.alarmed(desk), set)
    with served.client() as client:
        assert {client.get(path).status_code for path in ("/", "/runs")} == {200}


def test_all_runs_are_counted_once_until_the_repository_changes(served: Served):
    root = served.place / "repository"
    house = House(root, config.load(served.place / "config.toml", {}), None)
    repository = Repository.open(root)
    for number in (1, 2):
        failed = {"source": "other", "started_at": f"2026-11-01T1{number}:00:00Z", "outcome": "failed"}
        with repository.writing("test"):
            repository.record("run", run=10_000 + number, **failed)
        assert f'ankibak_runs_total{{source="other",outcome="failed"}} {number}\n' in house.metrics()
        assert house.desk.remembered("counters", list) == metrics.counters(repository)
