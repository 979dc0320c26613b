"""An account run, login and logout, with a real sync server: killed and refused at their calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.accounts import write_config
from tests.faults.conftest import FULL, REFUSALS, outcome
from tests.faults.crashpoints import Campaign, summary
from tests.faults.inspect_repository import Broken, ask, exported, step
from tests.faults.program import Program, Warm, command, prepare
from tests.faults.test_crash_small import CODES, backups_if_any, lasting
from tests.faults.trial import Trial, copy
from tests.sync_server import PASSWORD, Client, SyncServer

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

SECRETS = "backups/state/secrets"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncServer]:
    with SyncServer(tmp_path_factory.mktemp("account") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def account(
    tmp_path_factory: pytest.TempPathFactory,
    server: SyncServer,
    program: Warm,
    surroundings: dict[str, str],
) -> dict[str, Path]:
    """An account that nobody logged in to, one that was, and one that was backed up and changed since."""
    folder = tmp_path_factory.mktemp("states")
    fresh = folder / "fresh"
    fresh.mkdir()
    write_config(fresh / "config.toml", server.url, f'password = "{PASSWORD}"\n')
    (fresh / "config.toml").chmod(0o600)
    with Client(folder / "phone", server.url) as phone:
        for number in range(20):
            phone.add(f"question {number}")
        phone.picture("cat.jpg", b"meow" * 999)
        phone.sync()
        prepare(copy(fresh, folder / "prepare"), surroundings, "login")
        known = copy(fresh, folder / "known")
        assert program(known, "login").code == 0
        backed_up = copy(known, folder / "backed up")
        answer = program(backed_up, "run")
        assert answer.code == 0, answer
        phone.study(3)
        phone.add("another question")
        phone.picture("dog.jpg", b"woof" * 999)
        phone.sync()
    return {"fresh": fresh, "known": known, "changed": backed_up}


def hold(base: Path, trial: Trial, points: int, seed: int) -> None:
    """Fault a command; the library's own threads may make a point miss, but not most of them."""
    results = []
    for modes, most in (
        (["kill"], points),
        (["term", "int", *REFUSALS] if FULL else ["term", "enospc+", "eio"], 1),
    ):
        # One at a time: of two that sync an account at once the server sends one away.
        campaign = Campaign(
            base, trial, modes, max_points=0 if FULL else most, seed=seed, jobs=1, codes=CODES
        )
        results += campaign.run()
    bad = [str(result) for result in results if result.verdict == "fail"]
    print(summary(results)[1])
    assert not bad, "\n".join(bad)
    assert sum(result.verdict == "ok" for result in results) > len(results) / 2, summary(results)[1]


def test_a_run_of_an_account_that_is_broken_off_is_gone_on_with(
    account: dict[str, Path], program: Warm, surroundings: dict[str, str], tmp_path: Path
) -> None:
    """Backups from before stay as they are; the next run has what the server has."""
    base = account["changed"]
    before = {backup["id"]: lasting(backup) for backup in backups_if_any(program, base)}
    done = copy(base, tmp_path / "done")
    assert program(done, "run").code == 0
    wanted = newest(program, done)["content_hash"]
    assert len(before) == 1 and wanted not in {backup["content_hash"] for backup in before.values()}

    def look(directory: Path, facts: Mapping[str, str]) -> None:
        listed = {backup["id"]: lasting(backup) for backup in backups_if_any(program, directory)}
        if {name: listed.get(name) for name in before} != before:
            raise Broken("a backup from before is not as it was")
        for name, backup in listed.items():
            if exported(program, directory, name) != backup["collection_sha256"]:
                raise Broken(f"{name} is exported with other bytes than it was made of")
        if facts["CRASH_RC"] == "0" and newest(program, directory)["content_hash"] != wanted:
            raise Broken("it ended with 0, and the newest backup is not what the server has")

    def check(directory: Path, facts: Mapping[str, str]) -> None:
        look(directory, {"CRASH_RC": "0"})
        ask(program, directory, "verify", "--read-data")

    trial = Trial(
        command("run"),
        inspect=step(look),
        recover=lambda directory, facts: outcome(program(directory, "run")),
        check=step(check),
        timeout=30,
        environment=surroundings,
    )
    hold(base, trial, 5, 1)


def newest(program: Program, directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(program, directory, "list", "--json").stdout)["backups"][0]
    return found


@pytest.mark.parametrize("word", ["login", "logout"])
def test_a_key_is_there_or_not(
    word: str, account: dict[str, Path], program: Warm, surroundings: dict[str, str]
) -> None:
    """Whatever a broken-off login or logout leaves: it can be typed again, and a run works."""
    base = account["fresh" if word == "login" else "known"]

    def look(directory: Path, facts: Mapping[str, str]) -> None:
        secrets = directory / SECRETS
        keys = {path.name for path in secrets.iterdir()} if secrets.exists() else set()
        has_key = any(not name.endswith(".part") for name in keys)
        if facts["CRASH_RC"] == "0" and has_key != (word == "login"):
            raise Broken(f"it ended with 0, and there is {sorted(keys)}")
        for path in secrets.iterdir() if secrets.exists() else ():
            if path.stat().st_mode & 0o077:
                raise Broken(f"{path.name} can be read by others")

    def check(directory: Path, facts: Mapping[str, str]) -> None:
        look(directory, {"CRASH_RC": "0"})
        assert program(directory, "run").code == 0
        ask(program, directory, "verify", "--read-data")

    trial = Trial(
        command(word),
        inspect=step(look),
        recover=lambda directory, facts: outcome(program(directory, word)),
        check=step(check),
        environment=surroundings,
    )
    hold(base, trial, 2, 3)
