"""Starting, refusing to start, and ending."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import zstandard
from msgspec import to_builtins

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.logins import Logins
from anki_backup.model import now
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.web.jobs import Job
from tests.conftest import ROOT
from tests.made_collections import make_varied


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder with a repository, and a configuration without anything."""
    Repository.create(tmp_path / "repository")
    (tmp_path / "config.toml").write_text('[storage]\nroot = "repository"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "args", "token", "words"),
    [
        ("", ["--listen", "127.0.0.1:0"], False, "passwd"),
        ("[security]\nauth_enabled = false\n", ["--listen", "127.0.0.1:0"], True, "passwd"),
        ("[security]\nauth_enabled = false\npublic_read = true\n", ["--listen", "0.0.0.0:0"], True, "passwd"),
        ("[security]\npublic_read = true\n", ["--listen", "0.0.0.0:0"], True, "--listen 127.0.0.1"),
        ("", ["--listen", "nowhere"], True, "127.0.0.1:8088"),
        ("", ["--listen", "127.0.0.1:65536"], True, "127.0.0.1:8088"),
        ("", ["--listen", "[]:80"], True, "127.0.0.1:8088"),
        ("", ["--idle-exit", "soon"], True, "--idle-exit 10m"),
    ],
)
def test_it_refuses_to_start_and_says_how_to_mend_it(bare, run_ankibak, settings, args, token, words):
    (bare / "config.toml").write_text('[storage]\nroot = "repository"\n' + settings)
    if token:
        Logins(bare / "repository").add_token("one")
    done = run_ankibak("-c", bare / "config.toml", "serve", *args, timeout=30)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_what_needs_no_socket_is_checked_before_there_is_one(bare, run_ankibak):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]
        done = run_ankibak("-c", bare / "config.toml", *words, timeout=30)
        assert (done.returncode, "config.toml passwd\n" in done.stderr) == (2, True), done.stderr
        Logins(bare / "repository").add_token("one")
        done = run_ankibak("-c", bare / "config.toml", *words, timeout=30)
        assert (done.returncode, "address already in use" in done.stderr) == (2, True), done.stderr


def begin(bare: Path, *args: str, **more: object) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "anki_backup", "-c", str(bare / "config.toml"), "serve", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})},
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    line = process.stderr.readline()
    assert "the web view is at" in line, line + process.stderr.read()
    return process, line.split()[-1]


def test_it_ends_by_itself_when_nobody_asks(bare):
    Logins(bare / "repository").add_token("one")
    process, url = begin(bare, "--listen", "127.0.0.1:0", "--idle-exit", "1s")
    assert httpx.get(f"{url}api/v1/healthz", trust_env=False).status_code == 200
    assert process.wait(15) == 0
    process.stderr.close()


def test_it_does_not_end_by_itself_while_a_job_goes_on(bare):
    Logins(bare / "repository").add_token("one")
    name = "2026-01-01T00-00-00Z-00000000"
    with subprocess.Popen(["/bin/sh", "-c", "read line", name], stdin=subprocess.PIPE) as running:
        job = Job(id=name, words=["verify"], started_at=now(), process=running.pid, by="test")
        (bare / "repository" / "state" / "jobs").mkdir()
        path = bare / "repository" / "state" / "jobs" / f"{name}.json"
        path.write_text(json.dumps(to_builtins(job)))
        process, _ = begin(bare, "--listen", "127.0.0.1:0", "--idle-exit", "1s")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        running.communicate(b"\n")
    assert process.wait(15) == 0
    process.stderr.close()


def test_a_signal_ends_it_at_once_when_nothing_goes_on(bare):
    Logins(bare / "repository").add_token("one")
    process, _ = begin(bare, "--listen", "127.0.0.1:0")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 143
    assert time.monotonic() - started < 5
    process.stderr.close()


def back_up(bare: Path, files: int) -> None:
    """Make a backup with so many media files of 3 MB."""
    media = bare / "profile" / "collection.media"
    media.mkdir(parents=True)
    make_varied(bare / "profile" / "collection.anki2")
    for number in range(files):
        (media / f"{number}.mp3").write_bytes(random.Random(number).randbytes(3_000_000))
    repository = Repository.open(bare / "repository")
    runs.back_up(repository, Profile("desktop", bare / "profile"), Options(threads=1))


def test_a_signal_lets_a_download_come_to_its_end_in_little_memory(bare):
    back_up(bare, 30)
    token = Logins(bare / "repository").add_token("one")
    process, url = begin(bare, "--listen", "127.0.0.1:0")
    asked = {"url": f"{url}api/v1/backups/latest/download", "headers": {"Authorization": f"Bearer {token}"}}
    data = bytearray()
    with httpx.Client(trust_env=False, timeout=30) as client, client.stream("GET", **asked) as answer:
        blocks = answer.iter_raw(1 << 18)
        while len(data) < 60_000_000:
            data += next(blocks)
        peak_kib = int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1])
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}api/v1/healthz", trust_env=False, timeout=2)
        data += b"".join(blocks)
    assert process.wait(15) == 143
    process.stderr.close()
    with tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(bytes(data)), mode="r|") as archive:
        sizes = [member.size for member in archive]
    assert sizes.count(3_000_000) == 30
    assert peak_kib < 90 << 10


def test_a_download_that_is_too_slow_is_cut_off_at_the_end_without_a_word(bare):
    back_up(bare, 8)
    token = Logins(bare / "repository").add_token("one")
    process, url = begin(bare, "--listen", "127.0.0.1:0")
    asked = "GET /api/v1/backups/latest/download?format={} HTTP/1.1\r\nHost: localhost\r\n"
    with contextlib.ExitStack() as stack:
        for word in ("tar.zst", "zip"):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(url).port)))
            slow.sendall(f"{asked.format(word)}Authorization: Bearer {token}\r\n\r\n".encode())
            assert slow.recv(12) == b"HTTP/1.1 200"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert process.stderr.read() == "ankibak: stopped by SIGTERM\n"
    process.stderr.close()


def test_a_socket_of_a_path_is_private_and_gone_at_the_end(bare):
    Logins(bare / "repository").add_token("one")
    path = bare / "web.sock"
    process, _ = begin(bare, "--listen", f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o660
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://localhost/api/v1/healthz").status_code == 200
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    process.stderr.close()
    assert not path.exists()


def test_sockets_that_systemd_opened_are_taken(bare):
    Logins(bare / "repository").add_token("one")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # What systemd does: descriptor 3, and a process that knows its own number.
        script = f'exec 3<&{listening.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        command = [sys.executable, "-m", "anki_backup", "-c", str(bare / "config.toml"), "serve"]
        process = subprocess.Popen(
            ["/bin/bash", "-c", script, "sh", *command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert f":{port}/" in process.stderr.readline()
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/healthz", trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        process.stderr.close()


def test_passwd_and_token_from_a_pipe(bare, run_ankibak):
    config = bare / "config.toml"
    assert run_ankibak("-c", config, "passwd", input="short\n").returncode == 2
    assert run_ankibak("-c", config, "passwd", input="long enough\n").returncode == 0
    assert Logins(bare / "repository").is_password("long enough")
    secret = run_ankibak("-c", config, "token", "add", "laptop").stdout.strip()
    assert Logins(bare / "repository").token(secret) == "laptop"
    assert run_ankibak("-c", config, "token", "add", "laptop").returncode == 2
    listed = run_ankibak("-c", config, "token", "list").stdout
    assert listed.startswith("laptop\t") and secret not in listed
    assert run_ankibak("-c", config, "token", "revoke", "other").returncode == 5
    assert run_ankibak("-c", config, "token", "revoke", "laptop").returncode == 0
    assert Logins(bare / "repository").token(secret) is None
