"""Programs around a run: what they are told, how long they may take, and what it means if one fails."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta

import pytest
from anki.collection import Collection

from anki_backup import cli, hooks, redaction
from anki_backup.errors import HookError
from anki_backup.hooks import Around
from anki_backup.listeners import Hooks
from anki_backup.values import duration
from tests.homes import Home
from tests.made_collections import sql


def python(code, *args):
    return [sys.executable, "-c", code, *map(str, args)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "collection.anki2"
    Collection(str(path)).close()
    sql(path)
    return path


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


def configure(home, **tables):
    lines = [home.config.read_text()]
    for table, keys in tables.items():
        lines.append(f"[{table.replace('__', '.')}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    home.config.write_text("\n".join(lines) + "\n")


def script(tmp_path, name, code):
    path = tmp_path / f"{name}.py"
    path.write_text(code)
    return [sys.executable, str(path)]


def note(tmp_path):
    """Return a hook that notes what it was told."""
    code = (
        "import json, os\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as file:\n"
        "    told = {k[8:]: v for k, v in os.environ.items() if k.startswith('ANKIBAK_')}\n"
        "    file.write(json.dumps(told) + '\\n')\n"
    )
    return script(tmp_path, "note", code)


def told(tmp_path):
    path = tmp_path / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def everywhere(argv):
    return {name: argv for name in ("before", "after", "on_failure", "always")}


def run(home, *words):
    return cli.answer(["-c", str(home.config), "run", *words])


def test_hooks_are_told_what_happens_in_their_order(home, tmp_path, capsys):
    configure(home, hooks=everywhere(note(tmp_path)))
    assert run(home) == 0
    before, after, always = told(tmp_path)
    assert [one["HOOK"] for one in (before, after, always)] == ["before", "after", "always"]
    assert before["SOURCE"] == "home" and before["REPOSITORY"] == str(home.root)
    assert after["OUTCOME"] == "created" and after["BACKUP"] == home.repository.backups()[0].id
    assert before["CONFIG"] == str(home.config) and "BACKUP" not in before
    assert int(after["STORED_BYTES"]) > 0 and always["ALARM"] == always["ERROR"] == ""


def test_a_failed_run_has_hooks_of_its_own(home, tmp_path):
    configure(home, hooks=everywhere(note(tmp_path)))
    home.collection.write_bytes(b"rubbish")
    assert run(home) == 7
    _, failed, always = told(tmp_path)
    assert [failed["HOOK"], always["HOOK"]] == ["on_failure", "always"]
    assert failed["ERROR"] == "source" and failed["OUTCOME"] == "failed" and failed["ERROR_MESSAGE"]


def test_when_the_first_hook_fails_nothing_is_backed_up(home, tmp_path):
    configure(home, hooks={"before": python("raise SystemExit(9)"), "always": note(tmp_path)})
    assert run(home) == 7
    assert home.repository.backups() == []
    (failure,) = home.repository.runs()
    assert failure.error.code == "hook" and failure.error.message == "hook before failed with exit code 9"
    assert [one["HOOK"] for one in told(tmp_path)] == ["always"]


@pytest.mark.parametrize(("failing", "code"), [("abort", 3), ("warn", 3), ("ignore", 0)])
def test_a_later_hook_that_fails_makes_the_run_incomplete_unless_that_is_to_be_ignored(
    failing, code, home, capsys
):
    configure(home, hooks={"after": python("print('so sad'); raise SystemExit(1)"), "failing": failing})
    assert run(home) == code
    assert len(home.repository.backups()) == 1
    stderr = capsys.readouterr().err
    assert "hook after: so sad" in stderr and "hook after failed with exit code 1" in stderr


@pytest.mark.parametrize(("failing", "code"), [("warn", 3), ("ignore", 0)])
def test_a_first_hook_may_fail_where_that_is_allowed(failing, code, home):
    configure(home, hooks={"before": ["/no/such/program"], "failing": failing})
    assert run(home) == code and len(home.repository.backups()) == 1


def test_a_source_has_its_own_hooks_over_the_general_ones(home, tmp_path):
    configure(home, hooks=everywhere(note(tmp_path)))
    configure(home, sources__home__hooks={"after": python("raise SystemExit(0)")})
    assert run(home) == 0
    assert [one["HOOK"] for one in told(tmp_path)] == ["before", "always"]


def test_a_hook_that_hangs_is_stopped_with_all_that_it_started(tmp_path):
    child = "import time; time.sleep(60)"
    code = (
        f"import subprocess, sys; print('hi', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    began = time.monotonic()
    limit = duration("1s")
    said = []
    around = Around(Hooks(before=python(code), timeout=limit), {}, [], said.append)
    with pytest.raises(HookError, match="hook before was stopped after 1 s"):
        around.before()
    assert time.monotonic() - began < 20 and said == ["hook before: hi"]


def test_a_hook_that_leaves_something_running_does_not_hold_us_up():
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'])"
    began = time.monotonic()
    assert hooks.run(python(code), {}, timedelta(seconds=60))[0] == 0
    assert time.monotonic() - began < 7


def test_a_run_that_is_told_to_stop_stops_its_hook_and_runs_the_last_one(home, tmp_path, run_ankibak):
    hooks = {"before": ["sh", "-c", "kill -TERM $PPID; sleep 60"], "always": note(tmp_path)}
    configure(home, hooks=hooks)
    began = time.monotonic()
    done = run_ankibak("-c", home.config, "run")
    assert done.returncode == 143 and "Traceback" not in done.stderr
    assert time.monotonic() - began < 30
    (always,) = told(tmp_path)
    assert (always["HOOK"], always["OUTCOME"]) == ("always", "interrupted")
    assert home.repository.runs()[0].outcome == "interrupted" and home.repository.backups() == []


def test_hooks_neither_get_nor_give_away_secrets(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANKIBAK_PING__URL", "http://127.0.0.1:9/xyzzy-marker")
    code = "import os; print(sorted(os.environ)); print('xyzzy-marker', 'password=hunter2 http://u:pw@h/')"
    configure(home, hooks={"always": script(tmp_path, "leak", code)})
    run(home)
    stderr = capsys.readouterr().err
    assert "ANKIBAK_HOOK" in stderr and "PING" not in stderr
    assert "xyzzy" not in stderr and "hunter2" not in stderr and "pw@" not in stderr
    assert "********" in stderr


def test_the_redaction_leaves_other_text_alone():
    text = "see https://example.org/a:b@c and mail a@b.org; passwords matter"
    assert redaction.redact(text, ["", "ab"]) == text
    assert redaction.redact("Authorization: Bearer") == "Authorization: ********"


def test_a_hook_is_a_list_and_never_an_empty_one(home, capsys):
    configure(home, hooks={"before": "rm -rf"})
    assert run(home) == 2 and "expects a list of texts" in capsys.readouterr().err
    home.config.write_text(home.config.read_text().replace('"rm -rf"', "[]"))
    assert run(home) == 2 and "empty before" in capsys.readouterr().err


def test_nobody_hears_of_a_run_that_finds_another_one_at_work(home, tmp_path):
    configure(home, hooks=everywhere(note(tmp_path)))
    with home.repository.writing("test"):
        assert run(home) == 75
    assert told(tmp_path) == []
