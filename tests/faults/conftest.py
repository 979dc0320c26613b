"""What the faults are done to: a profile, and repositories that hold backups of it."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests import warm
from tests.faults import tracing
from tests.faults.crashpoints import Campaign, summary
from tests.faults.inspect_repository import Expected, backups, check, digests, exported, inspect, step
from tests.faults.program import Program, Warm, command, environment, outcome, prepare
from tests.faults.pruning import Pruned
from tests.faults.sides import RolledBack
from tests.faults.trial import Trial, copy

SOURCE = "profile/User 1"
PLANTED = Path(__file__).with_name("planted")
CONFIG = f"""\
[storage]
root = "repository"

[sources.desktop]
kind = "profile"
path = "{SOURCE}"
"""
# All points and all states, as a nightly run does, or a sample. Read before tests lose ANKIBAK_*.
FULL = os.environ.get("ANKIBAK_FAULTS") == "full"
# How a disk refuses a call: once, or from then on for ever.
REFUSALS = ["enospc", "enospc+", "eio", "erofs"]
if FULL:
    REFUSALS = [error + lasting for error in ("enospc", "eio", "edquot", "erofs") for lasting in ("", "+")]


@dataclass(frozen=True)
class State:
    """A directory with configuration, profile and repository, and what a fault must not change."""

    base: Path
    expected: Expected
    program: Program
    environment: Mapping[str, str]

    def trial(self) -> Trial:
        """Return the trial of a run: look, run again, verify and compare with the source."""
        return Trial(
            command("run"),
            inspect=step(lambda directory, facts: inspect(self.program, directory, self.expected, facts)),
            recover=lambda directory, facts: outcome(self.program(directory, "run")),
            check=step(lambda directory, facts: check(self.program, directory, self.expected)),
            environment=self.environment,
        )

    def forgetful(self) -> Trial:
        """Return the same of a program that makes nothing durable: a campaign must find it out."""
        planted = {"PLANTED_FAULT": "no-sync", "PYTHONPATH": f"{PLANTED}:{warm.ROOT}"}
        return replace(self.trial(), environment={**self.environment, **planted})


def hold(campaign: Campaign) -> None:
    """Try every fault of a campaign and print how many; a failure names the call and what came of it."""
    results = campaign.run()
    print(summary(results)[1])
    bad = [str(result) for result in results if result.verdict != "ok"]
    assert not bad, "\n".join(bad)


def hold_recovery(base: Path, trial: Trial, words: str) -> None:
    """Kill a recovery at every call, after a few of the kills that it is to recover from; nothing is lost."""
    hold(Campaign(base, replace(trial, recover=words), ["kill"], max_points=1, nested=6))


@pytest.fixture(scope="session")
def traced() -> None:
    """Skip, with the reason, where system calls can't be traced."""
    if reason := tracing.why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every run of the program gets, with a home that is empty."""
    return environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def program(surroundings: dict[str, str]) -> Iterator[Warm]:
    """The program, warm."""
    warm = Warm(surroundings)
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory, program: Warm, surroundings: dict[str, str]) -> State:
    """A profile that was never backed up."""
    base = tmp_path_factory.mktemp("first") / "state"
    make_profile(base / SOURCE)
    (base / "config.toml").write_text(CONFIG)
    prepare(copy(base, tmp_path_factory.mktemp("prepare") / "state"), surroundings)
    return State(base, Expected(SOURCE, digests(base / SOURCE), {}), program, surroundings)


@pytest.fixture(scope="session")
def changed(
    tmp_path_factory: pytest.TempPathFactory, first: State, program: Warm, surroundings: dict[str, str]
) -> State:
    """A repository with two backups of a profile in which a note and a media file are new since."""
    base = copy(first.base, tmp_path_factory.mktemp("changed") / "state")
    kept = {}
    for turn in range(2):
        backed_up(program, base)
        newest = backups(program, base)[0]
        kept[newest["id"]] = newest["collection_sha256"]
        assert exported(program, base, newest["id"]) == newest["collection_sha256"]
        study(base / SOURCE, f"step {turn}")
    assert len(kept) == 2
    return State(base, Expected(SOURCE, digests(base / SOURCE), kept), program, surroundings)


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory, changed: State, program: Warm) -> Path:
    """A configuration with a repository of five backups: whole collections, deltas, media."""
    base = copy(changed.base, tmp_path_factory.mktemp("several") / "state")
    for turn in range(3):
        backed_up(program, base)
        study(base / SOURCE, f"later {turn}")
    assert len(backups(program, base)) == 5
    return base


@pytest.fixture(scope="session")
def pruned(tmp_path_factory: pytest.TempPathFactory, program: Warm, surroundings: dict[str, str]) -> Pruned:
    """A repository of which most is to go."""
    return Pruned(tmp_path_factory.mktemp("pruned"), program, surroundings)


@pytest.fixture(scope="session")
def rolled_back(tmp_path_factory: pytest.TempPathFactory, changed: State, program: Warm) -> RolledBack:
    """A profile that was backed up twice and changed since, media of every fate among it."""
    base = copy(changed.base, tmp_path_factory.mktemp("rollback") / "state")
    media = base / SOURCE / "collection.media"
    (media / "noise.jpg").unlink()
    (media / "text.svg").write_bytes(b"<svg>changed</svg>")
    target = backups(program, base)[-1]["id"]
    return RolledBack(base, SOURCE, program, target, changed.environment)


def backed_up(program: Program, base: Path) -> None:
    """Run the program and see that it made a backup."""
    answer = program(base, "run", "--json")
    assert answer.code == 0, answer
    assert json.loads(answer.stdout)["results"][0]["outcome"] == "created", answer


def make_profile(folder: Path) -> None:
    """Make a profile with Anki's own library: 50 notes, three media files."""
    from anki.collection import Collection
    from anki.decks import DeckId

    folder.mkdir(parents=True)
    collection = Collection(str(folder / "collection.anki2"))
    notetype = collection.models.by_name("Basic")
    assert notetype
    for number in range(50):
        note = collection.new_note(notetype)
        note["Front"], note["Back"] = f"question {number}", f"answer {number} " * 20
        collection.add_note(note, DeckId(collection.decks.id(f"Deck::{number % 3}") or 1))
    drawn = random.Random(0)
    for name, content in (
        ("noise.jpg", drawn.randbytes(9000)),
        ("text.svg", b"<svg/>" * 900),
        ("ä b.mp3", drawn.randbytes(700)),
    ):
        collection.media.write_data(name, content)
    collection.close()


def study(folder: Path, text: str) -> None:
    """Edit a note and add a media file, as an hour with Anki would."""
    from anki.collection import Collection

    collection = Collection(str(folder / "collection.anki2"))
    note = collection.get_note(collection.find_notes("")[0])
    note["Back"] = text
    collection.update_note(note)
    collection.media.write_data(f"{text}.png", text.encode() * 200)
    collection.close()
    # The next run must not take the file for the one it saw in the same tick.
    time.sleep(0.01)
