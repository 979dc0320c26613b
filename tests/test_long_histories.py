"""Long histories: any backup of a chain may go, and months of hours come to little."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from anki_backup import chains, overview, prune
from anki_backup.model import Backup
from anki_backup.retention import DEFAULT, judge
from anki_backup.settings import Retention
from tests.histories import HOUR, MEMORY, Histories

CHAIN = 300
DAYS = 60
HOURS_A_DAY = 8


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder where nothing has to reach a disk: hundreds of backups are made."""
    with tempfile.TemporaryDirectory(prefix="ankibak-long-", dir=MEMORY) as name:
        yield Path(name)


def test_a_run_that_lets_nothing_go_does_not_read_what_there_is(folder, monkeypatch):
    histories, read = Histories(folder / "repository"), []
    histories.back_up()
    histories.now += HOUR
    histories.back_up()
    sound = chains.is_sound
    monkeypatch.setattr(chains, "is_sound", lambda store, name: read.append(name) or sound(store, name))

    def plan(last: int | str) -> prune.Plan:
        return prune.plan(histories.repository, histories.rules(Retention(last=last))._replace(reasons=False))

    assert (plan("all").goes, read) == ([], [])
    assert (len(plan(1).goes), len(read)) == (1, 1)


def test_why_all_stay_is_told_of_backups_that_can_be_got_back(folder):
    histories = Histories(folder / "repository")
    for _ in range(3):
        histories.back_up()
        histories.now += HOUR
    repository = histories.repository
    repository.store.path(repository.newest_of("home").collection_sha256).write_bytes(b"rotten")
    verdicts = prune.plan(repository, histories.rules(Retention(last="all"))).verdicts
    assert ["newest good one of its source" in verdict.reasons for verdict in verdicts] == [
        False,
        True,
        False,
    ]


def remove(histories: Histories, backup_id: str) -> None:
    """Prune one backup alone: the policy lets nearly all go, but only that one was agreed on."""
    agreed = prune.Plan(
        verdicts=[prune.Verdict(backup=backup_id, keep=False, reasons=["for the test"])], freed_bytes=0
    )
    rules = histories.rules(Retention(last=0))
    done, warnings = prune.perform(histories.repository, agreed, rules)
    assert (done.goes, warnings) == ([backup_id], [])
    del histories.copies[backup_id]


def test_any_backup_of_a_chain_of_300_may_go_and_all_others_stay_whole(folder):
    histories = Histories(folder / "repository", units=12)
    for number in range(CHAIN):
        histories.back_up(answers=2, pictures=number % 20 == 0)
        histories.now += HOUR
    repository = histories.repository
    newest = repository.newest_of("home")
    assert len(chains.ancestry(repository.store, newest.collection_sha256)) > 10
    ids = sorted(histories.copies)
    order = random.Random(7).sample(ids[:-1], CHAIN - 1)
    for number, backup_id in enumerate(order):
        remove(histories, backup_id)
        if number % 100 == 0:
            histories.check()
        else:
            # Those that stood on it come after it, and what it stood on before.
            beside = sorted(histories.copies, key=lambda name: abs(ids.index(name) - ids.index(backup_id)))
            histories.check(*beside[:2], exclusively=False)
    assert list(histories.copies) == [newest.id]
    histories.check()


def test_sixty_days_of_eight_hours_leave_what_the_policy_says_and_little_else(folder):
    histories = Histories(folder / "repository", units=200)
    made: list[Backup] = []
    for day in range(DAYS):
        for _ in range(HOURS_A_DAY):
            made.append(histories.back_up(answers=4, pictures=day % 9 == 0))
            histories.now += HOUR
        histories.now += (24 - HOURS_A_DAY) * HOUR
        histories.prune()
    verdicts = judge(made, DEFAULT, histories.now, histories.zone)
    assert set(histories.copies) == {verdict.backup for verdict in verdicts if verdict.keep}
    histories.check()
    repository = histories.repository
    manifests = list(repository.history.manifests(histories.copies))
    # Each day's difference, the last hours' and one whole: about what was kept needs no more.
    deepest = max(len(chains.ancestry(repository.store, m.collection_sha256)) for m in manifests)
    assert deepest <= 1.5 * len(manifests)
    newest = max(manifests, key=lambda manifest: manifest.sequence)
    assert histories.stored_bytes() < 4 * newest.collection_bytes
    assert histories.now - made[0].created_at >= timedelta(days=DAYS - 1)


def test_what_the_repository_takes_is_known_without_a_look_at_each_of_its_files(folder: Path):
    histories = Histories(folder / "repository", units=50)
    for _ in range(12):
        histories.back_up(pictures=1)
        histories.now += 6 * HOUR
    assert histories.prune(Retention(daily="all")).goes
    histories.back_up()
    known = overview.look(histories.repository.history).stored_bytes
    assert known == histories.stored_bytes()
    histories.repository.history.catalog_path.unlink()
    assert overview.look(histories.repository.history).stored_bytes == known
