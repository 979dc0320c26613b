"""`ankibak config` as a person types it."""

from __future__ import annotations

import json
import os
import shutil
import tomllib

import pytest

from anki_backup.commands.config import example_file
from anki_backup.config import load
from anki_backup.keys import keys
from anki_backup.settings import Schedule
from anki_backup.values import duration

MARKER = "correct-horse-battery"
PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'
ACCOUNT = '[ankiweb]\nusername = "me"\n'


def test_config_show_is_toml_that_says_where_each_value_came_from(run_ankibak, write):
    file = write(PROFILE + ACCOUNT + f'password = "{MARKER}"\npassword_command = ["a", "b"]\n')
    done = run_ankibak("config", "show", "-c", file, env={"ANKIBAK_RUN__THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    shown = tomllib.loads(done.stdout)
    assert shown["run"] == {"threads": 1, "hot_tries": 5, "prune": True}
    assert shown["sources"]["ankiweb"]["password"] == "********"
    assert shown["sources"]["ankiweb"]["password_command"] == ["a", "b"]
    lines = done.stdout.splitlines()
    assert lines[0] == f"# {file}"
    assert "threads = 1  # environment ANKIBAK_RUN__THREADS" in lines
    assert 'path = "/p"  # file' in lines
    assert 'jitter = "2m"  # default' in lines


def test_what_config_show_prints_configures_the_same(run_ankibak, write, tmp_path):
    file = write(
        '[schedule]\ncalendar = "daily"\n'
        + PROFILE
        + 'schedule = { jitter = "1h30m" }\nretention.daily = 7\n'
    )
    again = tmp_path / "again.toml"
    again.write_text(run_ankibak("config", "show", "-c", file).stdout)
    first, second = load(file, {}), load(again, {})
    assert first.sources == second.sources
    assert first.schedule == second.schedule == Schedule(calendar="daily", jitter=duration("2m"))


def test_config_show_as_json_has_the_settings_and_their_origins(run_ankibak, write, tmp_path):
    file = write(ACCOUNT + f'password = "{MARKER}"\n')
    done = run_ankibak("config", "show", "--json", "--config", file, "--repository", tmp_path / "r")
    document = json.loads(done.stdout)
    assert MARKER not in done.stdout
    assert (document["schema"], document["file"]) == (1, str(file))
    assert document["settings"]["storage"]["root"] == str(tmp_path / "r")
    assert document["origins"]["storage.root"] == "--repository"
    assert document["settings"]["sources"]["ankiweb"]["kind"] == "ankiweb"
    assert document["origins"]["sources.ankiweb.password"] == "file"


def test_config_check_is_content_with_places_that_exist(run_ankibak, write, tmp_path):
    (tmp_path / "p").mkdir()
    done = run_ankibak("config", "check", "-c", write(PROFILE.replace("/p", "p")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("config.toml: fine, with 1 source\n")


def test_config_check_names_a_place_that_is_not_there(run_ankibak, write, tmp_path):
    done = run_ankibak("config", "check", "-c", write(PROFILE.replace("/p", "p")))
    assert done.returncode == 2
    assert f"config.toml, line 3: sources.home.path: {tmp_path / 'p'} is not there" in done.stderr
    done = run_ankibak("config", "check", "-c", write(PROFILE.replace("/p", "p") + "enabled = false\n"))
    assert done.returncode == 0


@pytest.mark.parametrize("table", ["[schedule]\n", "[sources.home.schedule]\n"])
def test_config_check_names_a_time_that_never_comes(run_ankibak, write, tmp_path, table: str):
    (tmp_path / "p").mkdir()
    file = write(PROFILE.replace("/p", "p") + table + 'cron = "0 99 * * *"\n')
    for words in (["config", "check"], ["list"], ["run"]):
        done = run_ankibak(*words, "-c", file)
        assert done.returncode == 2 and "'99' as hour is none of 0 to 23" in done.stderr
        line, key = file.read_text().splitlines().index('cron = "0 99 * * *"') + 1, f"{table[1:-2]}.cron"
        assert f"config.toml, line {line}: {key} " in done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("table", ["[schedule]\n", "[sources.home.schedule]\n"])
def test_config_check_asks_systemd_what_a_calendar_means(run_ankibak, write, tmp_path, table: str):
    (tmp_path / "p").mkdir()
    for words, code in (("Mon *-*-* 03:00", 0), ("2020-02-30", 2), ("nonsense", 2)):
        file = write(PROFILE.replace("/p", "p") + table + f'calendar = "{words}"\n')
        done = run_ankibak("config", "check", "-c", file)
        assert done.returncode == code, done.stderr
    assert f'{table[1:-2]}.calendar "nonsense" means no time to come to systemd' in done.stderr


def test_config_check_refuses_a_password_file_that_others_can_read(run_ankibak, write, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(MARKER)
    secret.chmod(0o644)
    done = run_ankibak("config", "check", "-c", write(ACCOUNT + 'password_file = "secret"\n'))
    assert done.returncode == 2
    assert f"chmod 600 '{secret}'" in done.stderr
    os.chmod(secret, 0o600)
    assert run_ankibak("config", "check", "-c", tmp_path / "config.toml").returncode == 0


def test_config_check_refuses_a_repository_in_a_media_folder(run_ankibak, write, tmp_path):
    (tmp_path / "p/collection.media").mkdir(parents=True)
    file = write(PROFILE.replace("/p", "p"))
    done = run_ankibak("config", "check", "-c", file, "--repository", tmp_path / "p/collection.media/r")
    assert done.returncode == 2
    assert "lies inside the media folder" in done.stderr


def test_config_schema_describes_every_key(run_ankibak):
    schema = json.loads(run_ankibak("config", "schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    tables_ = schema["$defs"]
    assert tables_["Storage"]["properties"]["retention_days"]["description"]
    assert tables_["Settings"]["properties"]["ankiweb"]["required"] == ["username"]
    described = {name for table in tables_.values() for name in table["properties"]}
    assert {key.split(".")[-1] for key in keys()} <= described
    assert all(table["additionalProperties"] is False for table in tables_.values())


def test_config_schema_example_is_the_example(run_ankibak):
    assert run_ankibak("config", "schema", "--example").stdout == example_file()
