"""The commands that write little: killed, stopped and refused at their calls, then simply typed again."""

from __future__ import annotations

import json
import sqlite3
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anki_backup.logins import Logins
from tests.faults.conftest import FULL, REFUSALS, SOURCE, State, hold, outcome
from tests.faults.crashpoints import Campaign
from tests.faults.inspect_repository import Broken, ask, backups, exported, sha256, step
from tests.faults.program import Program, Warm, command, prepare
from tests.faults.trial import Outcome, Trial, copy
from tests.made_collections import sql

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

CODES = {
    "error": frozenset({0, 3, 7, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
SETTLE_S = 2.1
# What events say of a backup, so what these commands may change.
SAID = ("pinned", "label", "alarm", "verified_at")
Look = Callable[[Program, Path], bool]


@dataclass(frozen=True)
class Scenario:
    """What is typed, and before that; how a look tells that it was done, and that nothing is half there."""

    words: str
    before: tuple[str, ...] = ()
    done: Look = lambda program, directory: True
    whole: Look = lambda program, directory: True
    again: tuple[int, ...] = (0,)
    adds: int = 0
    settles: bool = False


def newest(program: Program, directory: Path) -> dict[str, Any]:
    return backups(program, directory)[0]


def pinned(program: Program, directory: Path) -> bool:
    return newest(program, directory)["label"] == "exam" and newest(program, directory)["pinned"]


def unpinned(program: Program, directory: Path) -> bool:
    return not newest(program, directory)["pinned"]


def quiet(program: Program, directory: Path) -> bool:
    return newest(program, directory)["alarm"] is None


def proven(program: Program, directory: Path) -> bool:
    return all(backup["verified_at"] for backup in backups(program, directory))


def known(program: Program, directory: Path) -> bool:
    return "phone" in ask(program, directory, "token", "list").stdout


def shut(program: Program, directory: Path) -> bool:
    return "phone" not in ask(program, directory, "token", "list").stdout


def has_notes(program: Program, directory: Path) -> bool:
    oldest = backups(program, directory)[-1]["id"]
    told = ask(program, directory, "restore-notes", oldest, *INTO, "--dry-run", "--json").stdout
    return json.loads(told)["missing"] == 0


def begun(program: Program, directory: Path) -> bool:
    return (directory / "config.toml").exists()


def exported_whole(program: Program, directory: Path) -> bool:
    """Say whether an export that has its name is the collection, byte for byte."""
    path = directory / "out.anki2"
    return not path.exists() or sha256(path) == newest(program, directory)["collection_sha256"]


def exported_all(program: Program, directory: Path) -> bool:
    return (directory / "out.anki2").exists()


def installed(program: Program, directory: Path) -> str:
    """Return what `schedule` says of the units that are there."""
    return program(directory, "schedule", "install", "-o", "units", "--dry-run").stderr


def installed_whole(program: Program, directory: Path) -> bool:
    """Say whether each unit that has its name is whole: of a missing one all is missing."""
    return "@@ -1" not in installed(program, directory)


def installed_all(program: Program, directory: Path) -> bool:
    return "as they should be" in installed(program, directory)


def indexed(program: Program, directory: Path) -> bool:
    """Say whether the catalog is whole and has every backup."""
    with closing(sqlite3.connect(directory / "repository" / "state" / "metadata.db")) as db:
        (found,) = db.execute("select count(*) from backup").fetchone()
    return bool(found == len(backups(program, directory)))


INTO = ("--search", "deck:Deck::1", "--into", "desktop")
SCENARIOS = {
    "pin": Scenario("pin latest --label exam", done=pinned),
    "unpin": Scenario("unpin latest", before=("pin latest --label exam",), done=unpinned),
    "acknowledge": Scenario("acknowledge latest", done=quiet),
    "export": Scenario(
        "export latest --format anki2 -o out.anki2", done=exported_all, whole=exported_whole, again=(0, 2)
    ),
    "catalog rebuild": Scenario("catalog rebuild", done=indexed),
    "schedule install": Scenario("schedule install -o units", done=installed_all, whole=installed_whole),
    "verify": Scenario("verify --restore", done=proven),
    "token add": Scenario("token add phone", done=known, again=(0, 2)),
    "token revoke": Scenario("token revoke phone", before=("token add phone",), done=shut, again=(0, 2, 5)),
    "restore-notes": Scenario(
        f"restore-notes {{OLDEST}} {' '.join(INTO)} --yes", done=has_notes, adds=2, settles=True
    ),
}


def base_of(word: str, changed: State, program: Warm, folder: Path) -> Path:
    """Return the state that a scenario begins with."""
    base = copy(changed.base, folder / "state")
    if word == "acknowledge":
        assert program(base, "run").code == 0
        sql(base / SOURCE / "collection.anki2", "DELETE FROM cards", "DELETE FROM notes")
        assert program(base, "run").code == 4
        assert newest(program, base)["alarm"]
    if word == "restore-notes":
        assert program(base, "run").code == 0
        sql(base / SOURCE / "collection.anki2", "DELETE FROM cards", "DELETE FROM notes")
    for typed in SCENARIOS[word].before:
        assert program(base, *typed.split()).code == 0
    prepare(copy(base, folder / "prepare"), changed.environment, *typed_words(word, changed).split())
    return base


def typed_words(word: str, changed: State) -> str:
    """Return what is typed; the oldest backup stays the oldest, whatever is made."""
    return SCENARIOS[word].words.replace("{OLDEST}", min(changed.expected.backups))


def lasting(backup: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in backup.items() if key not in SAID}


def trial_of(word: str, base: Path, state: State) -> Trial:
    """Return the trial of a scenario: all backups stay as they are, and typing it again does it."""
    program, scenario, words = state.program, SCENARIOS[word], typed_words(word, state)
    before = {backup["id"]: lasting(backup) for backup in backups(program, base)}

    def look(directory: Path, facts: Mapping[str, str]) -> None:
        listed = {backup["id"]: lasting(backup) for backup in backups(program, directory)}
        if {name: listed.get(name) for name in before} != before:
            raise Broken("a backup from before is not as it was")
        if len(listed) - len(before) > scenario.adds:
            raise Broken(f"{len(listed) - len(before)} backups came, {scenario.adds} at most should")
        for name, backup in listed.items():
            if exported(program, directory, name) != backup["collection_sha256"]:
                raise Broken(f"{name} is exported with other bytes than it was made of")
        if not scenario.whole(program, directory):
            raise Broken("something that has its name is not whole")
        if facts["CRASH_RC"] == "0" and not scenario.done(program, directory):
            raise Broken("it ended with 0, and nothing was done")

    def check(directory: Path, facts: Mapping[str, str]) -> None:
        look(directory, {"CRASH_RC": "0"})
        ask(program, directory, "verify", "--read-data")
        assert program(directory, "run").code in (0, 4)
        parts = (directory / "repository").rglob("*.part")
        if left := [str(path) for path in parts if "cache/desktop" not in str(path)]:
            raise Broken(f"left behind: {left}")

    def again(directory: Path, facts: Mapping[str, str]) -> Outcome:
        answer = program(directory, *words.split())
        return Outcome(0, "") if answer.code in scenario.again else outcome(answer)

    return Trial(
        command(words),
        inspect=step(look),
        recover=again,
        check=step(check),
        environment=state.environment,
    )


def hold_all(base: Path, trial: Trial, word: str, settle_s: float = 0) -> None:
    """Fault a command in every mode, in CI at a few points that its word draws."""
    sampled = ["term", "int", *REFUSALS] if FULL else ["enospc+"]
    points, seed = 0 if FULL else 1, zlib.crc32(word.encode())
    for modes in (["kill"], sampled):
        hold(Campaign(base, trial, modes, max_points=points, seed=seed, codes=CODES, settle_s=settle_s))


@pytest.mark.parametrize("word", SCENARIOS)
def test_a_small_command_leaves_all_backups_and_can_be_typed_again(
    word: str, changed: State, program: Warm, tmp_path: Path
) -> None:
    """After a kill, a signal or an error at any of its calls."""
    base = base_of(word, changed, program, tmp_path)
    settle_s = SETTLE_S if SCENARIOS[word].settles else 0
    hold_all(base, trial_of(word, base, changed), word, settle_s)


def test_an_init_that_is_broken_off_can_be_typed_again(first: State, program: Warm, tmp_path: Path) -> None:
    """It leaves a whole configuration, or none and can be typed again; then a run works."""
    base = copy(first.base, tmp_path / "state")
    (base / "config.toml").unlink()
    words = f"init --profile {{D}}/{SOURCE.replace(' ', '_')} --root {{D}}/repository --no-run"
    (base / SOURCE).rename(base / SOURCE.replace(" ", "_"))
    prepare(copy(base, tmp_path / "prepare"), first.environment, *words.split())

    def look(directory: Path, facts: Mapping[str, str]) -> None:
        if facts["CRASH_RC"] == "0" and not begun(program, directory):
            raise Broken("it ended with 0, and there is no configuration")
        if begun(program, directory):
            ask(program, directory, "config", "check")

    def again(directory: Path, facts: Mapping[str, str]) -> Outcome:
        # The configuration is never written over.
        typed = words.replace("{D}", str(directory)).split()
        return Outcome(0, "") if begun(program, directory) else outcome(program(directory, *typed))

    def check(directory: Path, facts: Mapping[str, str]) -> None:
        look(directory, {"CRASH_RC": "0"})
        ask(program, directory, "run")
        ask(program, directory, "verify", "--read-data")
        if len(backups(program, directory)) != 1:
            raise Broken("there is no first backup")

    trial = Trial(
        command(words), inspect=step(look), recover=again, check=step(check), environment=first.environment
    )
    hold_all(base, trial, "init", SETTLE_S)


def backups_if_any(program: Program, directory: Path) -> list[dict[str, Any]]:
    answer = ask(program, directory, "list", "--json", codes=(0, 10))
    return [] if answer.code else json.loads(answer.stdout)["backups"]


def test_a_password_that_is_broken_off_is_the_old_one_or_the_new_one(
    changed: State, program: Warm, tmp_path: Path
) -> None:
    """As the first line of standard input, which a trial leaves empty: so a line of Python fills it."""
    base = copy(changed.base, tmp_path / "state")
    (base / "typed").write_text("the new password\n")
    Logins(base / "repository").set_password("the old password")
    typing = "import sys; sys.stdin = open(sys.argv.pop(1))"
    typing += "; from anki_backup.__main__ import main; sys.exit(main())"
    typed = f"{sys.executable} -c '{typing}' {{D}}/typed -c {{D}}/config.toml passwd"

    def look(directory: Path, facts: Mapping[str, str]) -> None:
        logins = Logins(directory / "repository")
        right = "the new password", "the old password"
        if not any(map(logins.is_password, right[:1] if facts["CRASH_RC"] == "0" else right)):
            raise Broken("neither of the passwords opens it")
        ask(program, directory, "verify", "--read-data")

    trial = Trial(
        typed,
        inspect=step(look),
        recover=lambda directory, facts: outcome(program(directory, "run")),
        check=step(look),
        environment=changed.environment,
    )
    hold_all(base, trial, "passwd")
