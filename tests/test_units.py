"""The units: systemd takes them, they are hardened, and `schedule` puts them where they belong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from anki_backup import units
from anki_backup.settings import Schedule
from tests.conftest import ROOT

CONFIG = """
[storage]
root = "{root}"
[metrics]
textfile = "/var/lib/node exporter/ankibak.prom"
[sources.home]
kind = "profile"
path = "/home/me/User 100% $1"
[sources.account]
kind = "ankiweb"
username = "you"
schedule = {{ cron = "30 3 1,15 * mon", jitter = "10m", timezone = "Europe/Berlin" }}
[sources.asleep]
kind = "profile"
path = "/srv/anki"
enabled = false
"""
LIMITS = {"ankibak@.service": 1.2, "ankibak-serve.service": 1.1}
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


@pytest.fixture
def schedule(tmp_path, run_ankibak):
    config = tmp_path / "my config.toml"
    config.write_text(CONFIG.format(root=tmp_path / "repository"))
    return lambda *words: run_ankibak("-c", config, "schedule", *words)


def analyze(*words, **options):
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, **options)


def runnable(text):
    """Return a unit whose program and user exist here, so that only the unit is judged."""
    text = re.sub(r'^ExecStart=(?:"[^"]*"|\S+)', "ExecStart=/bin/true", text, flags=re.MULTILINE)
    return text.replace("User=ankibak", "User=root").replace("Group=ankibak", "Group=root")


def test_the_units_of_the_source_tree_are_those_of_the_program():
    assert {path.name: path.read_text() for path in (ROOT / "systemd").iterdir()} == units.shipped()


@needs_systemd
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_takes_the_units_as_they_are(user, schedule, tmp_path):
    done = schedule("install", "-o", tmp_path / "units", *(["--user"] if user else []))
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "units").iterdir():
        path.write_text(runnable(path.read_text()))
    names = sorted(map(str, (tmp_path / "units").iterdir()))
    verified = analyze("verify", *(["--user"] if user else []), "--recursive-errors=yes", *names)
    complaints = [line for line in verified.stderr.splitlines() if "ankibak" in line]
    assert complaints == []


def test_a_server_that_a_socket_starts_ends_when_nobody_asks():
    site = units.Site(["/usr/bin/ankibak"], None, Path("/var/lib/ankibak"), user=True)
    for made in (units.shipped(), units.render(site, {}, "unix:/run/ankibak.sock")):
        assert " serve --idle-exit 15m\n" in made["ankibak-serve.service"]


@needs_systemd
@pytest.mark.parametrize("name", [name for name in units.shipped() if name.endswith(".service")])
def test_the_exposure_is_as_small_as_it_was(name, tmp_path):
    (tmp_path / name).write_text(units.shipped()[name])
    told = analyze("security", "--offline=true", f"./{name}", cwd=tmp_path).stdout
    assert float(re.search(r"exposure level for \S+ (\d+\.\d)", told)[1]) <= LIMITS.get(name, 1.2)


def test_every_timer_is_turned_on_whatever_its_source_is_called(tmp_path, run_ankibak, home_units):
    config = tmp_path / "c.toml"
    sources = "".join(f'[sources.{name}]\nkind = "profile"\npath = "p"\n' for name in ("server", "conserve"))
    config.write_text(f'[storage]\nroot = "r"\n{sources}')
    (home_units / "bin").mkdir()
    (home_units / "bin" / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {home_units}/told\n')
    (home_units / "bin" / "systemctl").chmod(0o755)
    path = f"{home_units}/bin:{os.environ['PATH']}"
    installed = run_ankibak("-c", config, "schedule", "install", "--user", env={"PATH": path})
    assert installed.returncode == 0 and "schedule show --user" in installed.stderr
    turned = next(line for line in (home_units / "told").read_text().splitlines() if " enable " in line)
    timers = ["ankibak-prune.timer", "ankibak-verify.timer", "ankibak@conserve.timer", "ankibak@server.timer"]
    assert turned.split() == ["--user", "enable", "--now", *timers]


def test_units_of_the_system_that_can_not_see_their_configuration_are_warned_of(schedule, tmp_path):
    told = "the units can't see"
    assert told in schedule("install", "-o", tmp_path / "units").stderr.replace("\n", " ")
    assert told not in schedule("install", "--user", "-o", tmp_path / "units").stderr.replace("\n", " ")


def test_a_timer_that_is_off_is_told(schedule, home_units):
    schedule("install", "--user")
    wants = home_units / "timers.target.wants"
    wants.mkdir(exist_ok=True)
    for name in ("ankibak@account.timer", "ankibak@home.timer"):
        (wants / name).unlink(missing_ok=True)
    (wants / "ankibak@account.timer").symlink_to(home_units / "ankibak@account.timer")
    shown = json.loads(schedule("show", "--user", "--json").stdout)["units"]
    states = {each["unit"]: each["state"] for each in shown}
    assert (states["ankibak@account.timer"], states["ankibak@home.timer"]) == ("installed", "off")
    assert "ankibak@home.timer\toff\n" in schedule("show", "--user").stdout


def test_each_enabled_source_has_a_timer_of_its_own_and_a_dry_run_shows_all(schedule):
    shown = schedule("install", "--dry-run").stdout
    assert "ankibak@home.timer\n" in shown and "ankibak@asleep.timer" not in shown
    assert 'ReadWritePaths="/var/lib/node exporter"\n' in shown
    account = shown[shown.index("ankibak@account.timer") :]
    assert "OnCalendar=*-*-01,15 03:30:00 Europe/Berlin\n" in account
    assert "OnCalendar=Mon *-*-* 03:30:00 Europe/Berlin\nRandomizedDelaySec=600s\n" in account
    assert "OnCalendar=*-*-* *:00:00\nRandomizedDelaySec=120s\n" in shown


def test_installing_again_changes_nothing_and_what_is_gone_from_the_configuration_goes(schedule, home_units):
    first = schedule("install", "--user")
    assert first.returncode == 0 and "+Persistent=yes" in first.stderr, first.stderr
    before = {path: path.stat().st_mtime_ns for path in home_units.glob("ankibak*")}
    assert "as they should be" in schedule("install", "--user").stderr
    assert {path: path.stat().st_mtime_ns for path in home_units.glob("ankibak*")} == before
    (home_units / "ankibak@gone.timer").write_text(units.MARK)
    assert "ankibak@gone.timer\tnot configured" in schedule("show", "--user").stdout
    schedule("install", "--user")
    assert not (home_units / "ankibak@gone.timer").exists()
    states = {line.split("\t")[1] for line in schedule("show", "--user").stdout.splitlines()}
    assert states <= {"installed", "off"}  # off where there is no systemctl


@pytest.fixture
def home_units(isolated_home):
    folder = Path(isolated_home) / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    return folder


def test_units_of_others_are_never_replaced_nor_removed(schedule, home_units):
    (home_units / "ankibak@home.timer").write_text("[Timer]\nOnCalendar=daily\n")
    refused = schedule("install", "--user")
    assert refused.returncode == 2 and "is not ours" in refused.stderr
    schedule("remove", "--user", "--yes")
    assert [path.name for path in home_units.glob("ankibak*")] == ["ankibak@home.timer"]


def test_removing_wants_a_yes_and_takes_all_of_ours(schedule, home_units):
    schedule("install", "--user")
    assert schedule("remove", "--user").returncode == 2
    listed = schedule("remove", "--user", "--dry-run").stdout.splitlines()
    assert len(listed) == len(list(home_units.glob("ankibak*"))) > 5
    assert schedule("remove", "--user", "--yes").returncode == 0
    # Also the links by which systemctl, where there is one, turned the timers on.
    assert list(home_units.rglob("ankibak*")) == []


def test_a_cron_line_without_words_in_systemd_is_refused(tmp_path, run_ankibak):
    (tmp_path / "c.toml").write_text(
        '[schedule]\ncron = "0 0 30 2 *"\n[sources.a]\nkind="profile"\npath="x"\n'
    )
    done = run_ankibak("-c", tmp_path / "c.toml", "schedule", "install", "--dry-run")
    assert done.returncode == 2 and "never comes" in done.stderr


def test_words_of_a_command_line_are_what_systemd_reads_back():
    assert units.word('a "b" $c %d\\') == '"a \\"b\\" $$c %%d\\\\"'
    assert units.timer("x", Schedule(calendar="hourly")).count("Persistent=yes") == 1
