"""Prune: what retention lets go is gone, its space comes back, and the rest is as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from anki_backup import chains, durable, prune
from anki_backup.errors import BusyError, ClockError, DamageError, StorageError
from anki_backup.forest import Forest
from anki_backup.settings import Retention
from tests.histories import HOUR, UNIT, Histories

LAST = Retention(last=1)
DAILY = Retention(daily="all")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    """Ten days of two backups of 'home' each, some with new pictures, and a few of 'work'."""
    histories = Histories(tmp_path_factory.mktemp("made") / "repository")
    for number in range(80):
        histories.back_up(pictures=number % 7 == 0)
        if number % 20 == 0:
            histories.back_up("work", pictures=1)
        histories.now += 3 * HOUR
    return histories


@pytest.fixture
def histories(made: Histories, tmp_path: Path) -> Histories:
    root = tmp_path / "repository"
    shutil.copytree(made.root, root)
    copied = Histories(root)
    copied.now, copied.copies, copied.sources = made.now, dict(made.copies), {}
    return copied


def newest(histories: Histories, source: str = "home") -> str:
    return histories.repository.newest_of(source).id


def nothing_was_removed(histories: Histories) -> None:
    histories.check()


def test_what_stays_comes_back_byte_for_byte_and_the_space_of_the_rest_too(histories):
    before = histories.stored_bytes()
    done = histories.prune(DAILY)
    assert len(done.goes) == 80 - 11
    assert len(histories.copies) == 11 + 4
    histories.check()
    assert before - histories.stored_bytes() == done.freed_bytes
    whole = 2 * 400 * UNIT
    assert histories.stored_bytes() - whole < (before - whole) / 2


def test_nothing_is_kept_only_to_stand_on(histories):
    histories.prune(DAILY)
    repository = histories.repository
    named = {m.collection_sha256 for m in repository.history.manifests(repository.history.ids())}
    named |= {m.media_list for m in repository.history.manifests(repository.history.ids()) if m.media_list}
    for name in named:
        # The whole object at the root may stay while it is cheaper than a new one.
        assert {info.name for info in chains.ancestry(repository.store, name)[:-1]} <= named


def test_a_little_may_be_kept_to_stand_on_and_more_than_that_is_not(histories):
    ids = sorted(name for name in histories.copies if name != newest(histories))
    manifests = [histories.repository.manifest(name) for name in ids[40:44]]
    largest = max(histories.repository.store.info(m.collection_sha256).stored_bytes for m in manifests)
    unused = 2 * largest / sum(histories.objects().values())
    without(histories, ids[40:41], unused)
    assert len(ghosts(histories)) == 1
    # As much as is allowed comes together; then all of it goes at once.
    without(histories, ids[41:44], unused)
    assert ghosts(histories) == set()
    histories.check()


def without(histories: Histories, ids: list[str], unused: float) -> None:
    """Prune these, whatever the policy says."""
    verdicts = [prune.Verdict(backup=name, keep=False, reasons=[]) for name in ids]
    agreed = prune.Plan(verdicts=verdicts, freed_bytes=0)
    rules = histories.rules(Retention(last=0), unused)
    done, warnings = prune.perform(histories.repository, agreed, rules)
    assert (sorted(done.goes), warnings) == (ids, [])
    for name in ids:
        del histories.copies[name]


def ghosts(histories: Histories) -> set[str]:
    """Return the objects that are kept only because others stand on them."""
    repository = histories.repository
    wanted = {m.collection_sha256 for m in repository.history.manifests(repository.history.ids())}
    forest = Forest(repository.store, wanted)
    return forest.infos.keys() - wanted - set(forest.roots())


def test_a_second_prune_finds_nothing_to_do(histories):
    histories.prune(DAILY)
    before = histories.objects()
    again = histories.prune(DAILY)
    assert (again.goes, again.freed_bytes, histories.objects()) == ([], 0, before)
    assert sum(event["event"] == "pruned" for event in histories.events()) == 1


def test_the_plan_is_what_is_done(histories):
    rules = histories.rules(DAILY)
    plan = prune.plan(histories.repository, rules)
    done, _ = prune.perform(histories.repository, plan, rules)
    assert done.verdicts == plan.verdicts
    assert 0 < done.freed_bytes <= plan.freed_bytes
    assert set(plan.goes).isdisjoint(histories.repository.history.ids())
    (event,) = (event for event in histories.events() if event["event"] == "pruned")
    assert event["backups"] == sorted(plan.goes)
    assert event["freed_bytes"] == done.freed_bytes


def test_nothing_goes_that_was_not_agreed(histories):
    rules = histories.rules(LAST)
    agreed = prune.Plan(verdicts=[], freed_bytes=0)
    assert prune.perform(histories.repository, agreed, rules)[0].goes == []
    nothing_was_removed(histories)


def test_what_was_pinned_since_it_was_planned_stays(histories):
    rules = histories.rules(LAST)
    plan = prune.plan(histories.repository, rules)
    histories.repository.record("pin", backup=plan.goes[3], label=None)
    done, _ = prune.perform(histories.repository, plan, rules)
    assert plan.goes[3] not in done.goes
    assert len(done.goes) == len(plan.goes) - 1


def test_a_backup_that_came_while_a_person_was_asked_is_no_clock_that_is_behind(histories):
    rules = histories.rules(DAILY)
    plan = prune.plan(histories.repository, rules)
    histories.now += HOUR
    histories.back_up()
    assert prune.perform(histories.repository, plan, rules)[0].goes == plan.goes


def test_the_active_one_stays(histories):
    oldest = min(histories.copies)
    histories.repository.point("home", oldest)
    histories.prune(LAST)
    assert oldest in histories.copies
    histories.check()


def test_a_damaged_newest_one_keeps_the_one_before_it(histories):
    repository = histories.repository
    repository.store.path(repository.newest_of("home").collection_sha256).write_bytes(b"rotten")
    kept = [verdict for verdict in prune.plan(repository, histories.rules(LAST)).verdicts if verdict.keep]
    assert [verdict.reasons[0] for verdict in kept][:2] == [
        "newest of its source",
        "newest good one of its source",
    ]


def test_what_an_unreadable_header_stood_on_is_there_when_it_is_mended(tmp_path):
    histories = Histories(tmp_path / "repository")
    for _ in range(2):
        histories.back_up()
        histories.now += HOUR
    histories.prune(LAST)  # the first one is gone, but the second stands on its object
    manifest = histories.repository.manifest(newest(histories))
    path = histories.repository.store.path(manifest.collection_sha256)
    sound = path.read_bytes()
    path.write_bytes(b"?" + sound[1:])
    rules = histories.rules(LAST)
    _, warnings = prune.perform(histories.repository, prune.plan(histories.repository, rules), rules)
    assert "no object was removed" in warnings[0]
    path.write_bytes(sound)
    histories.check()


def test_pictures_stay_as_long_as_a_list_names_them(histories):
    before = len(histories.objects())
    histories.prune(LAST)
    histories.check()
    media = {data for _, files in histories.copies.values() for data in files.values()}
    assert len(histories.objects()) <= len(media) + 6 < before


def test_what_a_run_that_died_left_is_swept(histories):
    store = histories.repository.store
    name = store.put(b"of a run that died")
    (histories.root / "objects" / "new-7.part").write_bytes(b"half")
    assert histories.prune(Retention(last="all")).freed_bytes > 0
    assert not store.has(name)
    assert not list(histories.root.rglob("*.part"))
    histories.check()


def test_history_goes_on_after_a_prune(made, tmp_path):
    root = tmp_path / "repository"
    histories = Histories(root, seed=1)
    for number in range(100):
        histories.back_up(pictures=number % 9 == 0)
        histories.now += 3 * HOUR
        if number % 8 == 7:
            histories.prune(Retention(last=3, daily=9))
    histories.prune(Retention(last=3, daily=9))
    histories.check()
    assert len(histories.copies) == 11


def test_a_clock_behind_the_newest_backup_is_refused(histories):
    histories.now -= 100 * HOUR
    with pytest.raises(ClockError):
        histories.prune(LAST)
    nothing_was_removed(histories)


@pytest.mark.parametrize("name", ["metadata.json", "events", "list", "pointer"])
def test_whatever_looks_odd_keeps_everything(histories, name):
    repository = histories.repository
    backup = repository.manifest(min(histories.copies))
    path = {
        "metadata.json": repository.history.folder(backup.id) / "metadata.json",
        "events": repository.history.log,
        "list": repository.store.path(repository.manifest(newest(histories)).media_list),
        "pointer": histories.root / "state" / "current-pointer.json",
    }[name]
    data = path.read_bytes() if path.exists() else b'{"sources": {}}'.ljust(60)
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    (histories.root / "state" / "metadata.db").unlink()
    count = len(histories.objects())
    with pytest.raises(DamageError):
        histories.prune(LAST)
    assert len(histories.objects()) == count
    assert len(list((histories.root / "backups").iterdir())) == len(histories.copies)


def test_a_log_that_was_lost_keeps_everything(histories):
    histories.repository.index()
    histories.repository.history.log.unlink()
    with pytest.raises(DamageError, match="shorter"):
        histories.prune(LAST)
    nothing_was_removed(histories)


def test_a_rollback_under_way_keeps_everything(histories):
    (histories.root / "state" / "rollback.json").write_text("{}")
    with pytest.raises(BusyError):
        histories.prune(LAST)
    nothing_was_removed(histories)


def test_without_room_what_can_go_goes_and_the_rest_waits(histories, monkeypatch):
    """A disk that takes no new byte: files can still be deleted."""
    rules = histories.rules(DAILY)
    plan = prune.plan(histories.repository, rules)

    def full(*_: object, **__: object) -> None:
        raise StorageError("can't write: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "write_fully", full)
        patched.setattr(durable, "append", full)
        done, warnings = prune.perform(histories.repository, plan, rules)
    assert done.freed_bytes > 0
    assert any("the disk is full" in warning for warning in warnings)
    for name in plan.goes:
        del histories.copies[name]
    histories.check()
    assert histories.prune(DAILY).freed_bytes > 0
    histories.check()


def test_the_command_shows_its_plan_and_asks(histories, run_ankibak, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        '[storage]\nroot = "repository"\n[retention]\ndaily = 3\n[schedule]\ntimezone = "UTC"\n'
    )

    def ankibak(*args):
        return run_ankibak("--config", config, *args)

    shown = ankibak("prune", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert {row[1] for row in rows} == {"keep", "remove"}
    assert rows[0][2].startswith("newest of its source")
    assert ankibak("prune").returncode == 2
    nothing_was_removed(histories)
    planned = json.loads(ankibak("prune", "--dry-run", "--json").stdout)
    done = json.loads(ankibak("prune", "--yes", "--json").stdout)
    assert done["verdicts"] == planned["verdicts"]
    assert done["freed_bytes"] > 0
    kept = {verdict["backup"] for verdict in done["verdicts"] if verdict["keep"]}
    histories.copies = {name: copy for name, copy in histories.copies.items() if name in kept}
    histories.check()
    assert ankibak("verify").returncode == 0
