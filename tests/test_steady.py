"""Readers take no lock: what a writer changes beside them is no damage, and damage is found all the same."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from anki_backup import prune
from anki_backup.errors import DamageError
from anki_backup.repository import Repository
from anki_backup.settings import Retention
from anki_backup.steady import TRIES, layout, steadily
from anki_backup.verify import AT_ONCE, verify
from tests.histories import HOUR, Histories

LAST = Retention(last=1, hourly=0, daily=0, weekly=0, monthly=0, yearly=0)
MANY = 40


@pytest.fixture
def histories(tmp_path) -> Histories:
    made = Histories(tmp_path / "repository")
    for _ in range(MANY):
        made.back_up(pictures=1)
        made.now += HOUR
    return made


def once(
    work: Callable[[], object], when: Callable[[int], bool] = lambda count: True
) -> Callable[[int], None]:
    """Return what does its work the first time that it is called, of those that count."""
    done: list[object] = []

    def advance(count: int) -> None:
        if when(count) and not done:
            done.append(None)
            work()

    return advance


def test_a_backup_that_is_made_while_a_prune_is_planned_is_no_damage(histories, monkeypatch):
    backups, make = Repository.backups, once(lambda count=0: histories.back_up())

    def slowly(self, *args, **options):
        found = backups(self, *args, **options)
        make(0)
        return found

    monkeypatch.setattr(Repository, "backups", slowly)
    plan = prune.plan(histories.repository, histories.rules(LAST))
    assert len(plan.verdicts) == MANY + 1


def test_backups_that_another_prune_removes_are_no_trouble_to_the_plan(histories, monkeypatch):
    manifest, remove = Repository.manifest, once(lambda: histories.prune(LAST))
    newest = histories.repository.newest_of("home").id

    def slowly(self, name):
        if name != newest:
            remove(0)
        return manifest(self, name)

    monkeypatch.setattr(Repository, "manifest", slowly)
    plan = prune.plan(histories.repository, histories.rules(LAST))
    assert (len(plan.verdicts), plan.goes) == (1, [])


@pytest.mark.parametrize(
    ("read_data", "when"), [(False, lambda count: True), (True, lambda count: count == AT_ONCE)]
)
def test_what_a_prune_removes_or_moves_while_all_is_verified_is_no_damage(histories, read_data, when):
    pruned = once(lambda: histories.prune(LAST), when)
    report = verify(histories.repository, [], read_data, pruned)
    assert report.checked == MANY
    # These histories are made of pages, not of cards, which only SQLite's check sees.
    assert [finding for finding in report.findings if "opens no more" not in finding.message] == []
    assert len(histories.copies) == 1


def test_damage_is_found_beside_a_prune_and_however_much_is_written_meanwhile(histories):
    newest = histories.repository.newest_of("home")
    histories.repository.store.path(newest.collection_sha256).write_bytes(b"rotten")

    def advance(count: int) -> None:
        histories.repository.history.folder(newest.id).with_name("x.part").mkdir()
        histories.repository.history.folder(newest.id).with_name("x.part").rmdir()

    report = verify(histories.repository, [], False, advance)
    assert {finding.backup for finding in report.findings} == {newest.id}


def test_a_backup_that_was_asked_for_and_is_gone_is_told(histories):
    name = min(histories.copies)
    report = verify(histories.repository, [name], False, once(lambda: histories.prune(LAST)))
    assert {finding.backup for finding in report.findings} == {name}


def test_what_changes_all_the_time_is_looked_at_so_many_times_and_no_more():
    shapes, tried = iter(range(100)), []

    def work() -> None:
        tried.append(None)
        raise DamageError("always")

    with pytest.raises(DamageError, match="always"):
        steadily(work, lambda: next(shapes))
    assert len(tried) == TRIES + 1


def test_the_layout_is_another_as_soon_as_an_object_is_replaced(histories):
    before = layout(histories.root)
    path = histories.repository.store.path(histories.repository.newest_of("home").collection_sha256)
    path.with_name("new").write_bytes(path.read_bytes())
    assert (unchanged := layout(histories.root)) != before
    path.with_name("new").rename(path)
    assert layout(histories.root) not in (before, unchanged)


def test_files_on_their_way_hide_no_change(histories, monkeypatch):
    """They come and go while a folder is listed: what is left tells all the same."""
    scandir = os.scandir

    def listing(path):
        (histories.root / "objects" / "new-1-1.part").write_bytes(b"x")
        with scandir(path) as entries:
            found = list(entries)
        (histories.root / "objects" / "new-1-1.part").unlink()
        return iter(found)

    monkeypatch.setattr(os, "scandir", listing)
    before = layout(histories.root)
    assert before
    monkeypatch.undo()
    histories.back_up()
    assert layout(histories.root) != before


def test_of_no_repository_there_is_no_layout(tmp_path):
    assert layout(tmp_path / "nothing") == []
