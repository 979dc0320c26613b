"""An import that is killed, stopped or refused by the disk at any call adopts files whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, REFUSALS, SOURCE, State, hold, hold_recovery, outcome
from tests.faults.crashpoints import Campaign
from tests.faults.inspect_repository import Broken, ask, backups, digests, exported, pointed, step
from tests.faults.program import Program, Warm, command
from tests.faults.trial import Trial, copy
from tests.made_collections import sql
from tests.packages import current, legacy

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

PAST = "past"
CODES = {
    "error": frozenset({0, 3, 7, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
SETTLE_S = 2.1


@dataclass(frozen=True)
class Adopting:
    """What was there before an import, and the collections that it is to add, by the date in their ids."""

    program: Program
    files: dict[str, str]
    before: dict[str, str]
    past: dict[str, str]

    def inspect(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See exactly what the fault left: all of before, and of the past each backup whole or missing."""
        if digests(directory / PAST) != self.files:
            raise Broken("the files to adopt were changed")
        listed = {backup["id"]: backup["collection_sha256"] for backup in backups(self.program, directory)}
        if self.before.items() - listed.items():
            raise Broken(f"backups from before are gone: {sorted(self.before.keys() - listed.keys())}")
        if strange := (listed.items() - self.before.items()) - self.past.items():
            raise Broken(f"backups of nothing that was named: {strange}")
        if next(iter(listed)) != max(self.before):
            raise Broken("an import became the newest backup")
        for backup, promised in listed.items():
            if exported(self.program, directory, backup) != promised:
                raise Broken(f"{backup} is exported with other bytes than it was made of")
        if pointed(directory) - listed.keys():
            raise Broken("the current pointer names what is not there")
        if facts["CRASH_RC"] == "0" and self.past.items() - listed.items():
            raise Broken("it ended with 0, and not all were adopted")

    def check(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See that the next import adopted the rest, and that the source is still known to be unchanged."""
        self.inspect(directory, {"CRASH_RC": "0"})
        ask(self.program, directory, "verify", "--read-data")
        left = [
            path for path in (directory / "repository").rglob("*.part") if "cache/desktop" not in str(path)
        ]
        if left:
            raise Broken(f"left behind: {left}")
        told = ask(self.program, directory, "run").stdout.split("\t")
        if told[1] != "skipped":
            raise Broken(f"nothing changed, and a run was {told[1]}")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, changed: State, program: Warm) -> tuple[Path, Trial]:
    """A repository with two backups, and a past of three: with media, bare, and the kind of Anki 2.1."""
    base = copy(changed.base, tmp_path_factory.mktemp("import") / "state")
    assert program(base, "run").code == 0
    folder, made = base / PAST, tmp_path_factory.mktemp("made") / "collection.anki2"
    folder.mkdir()
    shutil.copy(base / SOURCE / "collection.anki2", made)
    past = {}
    for year in (2021, 2022, 2023):
        sql(made, f"UPDATE col SET crt = {year}", f"UPDATE notes SET mod = {year} WHERE id % 7 = 0")
        data, day = made.read_bytes(), f"{year}-01-01"
        past[f"{day}T12-00-00Z"] = hashlib.sha256(data).hexdigest()
        name = f"backup-{day}-12.00.00"
        if year == 2021:
            current(folder / f"{name}.colpkg", data, {b"a.jpg": b"one" * 900, b"b.mp3": b"two"})
        elif year == 2022:
            (folder / f"{name}.anki2").write_bytes(data)
        else:
            legacy(folder / f"{name}.colpkg", data, {"a.jpg": b"one" * 900})
    config = base / "config.toml"
    config.write_text(config.read_text() + '\n[schedule]\ntimezone = "UTC"\n')
    before = {backup["id"]: backup["collection_sha256"] for backup in backups(program, base)}
    adopting = Adopting(program, digests(folder), before, past)
    return base, Trial(
        command("import", "{D}/" + PAST),
        inspect=step(adopting.inspect),
        recover=lambda directory, facts: outcome(program(directory, "import", str(directory / PAST))),
        check=step(adopting.check),
        environment=changed.environment,
    )


def campaign(state: tuple[Path, Trial], modes: list[str], points: int) -> Campaign:
    """Return the faults of an import, all of them or so many of each mode."""
    return Campaign(*state, modes, max_points=0 if FULL else points, codes=CODES, settle_s=SETTLE_S)


def test_a_killed_import_is_gone_on_with(state: tuple[Path, Trial]) -> None:
    """SIGKILL on entry of the call."""
    hold(campaign(state, ["kill"], 6))


def test_a_stopped_import_leaves_no_half_backup(state: tuple[Path, Trial]) -> None:
    """SIGTERM and SIGINT, as a person or a shutdown sends them."""
    hold(campaign(state, ["term", "int"], 2))


def test_an_import_that_the_disk_refuses_keeps_what_it_adopted(state: tuple[Path, Trial]) -> None:
    """Errors from any call, once and for ever; exit 0 only if all were adopted."""
    hold(campaign(state, REFUSALS, 1))


@pytest.mark.skipif(not FULL, reason="only with ANKIBAK_FAULTS=full")
def test_a_killed_recovery_can_be_recovered_from(state: tuple[Path, Trial]) -> None:
    """A crash while the next import goes on."""
    hold_recovery(*state, command("import", "{D}/" + PAST))
