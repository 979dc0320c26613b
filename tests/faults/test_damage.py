"""Whatever happens to a file of a repository, `verify` notices and no command falls over."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.faults.bitflip import UNNOTICED, Campaign, Damage
from tests.faults.conftest import FULL, outcome
from tests.faults.inspect_repository import Broken, ask, backups, digests, sha256
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
    bad = [
        f"{result.damage}: {result.why}"
        for result in results
        if result.why
        and not (result.why == UNNOTICED and (result.damage.file, result.damage.what) == TORN_END)
    ]
    assert not bad, "\n".join([*bad, f"{len(bad)} of {len(results)}"])


def test_verify_notices_every_damage_to_every_file(several: Path, program: Program) -> None:
    """And says so without a traceback, changing nothing."""

    def verify(directory: Path, facts: Mapping[str, str]) -> Outcome:
        return outcome(program(directory, "verify", "--read-data"))

    hold(Campaign(several, verify, ONLY, IGNORE, flips=24 if FULL else 1, max_damages=0 if FULL else 110))


def test_verify_names_the_backups_that_a_damaged_object_takes_with_it(
    several: Path, program: Program
) -> None:
    """Every backup whose export fails is named, and at least one is; what is exported is what it was."""
    whole: dict[str, dict[str, str]] = {}
    assert not unreadable(program, several, several, whole)

    def verify(directory: Path, facts: Mapping[str, str]) -> Outcome:
        answer = program(directory, "verify", "--read-data", "--json")
        return Outcome(answer.code, answer.stdout)

    def judge(damage: Damage, directory: Path, found: Outcome) -> str:
        if found.code != DAMAGED:
            return f"exit {found.code}"
        named = {finding["backup"] for finding in json.loads(found.output)["findings"]} - {None}
        if not named:
            return "no finding names a backup"
        try:
            lost = unreadable(program, directory, several, whole)
        except Broken as broken:
            return str(broken)
        return f"not named: {sorted(lost - named)}" if lost - named else ""

    only = r"^repository/objects/"
    hold(Campaign(several, verify, only, IGNORE, flips=2, max_damages=0 if FULL else 24, judge=judge))


def unreadable(
    program: Program, directory: Path, several: Path, whole: dict[str, dict[str, str]]
) -> set[str]:
    """Return the backups that can't be had back; Broken for one that comes back unlike `whole`."""
    lost = set()
    for backup in backups(program, several):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "export")
            answer = program(directory, "export", backup["id"], "--format", "dir", "-o", str(target))
            if answer.code:
                lost.add(backup["id"])
            elif digests(target) != whole.setdefault(backup["id"], digests(target)):
                raise Broken(f"{backup['id']} is exported as another, with exit 0")
    return lost


def test_no_reading_command_falls_over_damage(several: Path, program: Program) -> None:
    """`list`, `show` and `export` end in an orderly way on any damaged state, or with the right bytes."""
    listed = backups(program, several)

    def read(directory: Path, facts: Mapping[str, str]) -> Outcome:
        try:
            ask(program, directory, "list", codes=ORDERLY)
            ask(program, directory, "list", "--json", codes=ORDERLY)
            ask(program, directory, "show", listed[0]["id"], "--media", codes=ORDERLY)
            with tempfile.TemporaryDirectory() as folder:
                for backup in (listed[-1], listed[0]):
                    target = Path(folder, backup["id"])
                    words = ("export", backup["id"], "--format", "anki2", "-o", str(target))
                    code = ask(program, directory, *words, codes=ORDERLY).code
                    if not code and sha256(target) != backup["collection_sha256"]:
                        raise Broken(f"{backup['id']} is exported with other bytes, with exit 0")
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
