"""What tests of accounts share: the program set up for one, and what backup and server have in common."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anki_backup.settings import AnkiwebSource
from anki_backup.sources import Means
from anki_backup.sources.ankiweb import Account, make
from anki_backup.values import Secret, duration
from tests.conftest import RunAnkibak
from tests.sync_proxy import SyncProxy
from tests.sync_server import PASSWORD, USER, SyncServer

# What each device computes or counts for itself; everything else must be equal, byte for byte.
OWN = {
    "col": {"mod", "usn", "ls", "scm"},
    "notes": {"sfld", "csum"},
    "config": {"usn", "mtime_secs"},
    "graves": {"usn"},
    "tags": {"usn"},
}
NOT_OURS = {"sqlite_stat1", "sqlite_stat4", "android_metadata"}
OWN_KEYS = {"localOffset"}

Rows = dict[str, list[tuple[Any, ...]]]
Ankibak = Callable[..., str]


def rows(path: Path) -> Rows:
    """Return every row of a collection, table by table, without what each device has for its own."""
    found: Rows = {}
    with closing(sqlite3.connect(path)) as db:
        db.create_collation(
            "unicase", lambda a, b: (a.casefold() > b.casefold()) - (a.casefold() < b.casefold())
        )
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        for table in sorted(set(tables) - NOT_OURS):
            names = [column[1] for column in db.execute(f"pragma table_info({table})")]
            kept = ", ".join(name for name in names if name not in OWN.get(table, ()))
            taken = db.execute(f"select {kept} from {table}").fetchall()
            found[table] = sorted(
                (row for row in taken if table != "config" or row[0] not in OWN_KEYS), key=repr
            )
    # Blobs have fields in random order; that they mean the same, the content hash says.
    for table in ("notetypes", "fields", "templates", "decks", "deck_config"):
        found[table] = [
            tuple(len(v) if isinstance(v, bytes) else v for v in row) for row in found.get(table, [])
        ]
    return found


def _unicase(a: str, b: str) -> int:
    return (a.casefold() > b.casefold()) - (a.casefold() < b.casefold())


def media(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def state_of_account(server: SyncServer, scratch: Path, user: str = USER) -> tuple[Rows, dict[str, str]]:
    """Return all that the server has of an account: rows and media."""
    scratch.mkdir(exist_ok=True)
    for old in scratch.iterdir():
        old.unlink()
    return rows(server.copy_of(scratch / "collection.anki2", user)), media(server.media(user))


def differing(one: list[Any], other: list[Any]) -> list[Any]:
    """Return the rows that only one of two tables has."""
    if one == other:
        return []
    return [row for row in one if row not in other] + [row for row in other if row not in one]


@pytest.fixture
def config(tmp_path: Path, sync_server: SyncServer) -> Path:
    """Return a configuration of one account, `home`, without a password."""
    path = tmp_path / "config.toml"
    write_config(path, sync_server.url)
    return path


def write_config(path: Path, url: str, more: str = "") -> None:
    """Write a configuration of one account at `url`."""
    path.write_text(
        f'[storage]\nroot = "backups"\n[sources.home]\nkind = "ankiweb"\nusername = "{USER}"\n'
        f'endpoint = "{url}"\nretries = 0\ntimeout = "5s"\n{more}'
    )


@pytest.fixture
def ankibak(run_ankibak: RunAnkibak, config: Path) -> Ankibak:
    """Return what types a command, a password at hand; it gives stdout, or stderr if another code is due."""

    def ankibak(*words: str | os.PathLike[str], code: int = 0, env: dict[str, str] | None = None) -> str:
        given = {"ANKIBAK_CONFIG": str(config), "ANKIBAK_SOURCES__HOME__PASSWORD": PASSWORD, **(env or {})}
        done = run_ankibak(*words, env=given)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
        return done.stderr if code else done.stdout

    return ankibak


@pytest.fixture
def outcome(ankibak: Ankibak) -> Callable[..., str]:
    """Return what runs the backup and says what came of it."""
    return lambda *words, **more: ankibak("run", *words, **more).split("\t")[1]


@pytest.fixture
def equal(ankibak: Ankibak, sync_server: SyncServer, tmp_path: Path) -> Callable[[], None]:
    """Return what checks that the newest backup is what the server has, row by row and byte by byte."""

    def equal() -> None:
        target = tmp_path / "exported"
        ankibak("export", "latest", "--format", "dir", "-o", target, "--overwrite")
        account, files = state_of_account(sync_server, tmp_path / "scratch")
        backup = rows(target / "collection.anki2")
        odd = {name: found for name in account if (found := differing(account[name], backup[name]))}
        assert not odd, odd
        assert media(target / "collection.media") == files, files

    return equal


class Home:
    """The driver of one account in this process, whose requests go through a recording proxy."""

    def __init__(self, folder: Path, server: SyncServer, proxy: SyncProxy) -> None:
        self.folder, self.server, self.proxy = folder, server, proxy
        self.mirror = folder / "mirrors" / "home"
        self.scratch = folder / "scratch"
        (folder / "state").mkdir(parents=True)

    def account(self, means: Mapping[str, Any] | None = None, **more: Any) -> Account:
        """Return a driver as a new process would have it; `more` are settings."""
        settings = {"username": USER, "password": Secret(PASSWORD), "endpoint": self.proxy.url, "retries": 0}
        given = AnkiwebSource(**{**settings, "timeout": duration("5s"), **more})
        places = Means(mirror=self.mirror, secrets=self.folder / "state" / "secrets")
        return make("home", given, 5, places._replace(**(means or {})))

    def sync(self, **more: Any) -> Account:
        """Do what a run does before it captures; nothing may have been sent."""
        account = self.account(**more)
        try:
            account.look()
        finally:
            assert self.proxy.sent() == []
        return account

    def state(self) -> tuple[Rows, dict[str, str]]:
        """Return all that the server has."""
        return state_of_account(self.server, self.scratch)

    def agrees(self) -> None:
        """Check that the mirror is what the server has."""
        account, files = self.state()
        mirror = rows(self.mirror / "collection.anki2")
        odd = {name: found for name in account if (found := differing(account[name], mirror[name]))}
        assert not odd, odd
        assert media(self.mirror / "collection.media") == files, files


@pytest.fixture
def home(tmp_path: Path, sync_server: SyncServer) -> Iterator[Home]:
    """Return an account's driver behind a proxy."""
    with SyncProxy(sync_server.url) as proxy:
        yield Home(tmp_path / "home of account", sync_server, proxy)
