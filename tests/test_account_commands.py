"""No command sends anything to an account, and a damaged mirror is never what a backup ends on."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from anki_backup import runs
from anki_backup.cli import COMMANDS
from anki_backup.commands import Context
from anki_backup.gather import Options
from anki_backup.repository import Repository
from tests.accounts import ankibak, config, home, state_of_account, write_config
from tests.sync_proxy import Fault, SyncProxy
from tests.sync_server import PASSWORD, phone, sync_server

__all__ = ["ankibak", "config", "home", "phone", "sync_server"]

WORDS = [
    *("login", "run", "run --force", "run --rehash", "run --dry-run", "list", "show latest --decks", "runs"),
    *("status", "verify --read-data", "catalog rebuild", "config show", "pin latest", "unpin latest", "diff"),
    *(
        "find question",
        "prune --dry-run",
        "prune --yes",
        "rollback home:latest~1 --yes",
        "rollback --undo --yes",
    ),
    *("export latest --format anki2 --overwrite", "acknowledge latest", "run", "logout", "run"),
]


def test_no_command_sends_anything(run_ankibak, config, phone, sync_server, tmp_path):
    env = {"ANKIBAK_CONFIG": str(config), "ANKIBAK_SOURCES__HOME__PASSWORD": PASSWORD}
    with SyncProxy(sync_server.url) as proxy:
        write_config(config, proxy.url)
        before = state_of_account(sync_server, tmp_path / "scratch")
        for words in WORDS:
            if words.split()[0] in COMMANDS:
                done = run_ankibak(*words.split(), env=env)
                assert "Traceback" not in done.stderr, words
                assert proxy.sent() == [], words
        for status in (400, 409, 500):
            proxy.fail("/sync/meta", Fault(status=status))
            assert run_ankibak("run", "--force", env=env).returncode == 7
        assert state_of_account(sync_server, tmp_path / "scratch") == before
        assert proxy.paths.count("/sync/hostKey") == 2


def test_a_damaged_capture_is_refused_and_fetched_again(home, phone, tmp_path):
    repository = Repository.create(tmp_path / "repository")
    assert runs.back_up(repository, home.account(), Options()).run.outcome == "created"
    account = home.account()
    look = account.look

    def spoiled():
        look()
        with open(home.mirror / "collection.anki2", "r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 8192)
        return account._sighting()

    account.look = spoiled  # type: ignore[method-assign]
    failed = runs.back_up(repository, account, Options())
    assert (failed.run.outcome, failed.error.exit_code) == ("failed", 7)
    assert not (home.mirror / "collection.anki2").exists()
    phone.add("new")
    phone.sync()
    assert runs.back_up(repository, home.account(), Options()).run.outcome == "created"
    home.agrees()
    assert home.proxy.sent() == []


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_person_sees_files_and_bytes_come(terminal, monkeypatch):
    """What is shown while media come, by the same function that `run` gives to the driver."""
    monkeypatch.setenv("TERM", terminal)
    screen, keyboard = pty.openpty()
    with os.fdopen(keyboard, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with Context(color="never")._fetching("media of home") as tell:
            tell(1200, 12_000_000)
        stream.write("end\n")
        stream.flush()
        seen = b""
        while b"end" not in seen:
            seen += os.read(screen, 4096)
    os.close(screen)
    assert (b"200 files, 11.4 MiB" in seen) == (terminal == "xterm")


def test_a_mirror_that_a_run_is_syncing_is_not_opened_beside_it(ankibak, config, phone, tmp_path):
    """By those who only look: a dry run says who is at work, `doctor` goes on."""
    phone.add("question")
    phone.sync()
    ankibak("login"), ankibak("run")
    repository = Repository.open(tmp_path / "backups")
    with repository.writing("run home"):
        told = ankibak("run", "--dry-run", code=75)
        assert "in use by process" in told
        assert "in use by process" in ankibak("doctor")
    assert "unchanged" in ankibak("run", "--dry-run")
