"""The real `ankibak serve` under watch: who asks, what it says, and what it costs and changes."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.logins import Logins
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.web.gate import Who
from anki_backup.web.paper import style_mark
from tests.fuzz import seeds
from tests.made_collections import make_varied, sql
from tests.web.conftest import PASSWORD, start

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)
# A proxy is trusted, so that each request may say who sent it: guesses are counted for each.
SETTINGS = '[server]\ntrusted_proxies = ["127.0.0.1"]\ntrusted_hosts = ["anki.example.org"]\n'
JOB_S = 60.0
# What the process may hold at most, and what may come on top of what it had when all was loaded.
DESCRIPTORS = 120
GROWTH = 200 << 20
# The first runs load what the server imports late, and fill what it remembers.
WARM = 600
SETTLED_S = 10.0
# One backup stays open for a few minutes: a collection, its media, and what reads them.
KEPT_OPEN = 8


class Cost(NamedTuple):
    """What a process has: bytes of memory, and open descriptors."""

    resident: int
    descriptors: int


class Served:
    """A server for a small repository, and what two who ask it would send: its owner, and a stranger."""

    def __init__(self) -> None:
        self.place = seeds.folder() / "served"
        # What no answer to a stranger, and no error, may name.
        self.path = str(self.place).encode()
        made = _repository(self.place)
        logins = Logins(self.place / "repository")
        logins.set_password(PASSWORD)
        self.logins = logins
        self.temporary = seeds.folder() / "temporary"
        self.temporary.mkdir()
        with pytest.MonkeyPatch.context() as patched:
            for name in ("HOME", "TMPDIR"):
                patched.setenv(name, str(self.temporary))
            self.server = start(self.place, settings=SETTINGS)
        atexit.register(self.close)
        os.set_blocking(self.server.process.stderr.fileno(), False)
        self.port = self.server.port
        known = {
            "host": f"127.0.0.1:{self.port}",
            "style": style_mark(),
            "job": self._job(),
            **made,
        }
        wrong = "A" * 43
        self.owner = {**known, "token": self.server.token, "password": PASSWORD}
        self.log_in()
        self.stranger = {
            **known,
            **{"token": f"ankibak_{wrong}", "session": wrong, "csrf": Who("", wrong).csrf},
            "password": "a guess",
        }
        self.runs = 0
        self.first = Cost(0, 0)
        self.most = Cost(0, 0)

    def _job(self) -> str:
        """Start a job, so that there is one to look at."""
        with self.server.client() as client:
            name: str = client.post("/api/v1/runs").json()["job"]
        self.wait_for_jobs()
        return name

    def log_in(self) -> None:
        """Give the owner a session, unless there is one."""
        if not self.logins.is_session(self.owner.get("session", ""), datetime.now(UTC)):
            session = self.logins.begin(datetime.now(UTC))
            self.owner |= {"session": session, "csrf": Who("", session).csrf}

    @property
    def secrets(self) -> list[bytes]:
        """Return what no answer may tell."""
        return [self.owner[name].encode() for name in ("token", "session", "password")]

    def wait_for_jobs(self) -> None:
        """Wait until every job that was started has come to its end."""
        deadline = time.monotonic() + JOB_S
        folder = self.place / "repository" / "state" / "jobs"
        for job in folder.glob("*.json"):
            code = job.with_suffix(".code")
            while not (code.exists() and code.read_bytes().strip()):
                assert time.monotonic() < deadline, f"{job.read_text()} did not end"
                time.sleep(0.01)

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Return what changes whenever a file of the repository or of the profile does."""
        found = {}
        for folder, _, names in os.walk(self.place):
            for name in (".", *names):
                path = os.path.join(folder, name)
                with suppress(FileNotFoundError):
                    state = os.stat(path)
                    found[path] = state.st_ino, state.st_size, state.st_mtime_ns
        return found

    def said(self) -> bytes:
        """Return what the server has printed since it was last asked."""
        with suppress(BlockingIOError):
            return os.read(self.server.process.stderr.fileno(), 1 << 20)
        return b""

    def watch(self) -> None:
        """Fail if the server died, printed what it must not, or holds more than it may."""
        assert self.server.process.poll() is None, f"the server ended: {self.server.process.returncode}"
        printed = self.said()
        assert not printed, f"printed {printed[-3000:]!r}"
        cost = self.cost()
        self.most = Cost(*map(max, self.most, cost))
        assert cost.descriptors < DESCRIPTORS, f"{cost.descriptors} descriptors are open"
        self.runs += 1
        if self.runs == WARM:
            self.first = cost
        elif self.runs > WARM:
            assert cost.resident - self.first.resident < GROWTH, f"grew from {self.first} to {cost}"

    def settled(self) -> str:
        """Fail if the server keeps what it had only for those who asked; return what it took at most."""
        deadline = time.monotonic() + SETTLED_S
        while self.runs >= WARM and (now := self.cost()).descriptors > self.first.descriptors + KEPT_OPEN:
            assert time.monotonic() < deadline, f"after all it has {now}, and had {self.first}"
            time.sleep(0.05)
        left = [path.name for path in self.temporary.iterdir()]
        assert len(left) <= 1, f"temporary folders are left: {left}"
        return (
            f"{self.first.resident >> 20} MiB after {WARM} runs, {self.most.resident >> 20} at most,"
            f" {self.most.descriptors} descriptors at most"
        )

    def cost(self) -> Cost:
        """Return what the server has now."""
        process = f"/proc/{self.server.process.pid}"
        with open(f"{process}/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return Cost(resident, len(os.listdir(f"{process}/fd")))

    def close(self) -> None:
        """End it."""
        self.server.process.kill()
        self.server.process.wait(10)
        self.server.process.stderr.close()


def _repository(place: Path) -> Mapping[str, Any]:
    """Make four backups, one of them damaged; return what requests name of them."""
    profile = place / "profile"
    profile.mkdir(parents=True)
    path = make_varied(profile / "collection.anki2")
    (profile / "collection.media").mkdir(exist_ok=True)
    (profile / "collection.media" / "a b.png").write_bytes(PICTURE)
    repository = Repository.create(place / "repository")
    ids = []
    for number in range(4):
        sql(
            path,
            f"UPDATE notes SET flds = flds || '{number}' WHERE id % 5 = {number}",
            "UPDATE col SET mod = mod + 1",
        )
        done = runs.back_up(repository, Profile("desktop", path), Options(force=True, threads=1))
        assert done.backup, done.error
        ids.append(done.backup.id)
    shutil.copyfile("/dev/null", place / "repository" / "backups" / ids[0] / "metadata.json")
    repository.rebuild_catalog()
    with closing(sqlite3.connect(path)) as db:
        ((card,),) = db.execute("SELECT min(id) FROM cards")
    return {"damaged": ids[0], "older": ids[1], "id": ids[-1], "card": str(card)}
