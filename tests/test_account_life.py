"""Accounts in daily life: secrets stay secret, several side by side, time zones, two machines, and a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.accounts import ankibak, config, equal, home, outcome, rows, write_config
from tests.conftest import ROOT
from tests.sync_proxy import Fault, SyncProxy
from tests.sync_server import PASSWORD, USER, Client, SyncServer, phone, sync_server

__all__ = ["ankibak", "config", "equal", "home", "outcome", "phone", "sync_server"]

MARKER = "Marker-0f3c91d7-of-a-password"


def test_secrets_appear_nowhere(tmp_path, run_ankibak):
    with SyncServer(tmp_path / "server", {USER: MARKER}) as server, SyncProxy(server.url) as proxy:
        with Client(tmp_path / "phone", server.url, password=MARKER) as phone:
            phone.add("a note")
            phone.upload()
            key = phone.auth.hkey
        config, secret = tmp_path / "config.toml", tmp_path / "password"
        secret.write_text(MARKER + "\n")
        secret.chmod(0o600)
        write_config(config, proxy.url, f'password_file = "{secret}"\n')
        said = []

        def typed(*words, code=0, **env):
            done = run_ankibak("-c", config, *words, env=env)
            assert done.returncode == code, done.stderr
            said.append(done.stdout + done.stderr)

        for words in (
            ("login", "-v"),
            ("run", "-v"),
            ("run", "--json"),
            ("config", "show"),
            ("runs", "--json"),
        ):
            typed(*words)
        for word in ("list", "status", "show"):
            typed(word, *(["latest", "--json"] if word == "show" else ["--json"]))
        for path, fault in {
            "/sync/meta": Fault(status=500, body=MARKER.encode()),
            "/sync/finish": Fault(cut_before=True),
        }.items():
            proxy.fail(path, fault)
            typed("run", "-v", code=7 if path == "/sync/meta" else 0)
        proxy.fault = lambda path: None
        typed("run", "-v", code=7, ANKIBAK_SOURCES__HOME__ENDPOINT=f"http://127.0.0.1:9/{MARKER}")
        typed("logout")
        typed("login", ANKIBAK_SOURCES__HOME__PASSWORD=MARKER)
        typed("run", "--log-format", "json", "-v")
        assert not any(MARKER in text or key in text for text in said)
        found = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.is_relative_to(tmp_path / "server") and path != secret
            if MARKER.encode() in path.read_bytes() or key.encode() in path.read_bytes()
        ]
        kept = tmp_path / "backups" / "state" / "secrets"
        assert found == [kept / "home.key"]
        assert MARKER.encode() not in found[0].read_bytes()
        assert (found[0].stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o600, 0o700)


def test_one_account_that_fails_does_not_stop_the_others(tmp_path, run_ankibak):
    users = {USER: PASSWORD, "bob": "of bob"}
    with SyncServer(tmp_path / "server", users) as server:
        for user, password in users.items():
            with Client(tmp_path / user, server.url, user, password) as device:
                device.add(f"of {user}")
                device.upload()
        config = tmp_path / "config.toml"
        tables = [
            f'[sources.{name}]\nkind = "ankiweb"\nusername = "{user}"\nendpoint = "{server.url}"\n'
            f'retries = 0\ntimezone = "{zone}"\n'
            for name, user, zone in (("ann", USER, "Asia/Tokyo"), ("bob", "bob", "America/Los_Angeles"))
        ]
        config.write_text('[storage]\nroot = "backups"\n' + "".join(tables))
        env = {"ANKIBAK_SOURCES__ANN__PASSWORD": PASSWORD, "ANKIBAK_SOURCES__BOB__PASSWORD": "wrong"}
        done = run_ankibak("-c", config, "run", "--json", env=env)
        results = json.loads(done.stdout)["results"]
        assert done.returncode == 3
        assert [result["outcome"] for result in results] == ["created", "failed"]
        assert results[1]["error"]["code"] == "login_refused"
        done = run_ankibak("-c", config, "run", env=env | {"ANKIBAK_SOURCES__BOB__PASSWORD": "of bob"})
        assert (done.returncode, [line.split("\t")[:2] for line in done.stdout.splitlines()]) == (
            0,
            [["ann", "skipped"], ["bob", "created"]],
        )
        for name, user in (("ann", USER), ("bob", "bob")):
            mirror = rows(tmp_path / "backups" / "mirrors" / name / "collection.anki2")
            assert mirror["notes"] == rows(server.copy_of(tmp_path / f"{name}.anki2", user))["notes"]


ZONES = ["Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati", "Pacific/Pago_Pago"]


def test_zones_and_the_end_of_a_day_change_nothing(home, phone, monkeypatch, tmp_path):
    """The days of these zones are not the same: for some, the buried cards' day is over."""
    from anki_backup.content import content_hash

    phone.study(3, deck="Español::Verbos")
    cards = phone.col.find_cards("is:new")[:4]
    phone.col.sched.bury_cards(cards, manual=False)
    phone.sync()
    home.sync()
    phone.sync()
    hashes = set()
    for round_ in range(2):
        for zone in ZONES:
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            before = home.state()
            home.sync(timezone=ZONES[-1 - ZONES.index(zone)] if round_ else None)
            assert home.state() == before
            hashes.add(content_hash(home.mirror / "collection.anki2", "-"))
            monkeypatch.delenv("TZ")
            time.tzset()
            phone.sync()  # which moves the server's time, so that the next is a normal sync
            phone.col.set_config("an add-on's", f"{zone} {round_}")
            phone.col.set_config("an add-on's", None)
            phone.sync()
    assert len(hashes) <= 2  # with the add-on's key and without
    home.sync()
    phone.sync()
    assert phone.col.db.list("select id from cards where queue < -1 order by id") == sorted(cards)


def test_a_week_on_two_machines_makes_no_ping_pong(tmp_path, run_ankibak, phone, sync_server):
    """Each sync moves the server's time, so each machine sees that of the other in every hour."""
    outcomes = {"one": [], "two": []}
    for name in outcomes:
        (tmp_path / name).mkdir()
        write_config(tmp_path / name / "config.toml", sync_server.url)
    phone.add("new")
    phone.sync()
    for hour in range(8):
        if hour == 4:
            phone.study(1, deck="Español::Verbos")
            phone.sync()
        for name, told in outcomes.items():
            done = run_ankibak(
                *("-c", tmp_path / name / "config.toml", "run"),
                env={"ANKIBAK_SOURCES__HOME__PASSWORD": PASSWORD},
            )
            told.append(done.stdout.split("\t")[1])
    expected = ["created", *["skipped"] * 3, "created", *["skipped"] * 3]
    assert outcomes == {"one": expected, "two": expected}


@pytest.mark.parametrize("path", ["/sync/download", "/msync/downloadFiles"])
def test_a_terminated_run_leaves_nothing_half_done(
    tmp_path, phone, sync_server, ankibak, config, equal, path
):
    with SyncProxy(sync_server.url) as proxy:
        write_config(config, proxy.url, 'time_limit = "60s"\n')
        proxy.fail(path, Fault(stall_s=8))
        env = {**os.environ, "PYTHONPATH": str(ROOT), "ANKIBAK_SOURCES__HOME__PASSWORD": PASSWORD}
        process = subprocess.Popen(
            [sys.executable, "-m", "anki_backup", "-c", config, "run"], env=env, stdout=-1, stderr=-1
        )
        while path.rpartition("/")[0] + "/" not in "".join(proxy.paths) and not proxy.paths[1:]:
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.communicate()
        assert (process.returncode, time.monotonic() - started < 5) == (143, True)
        proxy.fault = lambda path: None
        assert ankibak("runs").split("\t")[2] == "interrupted"
        ankibak("run")
        assert proxy.sent() == []
        equal()
