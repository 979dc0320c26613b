"""What the pages look things up with: asked by several at once, and for many things."""

from __future__ import annotations

from anki_backup import config
from anki_backup.web.desk import KEPT, Desk
from tests.web.conftest import Served


def test_what_was_asked_for_is_not_remembered_without_bounds(served: Served):
    desk = Desk(served.place / "repository", config.load(served.place / "config.toml", {}), None)
    for limit in range(1, 700):
        assert desk.runs(None, None, limit)
    assert len(desk._known) <= KEPT
