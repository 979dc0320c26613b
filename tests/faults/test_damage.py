"""Whatever happens to a file of a repository, `verify` notices and no command falls over."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.faults.bitflip import Campaign, Damage
from tests.faults.conftest import FULL, outcome
from tests.faults.inspect_repository import Broken, ask, backups
from tests.faults.program import Program
from tests.faults.trial import Outcome

pytestmark = pytest.mark.faults

# The lock holds nothing, the catalog is an index, the cache is expendable.
IGNORE = r"^repository/(state/lock$|state/metadata\.db|cache/)"
ONLY = r"^repository/"
# The begin of one more line at the log's end is what a crash leaves; no event is lost by it.
TORN_END = ("repository/state/events.jsonl", "one byte more")
DAMAGED = 6
# Damage may be found, the repository be none any more; anything else is a wrong word for it.
ORDERLY = (0, 5, 6, 10)


def hold(campaign: Campaign) -> None:
    """Run a campaign; a failure names the file, the damage and what was wrong."""
    results = campaign.run()
    results = [result for result in results if (result.damage.file, result.damage.what) != TORN_END]
    bad = [f"{result.damage}: {result.why}" for result in results if result.why]
    assert not bad, "\n".join([*bad, f"{len(bad)} of {len(results)}"])


def test_verify_notices_every_damage_to_every_file(several: Path, program: Program) -> None:
    """And says so without a traceback, changing nothing."""

    def verify(directory: Path, facts: Mapping[str, str]) -> Outcome:
        return outcome(program(directory, "verify", "--read-data"))

    hold(Campaign(several, verify, ONLY, IGNORE, flips=24 if FULL else 1, max_damages=0 if FULL else 110))


def test_verify_names_the_backups_that_a_damaged_object_takes_with_it(
    several: Path, program: Program
) -> None:
    """Every backup whose export fails is named, and at least one is."""

    def verify(directory: Path, facts: Mapping[str, str]) -> Outcome:
        answer = program(directory, "verify", "--read-data", "--json")
        return Outcome(answer.code, answer.stdout)

    def judge(damage: Damage, directory: Path, found: Outcome) -> str:
        if found.code != DAMAGED:
            return f"exit {found.code}"
        named = {finding["backup"] for finding in json.loads(found.output)["findings"]} - {None}
        if not named:
            return "no finding names a backup"
        lost = unreadable(program, directory, several)
        return f"not named: {sorted(lost - named)}" if lost - named else ""

    only = r"^repository/objects/"
    hold(Campaign(several, verify, only, IGNORE, flips=2, max_damages=0 if FULL else 24, judge=judge))


def unreadable(program: Program, directory: Path, several: Path) -> set[str]:
    """Return the backups that can't be had back whole."""
    lost = set()
    for backup in backups(program, several):
        target = directory / f"export-{backup['id']}"
        answer = program(directory, "export", backup["id"], "--format", "dir", "-o", str(target))
        if answer.code:
            lost.add(backup["id"])
    return lost


def test_no_reading_command_falls_over_damage(several: Path, program: Program) -> None:
    """`list`, `show` and `export` end in an orderly way on any damaged state, catalog included."""
    ids = [backup["id"] for backup in backups(program, several)]

    def read(directory: Path, facts: Mapping[str, str]) -> Outcome:
        try:
            ask(program, directory, "list", codes=ORDERLY)
            ask(program, directory, "list", "--json", codes=ORDERLY)
            ask(program, directory, "show", ids[0], "--media", codes=ORDERLY)
            with tempfile.TemporaryDirectory() as folder:
                for backup in (ids[-1], ids[0]):
                    target = str(Path(folder, backup))
                    ask(
                        program, directory, "export", backup, "--format", "anki2", "-o", target, codes=ORDERLY
                    )
        except Broken as broken:
            return Outcome(1, str(broken))
        return Outcome(0, "")

    def judge(damage: Damage, directory: Path, found: Outcome) -> str:
        return found.output

    most = 0 if FULL else 36
    hold(
        Campaign(
            several,
            read,
            ONLY,
            r"^repository/state/lock$",
            flips=2,
            max_damages=most,
            must_notice=False,
            judge=judge,
        )
    )
