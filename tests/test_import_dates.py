"""Where the past stands: at its own date, and never before or after what it should not."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.adopting import DAY, START, adopt, folder, home, ids, state
from tests.packages import current

__all__ = ["folder", "home", "state"]
BERLIN = ZoneInfo("Europe/Berlin")


def test_dates_that_cannot_be_are_not_believed(home, folder, state):
    current(folder / "backup-2125-01-01-00.00.00.colpkg", state(1))
    current(folder / "backup-2025-13-01-00.00.00.colpkg", state(2))
    current(folder / "backup-1999-01-01-00.00.00.colpkg", state(3, "UPDATE col SET mod = 1 << 60"))
    os.utime(folder / "backup-1999-01-01-00.00.00.colpkg", (2**33, 2**33))
    *two, third = sorted(adopt(home, folder).results, key=lambda result: result.created_at)
    assert [result.created_at.timestamp() for result in two] == [START + DAY, START + 2 * DAY]
    assert abs(third.created_at.timestamp() - datetime.now(UTC).timestamp()) < 60


def test_a_name_is_in_the_time_of_the_zone(home, folder, state):
    current(folder / "backup-2025-07-01-12.34.56.colpkg", state(1))
    assert adopt(home, folder, zone=BERLIN).results[0].backup.id == "2025-07-01T10-34-56Z"


def test_an_older_past_never_becomes_latest_nor_moves_what_the_next_run_compares_with(home, folder, state):
    first = home.run().backup
    second = home.run("UPDATE col SET crt = 5").backup
    for day in (1, 2):
        current(folder / f"{day}.colpkg", state(day))
    adopt(home, folder)
    listed = home.repository.backups()
    assert [backup.id for backup in listed][:2] == [second.id, first.id]
    assert [backup.sequence for backup in listed] == [2, 1, 0, 0]
    assert first.previous is None and listed[1].previous == listed[2].id
    assert home.repository.find("latest").id == second.id
    assert home.repository.find("@2025-01-02").id == "2025-01-02T00-00-00Z"
    assert home.run().run.reason == "unchanged"
    assert home.run("UPDATE col SET crt = 6").backup.sequence == 3
    assert home.repository.pointers()["home"] == home.repository.find("latest").id and home.is_sound()


def test_one_between_two_backups_stands_between_them(home, folder, state, monkeypatch):
    current(folder / "backup-2025-01-01-00.00.00.colpkg", state(1))
    current(folder / "backup-2025-03-01-00.00.00.colpkg", state(3))
    adopt(home, folder)
    newest = home.run().backup
    adopt(home, current(folder / "backup-2025-02-01-00.00.00.colpkg", state(2)))
    assert ids(home) == [
        newest.id,
        "2025-03-01T00-00-00Z",
        "2025-02-01T00-00-00Z",
        "2025-01-01T00-00-00Z",
    ]
    from_catalog = home.repository.backups()
    (home.root / "state" / "metadata.db").unlink()
    assert home.repository.backups() == from_catalog
    home.repository.rebuild_catalog()
    assert home.repository.backups() == from_catalog


def test_a_newer_one_becomes_latest_and_the_next_run_compares_with_it(home, folder, state, monkeypatch):
    past = datetime(2025, 6, 1, tzinfo=UTC)
    monkeypatch.setattr("anki_backup.attempt.now", lambda: past)
    home.run()
    monkeypatch.undo()
    package = current(folder / "backup-2025-07-01-00.00.00.colpkg", state(4), {b"cat.jpg": b"a picture"})
    adopt(home, package)
    assert home.repository.find("latest").origin == "import"
    third = home.run().backup
    assert third and home.repository.find("latest").id == third.id, "the live state is another one"
    home.collection.write_bytes(state(4))
    shutil.rmtree(home.cache)
    assert home.run().backup, "it went back"


def test_the_live_state_adopted_as_newest_needs_no_backup(home, folder, state, monkeypatch):
    monkeypatch.setattr("anki_backup.attempt.now", lambda: datetime(2025, 6, 1, tzinfo=UTC))
    home.run()
    monkeypatch.undo()
    home.collection.write_bytes(state(4))
    media = {b"cat.jpg": b"a picture"}
    adopted = adopt(home, current(folder / "backup-2025-07-01-00.00.00.colpkg", state(4), media)).results[0]
    assert home.run().run.reason == "unchanged"
    assert home.repository.pointers()["home"] == adopted.backup.id
