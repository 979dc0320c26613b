"""Readers beside a writer: no wrong answer; what goes on or is gone is told neither broken nor damaged."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from anki_backup import (
    events,
    formats,
    locks,
    metrics,
    overview,
    prune,
    rollback,
    safety,
    sides,
    staging,
    timeline,
    walk,
)
from anki_backup.catalog import Catalog
from anki_backup.contents import Contents
from anki_backup.errors import GoneError
from anki_backup.gather import Options
from anki_backup.history import History
from anki_backup.model import now
from anki_backup.settings import Retention
from anki_backup.sources.profile import Profile
from anki_backup.verify import verify
from tests.histories import HOUR, Histories
from tests.homes import Home
from tests.test_steady import LAST, once

ROUNDS = 10
ONE = "(SELECT id FROM notes ORDER BY id LIMIT 1 OFFSET {})"


@pytest.fixture
def home(tmp_path, made):
    """Eleven backups; each but the first has a word in another note."""
    home = Home(tmp_path, made)
    home.run()
    for number in range(ROUNDS):
        home.run(f"UPDATE notes SET flds = 'word{number} ' || flds WHERE id = {ONE.format(number * 2)}")
    return home


@pytest.fixture
def histories(tmp_path):
    made = Histories(tmp_path / "repository")
    for _ in range(8):
        made.back_up(pictures=3)
        made.now += HOUR
    return made


def removing(home: Home, places: set[int]) -> Callable[[], None]:
    """Return what removes the backups at these places, and expresses what stood on them anew."""

    def remove() -> None:
        repository = home.repository
        ids = [backup.id for backup in repository.backups()][::-1]
        gone = {ids[place] for place in places}
        for backup in sorted(set(ids) - gone):
            repository.record("pin", backup=backup, label=None)
        rules = prune.Rules(lambda source: Retention(last=1), now, unused=0)
        assert set(prune.perform(repository, prune.plan(repository, rules), rules)[0].goes) == gone

    return remove


def disturb(monkeypatch: pytest.MonkeyPatch, at: int, work: Callable[[], object]) -> None:
    """Have something done just before a walk makes its version of that number."""
    step, count, do = walk.Walk._step, [0], once(work)

    def disturbed(self, base, name, content):
        count[0] += 1
        if count[0] == at:
            do(0)
        yield from step(self, base, name, content)

    monkeypatch.setattr(walk.Walk, "_step", disturbed)


@pytest.mark.parametrize("places", [{1, 2, 3, 4, 5, 6, 7, 8}, {4, 5, 6}, {2, 4, 6, 8}, {5}], ids=str)
@pytest.mark.parametrize("at", [3, 5, 7, 9])
def test_what_is_found_beside_a_prune_is_what_there_is(places, at, home, monkeypatch):
    disturb(monkeypatch, at, removing(home, places))
    look, hits = timeline.looked(home.repository, lambda look: timeline.find(look, "word5", ("note",)))
    assert [(hit.present, hit.gone) for hit in hits] == [(True, None)]
    assert look.damaged == {}


def test_a_comparison_beside_a_prune_is_made_again(home, monkeypatch):
    old, new = home.repository.backups()[7], home.repository.backups()[1]
    expected = sides.between(home.repository, old, new)
    disturb(monkeypatch, 5, removing(home, {4, 5, 6}))
    assert sides.between(home.repository, old, new) == expected


def test_a_table_that_moved_is_looked_at_anew(tmp_path, made):
    """The schema's cookie is that of the version before, not a view of the one that is there now."""
    home = Home(tmp_path, made)
    home.run()
    with closing(sqlite3.connect(home.collection)) as db:
        (form,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'notes'").fetchone()
    moved = [form.replace("notes", "n2", 1), "INSERT INTO n2 SELECT * FROM notes", "DROP TABLE notes"]
    home.run(
        *moved,
        "ALTER TABLE n2 RENAME TO notes",
        "UPDATE notes SET flds = 'moved ' || flds WHERE id = (SELECT max(id) FROM notes)",
    )
    home.run("UPDATE notes SET flds = 'later ' || flds WHERE id = (SELECT max(id) FROM notes)")
    look = timeline.Look(home.repository)
    found = {word: timeline.find(look, word, ("note",)) for word in ("moved", "later")}
    counts = {word: [hit.backups for hit in hits if hit.present] for word, hits in found.items()}
    assert counts == {"moved": [2], "later": [1]}


def test_a_target_that_is_pruned_while_a_person_is_asked_is_not_gone_back_to(home):
    repository, source = home.repository, Profile("home", home.folder)
    wish = rollback.Wish(repository.backups()[-1], "me")
    before = home.collection.read_bytes()
    with rollback.prepare(repository, source, wish) as prepared:
        removing(home, {0})()
        with pytest.raises(GoneError, match="removed meanwhile") as caught:
            rollback.perform(repository, source, prepared, Options(threads=1))
    assert caught.value.exit_code == 5
    assert home.collection.read_bytes() == before


def test_nobody_is_told_of_an_interrupted_rollback_while_one_goes_on(home, monkeypatch, run_ankibak):
    repository, source = home.repository, Profile("home", home.folder)
    stage, told = staging.stage, []

    def slowly(*args):
        told.append(run_ankibak("-c", home.config, "list").stderr)
        return stage(*args)

    monkeypatch.setattr(staging, "stage", slowly)
    with rollback.prepare(repository, source, rollback.Wish(repository.backups()[-1], "me")) as prepared:
        rollback.perform(repository, source, prepared, Options(threads=1))
    assert told == [""]


@pytest.mark.parametrize("word", ["tar.zst", "zip", "dir", "colpkg"])
def test_what_is_pruned_while_it_is_exported_is_gone_and_not_damaged(word, histories, monkeypatch, tmp_path):
    repository = histories.repository
    contents = Contents(repository, repository.find(sorted(histories.copies)[1]))
    go = once(lambda: histories.prune(LAST))
    for name in ("load", "blocks"):
        real = getattr(Contents, name)
        monkeypatch.setattr(Contents, name, lambda self, *args, real=real: (go(0), real(self, *args))[1])
    with pytest.raises(GoneError, match="removed meanwhile"):
        formats.write(word, contents, tmp_path / "out")


def test_what_is_pruned_before_it_is_shown_is_gone_and_not_damaged(histories):
    repository = histories.repository
    name = sorted(histories.copies)[1]
    histories.prune(LAST)
    for ask in (repository.decks, repository.media, repository.manifest):
        with pytest.raises(GoneError):
            ask(name)


def test_what_was_mended_or_pruned_is_no_damage_any_more(histories):
    repository = histories.repository
    path = repository.history.folder(min(histories.copies)) / "metadata.json"
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    assert len(overview.look(repository.history).unreadable) == 1
    path.write_bytes(data)
    assert overview.look(repository.history).unreadable == []
    list(repository.history.manifests(["2020-01-01T00-00-00Z"]))
    assert repository.history.damaged == {}


@pytest.fixture
def running(histories, monkeypatch):
    """A run that is under way, and ends well between a look at the log and one at who holds the lock."""
    repository = histories.repository
    with repository.writing("test"):
        repository.index()
    process = subprocess.Popen(["sleep", "60"])
    (histories.root / "state" / "lock").write_text(f"{process.pid} run home\n")
    number, at, holder = repository.record("run_started", source="home"), now(), locks.holder

    def end() -> None:
        ended = {"outcome": "skipped", "reason": "unchanged", "duration_ms": 5}
        repository.record("run", run=number, source="home", started_at=at, **ended)
        process.kill()
        process.wait()

    read, go, news = [], once(end), History.news

    def beside(path):
        if read:
            go(0)
        return holder(path)

    monkeypatch.setattr(locks, "holder", beside)
    monkeypatch.setattr(History, "news", lambda self, *args: (news(self, *args), read.append(None))[0])
    yield repository
    process.kill()
    process.wait()


def test_a_run_that_ends_while_it_is_looked_at_was_not_interrupted(running):
    assert "interrupted" not in [run.outcome for run in running.runs()]


def test_status_does_not_take_it_for_interrupted(running):
    assert overview.look(running.history).last_run["home"].outcome != "interrupted"


def test_a_counter_never_falls(histories, monkeypatch):
    repository = histories.repository
    with repository.writing("test"):
        repository.index()
    fields = {"source": "home", "started_at": now(), "outcome": "skipped", "reason": "unchanged"}
    for number in range(1000, 1010):
        repository.record("run", run=number, **fields)

    def skipped() -> list[float]:
        found = metrics.counters(histories.repository)
        return [each.value for each in found if each.labels.get("outcome") == "skipped"]

    def index() -> None:
        with repository.writing("test"):
            repository.record("run", run=1010, **fields)
            repository.index()

    rows, go = Catalog.rows, once(index)
    assert skipped() == [10]
    monkeypatch.setattr(Catalog, "rows", lambda self, *args: (rows(self, *args), go(0))[0])
    assert skipped() in ([10], [11])


def test_damage_is_noted_also_where_a_run_goes_on(histories):
    repository, started = histories.repository, threading.Event()

    def hold() -> None:
        with histories.repository.writing("run home"):
            started.set()
            released.wait(10)

    released = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    threading.Timer(0.3, released.set).start()
    assert safety.note_damage(repository, 3, whole=True)
    thread.join()
    assert overview.look(repository.history).findings == 3


def test_a_line_of_the_log_that_is_half_written_is_not_read(histories):
    repository = histories.repository
    log = repository.history.log
    line = events.encode({"n": 99, "at": datetime.now(UTC), "event": "pruned", "backups": ["x"] * 99})
    before = [each.raw for each in events.read(log)]
    with log.open("ab", buffering=0) as file:
        file.write(line[:200])
        lines = events.read(log)
        assert [next(lines).raw for _ in before] == before
        file.write(line[200:])
        assert [each.raw for each in lines] in ([], [line])
    log.write_bytes(b"".join(before) + line[:200])
    assert [each.raw for each in events.read(log)] == before
    assert verify(repository, [], False).findings == []
