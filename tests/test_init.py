"""From nothing to the first backup, and the look at everything that has to be right."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
import typer

from anki_backup import setup
from anki_backup.errors import UsageError
from tests.conftest import ROOT
from tests.made_collections import make_varied
from tests.sync_server import PASSWORD, USER, phone, sync_server

__all__ = ["phone", "sync_server"]


@pytest.fixture
def profile(isolated_home, tmp_path_factory):
    folder = Path(isolated_home) / ".local/share/Anki2/User 1"
    folder.mkdir(parents=True)
    make_varied(folder / "collection.anki2")
    return folder


@pytest.fixture
def file(isolated_home):
    return Path(isolated_home) / ".config" / "ankibak" / "config.toml"


def test_a_profile_is_set_up_with_one_command(profile, file, run_ankibak):
    done = run_ankibak("init", "--profile", profile)
    assert done.returncode == 0, done.stderr
    made = tomllib.loads(file.read_text())
    assert made["sources"] == {"desktop": {"kind": "profile", "path": str(profile)}}
    assert file.stat().st_mode & 0o777 == 0o600 and "schedule install --user" in done.stderr
    assert len(run_ankibak("list").stdout.splitlines()) == 1
    assert run_ankibak("config", "check").returncode == 0


def test_what_is_there_is_never_written_over(profile, file, run_ankibak):
    run_ankibak("init", "--profile", profile, "--no-run")
    before = file.read_bytes()
    done = run_ankibak("init", "--profile", profile)
    assert (done.returncode, file.read_bytes()) == (2, before) and "there already" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--profile", "nowhere"], 7),
        (["--profile", __file__], 7),
        (["--profile", "x", "--account", "y"], 2),
        ([], 2),
        (["--account", "me", "--endpoint", "http://127.0.0.1:9/"], 2),
        (["--account", "me", "--endpoint", "ftp://x"], 2),
        (["--profile", "x", "--name", "Üb er"], 2),
        (["--profile", "x", "--cron", "nonsense"], 2),
    ],
)
def test_what_can_not_work_leaves_no_file_behind(words, code, file, run_ankibak):
    done = run_ankibak("init", *words)
    assert done.returncode == code and len(done.stderr.splitlines()) <= 12, done.stderr
    assert ".part" not in done.stderr
    assert list(file.parent.glob("*")) == [] if file.parent.exists() else True


def test_an_account_is_logged_in_to_and_its_password_kept_nowhere(
    phone, file, tmp_path, run_ankibak, sync_server
):
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    words = ["--account", USER, "--endpoint", sync_server.url, "--password-file", secret]
    done = run_ankibak("init", *words, "--name", "home", "--root", tmp_path / "repository")
    assert done.returncode == 0, done.stderr
    secret.unlink()
    assert "home\tcreated" in done.stdout and "logged in" in done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "server" not in str(path)]
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)


def answered(lines, home):
    """Run `init` at a terminal and type `lines`; return its exit code and what it showed."""
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "anki_backup", "init"]
    process = subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=home
    )
    os.close(slave)
    os.write(master, "".join(f"{line}\n" for line in lines).encode())
    shown = b""
    try:
        while data := os.read(master, 4096):
            shown += data
    except OSError:
        pass
    os.close(master)
    return process.wait(60), shown.decode()


def test_at_a_terminal_the_profiles_of_this_machine_are_offered(profile, file, isolated_home):
    code, shown = answered(["1", ""], isolated_home)
    assert code == 0 and f"1  {profile}" in shown and "first backup" not in shown.splitlines()[-1]
    made = tomllib.loads(file.read_text())
    assert made["sources"]["desktop"]["path"] == str(profile)
    assert made["storage"]["root"] == str(Path(isolated_home) / ".local/share/ankibak")


def test_a_place_is_asked_for(profile, file, isolated_home):
    code, shown = answered(["1", "~/on another disk"], isolated_home)
    assert code == 0 and "[" + str(Path(isolated_home) / ".local/share/ankibak") + "]" in shown
    place = Path(isolated_home) / "on another disk"
    assert tomllib.loads(file.read_text())["storage"]["root"] == str(place)
    assert len(list((place / "backups").iterdir())) == 1


@pytest.mark.parametrize("often, cron", [("", "0 * * * *"), ("2", "30 3 * * *"), ("x", None)])
def test_of_ankiweb_it_is_asked_how_often(often, cron, monkeypatch):
    from anki_backup.commands import init

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{often}\n"))
    with pytest.raises(UsageError) if cron is None else nullcontext():
        assert init._ask_how_often() == cron


@pytest.mark.parametrize("name", ["desktop", "laptop"])
def test_where_there_are_backups_nothing_is_run(name, profile, file, run_ankibak):
    run_ankibak("init", "--profile", profile)
    file.unlink()
    (profile / "collection.anki2").unlink()
    make_varied(profile / "collection.anki2")
    done = run_ankibak("init", "--profile", profile, "--name", name)
    assert done.returncode == 0 and "holds 1 backup already, so nothing was run" in done.stderr
    told = "ankibak rollback desktop:latest" if name == "desktop" else "they are of desktop"
    assert told in " ".join(done.stderr.split()) and len(run_ankibak("list").stdout.splitlines()) == 1


@pytest.mark.parametrize("lines", [["9"], ["x"], ["2", ""]])
def test_an_answer_that_means_nothing_changes_nothing(lines, profile, file, isolated_home):
    code, _ = answered(lines, isolated_home)
    assert code == 2 and not file.exists()


def test_profiles_are_found_wherever_anki_was_installed_from(tmp_path):
    paths = [tmp_path / folder / "Me" for folder in setup.ANKI_FOLDERS]
    for number, path in enumerate(paths):
        path.mkdir(parents=True)
        (path / "collection.anki2").touch()
        os.utime(path / "collection.anki2", (number, number))
    assert setup.profiles(tmp_path) == paths[::-1]


def checks(run_ankibak, *words):
    done = run_ankibak(*words, "doctor", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode == 0) == told["well"]
    return {check["name"]: check for check in told["checks"]}


def test_the_doctor_finds_nothing_wrong_after_init(profile, isolated_home, run_ankibak):
    run_ankibak("init", "--profile", profile)
    found = checks(run_ankibak)
    assert [check["name"] for check in found.values() if check["state"] == "failed"] == []
    assert found["timers"]["state"] == "warning" and "schedule install" in found["timers"]["hint"]
    run_ankibak("schedule", "install", "--user")
    links = Path(isolated_home) / ".config/systemd/user/timers.target.wants"
    links.mkdir(exist_ok=True)
    (links / "ankibak@desktop.timer").unlink(missing_ok=True)
    off = checks(run_ankibak)["timers"]
    assert (off["state"], "enable --now ankibak@desktop.timer" in off["hint"]) == ("warning", True)
    (links / "ankibak@desktop.timer").symlink_to("../ankibak@desktop.timer")
    assert checks(run_ankibak)["timers"]["state"] == "ok"


def test_the_doctor_says_what_is_wrong_and_what_to_do(profile, isolated_home, run_ankibak):
    assert checks(run_ankibak)["configuration"]["hint"] == "Set one up: ankibak init"
    run_ankibak("init", "--profile", profile)
    (Path(isolated_home) / ".local/share/ankibak").chmod(0o755)
    assert "chmod" in checks(run_ankibak)["permissions"]["hint"]
    (profile / "collection.anki2").unlink()
    found = checks(run_ankibak)
    assert found["source desktop"]["state"] == "failed" and found["source desktop"]["hint"]


def test_the_doctor_asks_an_account(phone, tmp_path, run_ankibak, sync_server):
    config = tmp_path / "c.toml"
    table = f'username = "{USER}"\nendpoint = "{sync_server.url}"\n'
    config.write_text(f'[storage]\nroot = "r"\n[sources.home]\nkind = "ankiweb"\n{table}')
    assert "ankibak login home" in checks(run_ankibak, "-c", config)["source home"]["hint"]
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text(PASSWORD)
    config.write_text(config.read_text() + f'password_file = "{secret}"\n')
    waiting = checks(run_ankibak, "-c", config)["source home"]
    assert (waiting["state"], "ankibak login home" in waiting["hint"]) == ("warning", True)
    run_ankibak("-c", config, "run")
    assert checks(run_ankibak, "-c", config)["source home"]["message"].endswith("unchanged")
    sync_server.stop()
    assert checks(run_ankibak, "-c", config)["source home"]["state"] == "failed"


@pytest.mark.parametrize("ended, told", [(-9, 137), (-15, 143), (8, 8)])
def test_how_the_first_backup_ended_is_told_as_a_shell_does(ended, told, monkeypatch):
    from anki_backup.commands import init

    monkeypatch.setattr(subprocess, "run", lambda *words, **_: subprocess.CompletedProcess(words, ended))
    with pytest.raises(typer.Exit) as caught:
        init._type(["run"])
    assert caught.value.exit_code == told
