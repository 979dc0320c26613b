"""A look at backups asks for no more than it needs, and gives what all of it would give."""

from __future__ import annotations

from itertools import combinations

from anki_backup.view import View
from tests.test_catalog import add, fresh


def test_of_whatever_backups_are_asked_for_each_comes_with_the_one_before_it(tmp_path):
    repository = fresh(tmp_path / "repository")
    for source in ("home", "work", "home", "home", "other", "work"):
        add(repository, source)
    view = View(repository.history)
    before = {}
    for at, entry in enumerate(view.entries):
        earlier = [older.id for older in view.entries[:at] if older.source == entry.source]
        before[entry.id] = earlier[-1] if earlier else None
    for size in range(len(before) + 1):
        for some in combinations(view.entries, size):
            assert {b.id: b.previous for b in view.backups(list(some))} == {e.id: before[e.id] for e in some}


def test_whoever_asks_for_runs_reads_no_manifest(tmp_path):
    repository = fresh(tmp_path / "repository")
    repository.index()
    damaged = add(repository)
    (repository.history.folder(damaged) / "metadata.json").write_bytes(b"")
    view = View(repository.history)
    assert [run.backup for run in view.runs()] == [damaged]
    assert repository.history.damaged == {}
    assert view.entries == []
    assert list(repository.history.damaged) == [damaged]
