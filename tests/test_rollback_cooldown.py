"""How long people wait between two rollbacks, whatever the clock says meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from anki_backup import events
from anki_backup.config import Config
from anki_backup.cooldown import left_after
from anki_backup.repository import Repository
from anki_backup.web.desk import Desk


@pytest.mark.parametrize(("passed_s", "left_s"), [(0, 600), (599, 1), (600, 0), (1e8, 0), (-1, 0), (-1e8, 0)])
def test_a_clock_that_was_set_back_locks_nobody_out(passed_s, left_s):
    """Nothing is left to wait for where the last rollback is yet to come: it would be so for years."""
    last = datetime(2026, 11, 20, tzinfo=UTC)
    left = left_after(last, timedelta(minutes=10), last + timedelta(seconds=passed_s))
    assert left == timedelta(seconds=left_s)


def test_the_web_view_is_not_locked_by_such_a_clock_either(tmp_path):
    now = datetime(2026, 11, 20, tzinfo=UTC)
    repository = Repository.create(tmp_path / "repository")
    desk = Desk(repository.root, Config(), UTC)
    for passed_s, left_s in [(700, 0), (60, 540), (-1e8, 0)]:
        at = now - timedelta(seconds=passed_s)
        events.append(repository.history.log, "rollback", at, source="home", outcome="done")
        assert desk.cooling("home", now) == left_s
