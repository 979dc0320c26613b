"""A repository with life in it, and servers for it that end with their test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from anki_backup.logins import Logins
from anki_backup.repository import Repository
from tests.conftest import ROOT
from tests.web import lively

PASSWORD = "correct horse battery"


class Served:
    """A running server: its address, its process, a token, and what it said."""

    def __init__(self, process: subprocess.Popen[str], url: str, token: str, place: Path) -> None:
        self.process, self.url, self.token, self.place = process, url, token, place
        self.port = urlsplit(url).port
        self.origin = f"http://127.0.0.1:{self.port}"
        self.repository = Repository.open(place / "repository")

    def client(self, token: str | None = "", **more: object) -> httpx.Client:
        """Return a client, with the token unless told."""
        secret = self.token if token == "" else token
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self.origin, headers=headers, timeout=30, trust_env=False, **more)

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """Give a client that has logged in as a browser does."""
        with self.client(None) as client:
            client.headers.update({"Origin": self.origin, "Sec-Fetch-Site": "same-origin"})
            assert client.post("/login", data={"password": PASSWORD}).status_code == 303
            yield client

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def csrf(page: httpx.Response) -> str:
    """Return the mark that the forms of a page carry."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found, page.text[:200]
    return found[1]


def start(
    place: Path, *args: str, settings: str = "", token: str | None = None, wrapped: Sequence[str] = ()
) -> Served:
    """Start a server for `place/repository`, `wrapped` by another program, and wait until it answers."""
    config = place / "config.toml"
    config.write_text(
        '[storage]\nroot = "repository"\n[sources.desktop]\nkind = "profile"\npath = "profile"\n' + settings
    )
    secret = token or Logins(place / "repository").add_token(f"test {time.monotonic_ns()}")
    command = [sys.executable, "-m", "anki_backup", "-c", str(config), "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*wrapped, *command, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert "the web view is at http" in line, line + process.stderr.read()
    return Served(process, line.split()[-1], secret, place)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of two weeks that nobody may change."""
    place = tmp_path_factory.mktemp("lively")
    lively.make(place, days=12)
    Logins(place / "repository").set_password(PASSWORD)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    target = tmp_path / "place"
    shutil.copytree(made, target, symlinks=True)
    return target


@pytest.fixture
def serve(place: Path, isolated_home: Path) -> Iterator[Callable[..., Served]]:
    """Return what starts a server for the copy."""
    running: list[Served] = []

    def begin(*args: str, **more: Any) -> Served:
        running.append(start(place, *args, **more))
        return running[-1]

    yield begin
    for served in running:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait(10)
        served.process.stderr.close()


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return one server for all tests of a file that change nothing that others look at."""
    target = tmp_path_factory.mktemp("served") / "place"
    shutil.copytree(made, target, symlinks=True)
    running = start(target)
    yield running
    running.process.kill()
    running.process.wait(10)
    running.process.stderr.close()
