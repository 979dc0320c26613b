"""Pages beside a prune: none falls over what is gone by now, and nothing old is remembered as new."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import to_builtins

from anki_backup import config, prune
from anki_backup.errors import NotFoundError
from anki_backup.model import BackupStats, DeckStats
from anki_backup.repository import Repository
from anki_backup.web import drops, home, lost
from anki_backup.web.desk import Desk
from anki_backup.web.jobs import Job
from tests import committed
from tests.test_steady import once
from tests.web.conftest import Served

PAGE = {"Accept": "text/html"}
MANY = 300


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which a deck lost half of its cards in the middle."""
    folder = tmp_path_factory.mktemp("beside")
    repository = committed.written(folder / "repository")
    with repository.writing("test"), pytest.MonkeyPatch.context() as patched:
        for number in range(MANY):
            cards = 100 if number <= MANY // 2 else 50
            patched.setattr(committed, "DECKS", [DeckStats(id=7, name="French", cards=cards)])
            at = committed.AT + timedelta(hours=number)
            committed.add(repository, at, stats=BackupStats(cards=cards), media_files=3)
        repository.index()
    (folder / "config.toml").write_text('[storage]\nroot = "repository"\n')
    return folder


@pytest.fixture
def folder(shrunk: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shrunk, tmp_path / "folder"))


@pytest.fixture
def desk(folder: Path) -> Desk:
    return Desk(folder / "repository", config.load(folder / "config.toml", {}), None)


def remove(folder: Path, ids: set[str]) -> None:
    repository = Repository.open(folder / "repository")
    with repository.writing("prune"):
        prune._set_aside(repository, ids)
        repository.record("pruned", backups=sorted(ids), freed_bytes=1, inherited_bytes=0)
        repository.index()


def asked(desk: Desk, look: Callable[[], object]) -> object:
    return asyncio.run(desk.ask(look))


def test_a_backup_that_is_removed_while_its_page_is_made_is_not_there(desk, folder, monkeypatch):
    name, real = desk.entries()[3].id, Desk.backup
    go = once(lambda: remove(folder, {name}))
    monkeypatch.setattr(Desk, "backup", lambda self, word: (real(self, word), go(0))[0])
    with pytest.raises(NotFoundError):
        asked(desk, lambda: desk.after(desk.backup(name)))


def test_cards_that_were_lost_are_found_beside_a_prune(desk, folder, monkeypatch):
    ids, real = [entry.id for entry in desk.entries()], Desk.backups
    go = once(lambda: remove(folder, set(ids[:-1]) - set(ids[::3])))

    def slowly(self, entries):
        if len(entries) == 1:
            go(0)
        return real(self, entries)

    monkeypatch.setattr(Desk, "backups", slowly)
    (found,) = asked(desk, lambda: drops.find_drops(desk, "home", "cards"))
    assert (found.gone, found.before.id in ids[::3]) == (50, True)


def test_decks_that_were_lost_are_found_beside_a_prune(desk, folder, monkeypatch):
    ids, real = [entry.id for entry in desk.entries()], lost._last
    go = once(lambda: remove(folder, set(ids[:-1])))
    monkeypatch.setattr(lost, "_last", lambda *args: (go(0), real(*args))[1])
    assert asked(desk, lambda: lost.lost_decks(desk, "home")) == []


def test_what_was_made_of_the_state_before_is_not_remembered_as_that_of_now(desk, folder, monkeypatch):
    real, newest = Desk.sampled, desk.entries()[-1].id
    go = once(lambda: remove(folder, {newest}))
    key = ("home", "home", home._hour())

    def shown() -> str:
        values = desk.remembered(key, lambda: home._values(desk, "home"))
        return str(values["rows"][0]["backup"].id)

    with monkeypatch.context() as patched:
        patched.setattr(Desk, "sampled", lambda self, *args: (go(0), real(self, *args))[1])
        shown()
    assert shown() == desk.entries()[-1].id != newest


def test_pictures_that_could_not_be_read_once_are_read_again(served: Served):
    desk = Desk(served.place / "repository", config.load(served.place / "config.toml", {}), None)
    names = [entry.id for entry in desk.entries()]
    name = next(name for name in names if served.repository.manifest(name).pictures)
    path = served.repository.store.path(served.repository.manifest(name).pictures)
    path.rename(path.with_name("x"))
    assert desk.pictures(name) is None
    path.with_name("x").rename(path)
    assert desk.pictures(name) is not None


def test_the_page_of_a_job_stays_when_its_backup_is_gone(serve):
    served: Served = serve()
    gone = served.repository.backups()[-1].id
    jobs = served.repository.root / "state" / "jobs"
    jobs.mkdir(exist_ok=True)
    name = "2026-01-05T12-00-00Z-00000000"
    words = ["rollback", gone, "--yes", "--json"]
    job = Job(id=name, words=words, started_at=datetime.now(UTC), process=999999, by="x", backup=gone)
    (jobs / f"{name}.json").write_text(json.dumps(to_builtins(job)))
    (jobs / f"{name}.code").write_text("7")
    remove(served.place, {gone})
    with served.client() as client:
        assert client.get(f"/jobs/{name}", headers=PAGE).status_code == 200
