"""A rollback that is killed, stopped or refused by the disk at any call leaves the old state or the new."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from anki_backup import collection, content
from tests.faults.conftest import FULL, SOURCE, State, outcome
from tests.faults.crashpoints import Campaign, summary
from tests.faults.inspect_repository import Broken, backups, digests, exported
from tests.faults.program import Warm, command
from tests.faults.trial import Outcome, Trial, copy

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

CODES = {
    "error": frozenset({0, 3, 7, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
SETTLE_S = 2.1
SIDE = ("-wal", "-shm", "-journal")
COLLECTION = "collection.anki2"


class Sides:
    """What a rollback leads from and to: the rows of the collection, and the media."""

    def __init__(self, base: Path, program: Warm, target: str) -> None:
        self.program = program
        self.old = look(base / SOURCE)
        wanted = base.with_name("wanted")
        assert program(base, "export", target, "--format", "dir", "-o", str(wanted)).code == 0
        rows, media = look(wanted)
        # What the backup doesn't have stays.
        self.new = rows, {**self.old[1], **media}
        assert self.old != self.new and set(self.old[1]) != set(self.new[1])

    def inspect(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See exactly what the fault left: whole files, and the old collection or the new one."""
        rows, media = look(directory / SOURCE)
        if rows not in (self.old[0], self.new[0]):
            raise Broken("the collection is neither the old one nor the new one")
        if rows == self.new[0] and media != self.new[1]:
            raise Broken("the collection is the new one, but its media are not all there")
        if strange := {
            name
            for name, found in media.items()
            if found not in (self.old[1].get(name), self.new[1].get(name))
        }:
            raise Broken(f"media files that nobody ever had: {sorted(strange)}")
        if gone := self.old[1].keys() - media.keys():
            raise Broken(f"media files are missing: {sorted(gone)}")
        if facts["CRASH_RC"] == "0" and rows != self.new[0]:
            raise Broken("it ended with 0, and nothing was rolled back")
        for backup in backups(self.program, directory):
            if exported(self.program, directory, backup["id"]) != backup["collection_sha256"]:
                raise Broken(f"{backup['id']} is exported with other bytes than it was made of")

    def check(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See that the next command left one of both, and nothing half-done."""
        found = look(directory / SOURCE)
        if found not in (self.old, self.new):
            raise Broken("what is there is a mixture of old and new")
        parts = [*directory.rglob("*.part"), *directory.rglob("*rollback*")]
        if left := {str(path.relative_to(directory)) for path in parts if "cache/desktop" not in str(path)}:
            raise Broken(f"left behind: {sorted(left)}")
        told = self.program(directory, "verify", "--read-data")
        if told.code:
            raise Broken(told.stdout + told.stderr)


def look(folder: Path) -> tuple[str, dict[str, str]]:
    """Return what tells a profile: the rows of its one closed collection, and its media."""
    for side in SIDE:
        if (folder / (COLLECTION + side)).exists():
            raise Broken(f"a {side} lies beside the collection")
    collection.check(folder / COLLECTION, thorough=True)
    return content.content_hash(folder / COLLECTION, content.media_section([])), digests(
        folder / "collection.media"
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, changed: State, program: Warm) -> tuple[Path, Trial]:
    """A profile that was backed up twice and changed since, media of every fate among it."""
    base = copy(changed.base, tmp_path_factory.mktemp("rollback") / "state")
    media = base / SOURCE / "collection.media"
    (media / "noise.jpg").unlink()
    (media / "text.svg").write_bytes(b"<svg>changed</svg>")
    target = backups(program, base)[-1]["id"]
    sides = Sides(base, program, target)

    def step(look: object) -> object:
        def run(directory: Path, facts: Mapping[str, str]) -> Outcome:
            try:
                look(directory, facts)  # type: ignore[operator]
            except Broken as broken:
                return Outcome(1, str(broken))
            return Outcome(0, "")

        return run

    return base, Trial(
        command("rollback", target, "--yes"),
        inspect=step(sides.inspect),  # type: ignore[arg-type]
        recover=lambda directory, facts: outcome(program(directory, "run")),
        check=step(sides.check),  # type: ignore[arg-type]
        environment=changed.environment,
    )


def hold(state: tuple[Path, Trial], modes: list[str], points: int, nested: int = 0) -> None:
    """Fault a rollback in every mode; a failure names the call and what came of it."""
    base, trial = state
    campaign = Campaign(
        base,
        trial,
        modes,
        max_points=0 if FULL else points,
        codes=CODES,
        nested=nested,
        settle_s=SETTLE_S,
    )
    results = campaign.run()
    bad = [str(result) for result in results if result.verdict != "ok"]
    assert not bad, "\n".join([*bad, summary(results)[1]])


def test_a_killed_rollback_leaves_the_old_state_or_the_new_one(state: tuple[Path, Trial]) -> None:
    """SIGKILL on entry of the call."""
    hold(state, ["kill"], 12)


def test_a_stopped_rollback_leaves_the_old_state_or_the_new_one(state: tuple[Path, Trial]) -> None:
    """SIGTERM and SIGINT, as a person or a shutdown sends them."""
    hold(state, ["term", "int"], 2)


def test_a_rollback_that_the_disk_refuses_leaves_the_old_state_or_the_new_one(
    state: tuple[Path, Trial],
) -> None:
    """Errors from any call, once and for ever; exit 0 only if it was done."""
    hold(state, ["enospc", "enospc+", "eio", "erofs"], 2)


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(state: tuple[Path, Trial]) -> None:
    """A crash while the next run finishes or reverses."""
    base, trial = state
    object.__setattr__(trial, "recover", command("run"))
    results = Campaign(base, trial, ["kill"], max_points=1, nested=6).run()
    assert not [str(result) for result in results if result.verdict != "ok"]


def test_the_sides_tell_a_mixture(state: tuple[Path, Trial], tmp_path: Path) -> None:
    """The judge itself: a new picture beside the old collection is a mixture."""
    base, trial = state
    mixed = copy(base, tmp_path / "mixed")
    (mixed / SOURCE / "collection.media" / "noise.jpg").write_bytes(b"?")
    assert callable(trial.check)
    assert trial.check(mixed, {}).output == "what is there is a mixture of old and new"
