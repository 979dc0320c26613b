"""Look at a repository after a fault, changing nothing: is every promise kept?

    python -m tests.faults.inspect_repository inspect|check EXPECTED.json DIR

`inspect` sees exactly what the fault left: `list` works, every backup that it names can
be had back byte for byte, those from before are as they were, the source is untouched,
and where the command had ended with 0 (CRASH_RC) the new backup is there. `check` comes
after a successful run: everything verifies, nothing half-made is left, and the newest
backup equals the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anki_backup.errors import AnkibakError
from tests.faults.program import Answer, Program, fresh
from tests.faults.trial import Outcome

NO_REPOSITORY = 10
POINTER = "repository/state/current-pointer.json"
ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?")


class Broken(Exception):
    """A promise was not kept; the message says which."""


def step(look: Callable[[Path, Mapping[str, str]], None]) -> Callable[[Path, Mapping[str, str]], Outcome]:
    """Return a look at what a fault left as a step of a trial: it fails with what was found."""

    def run(directory: Path, facts: Mapping[str, str]) -> Outcome:
        try:
            look(directory, facts)
        except (Broken, AssertionError, AnkibakError) as error:
            return Outcome(1, f"{type(error).__name__}: {error}")
        return Outcome(0, "")

    return run


@dataclass(frozen=True)
class Expected:
    """What was there before the fault: the source folder's files, and backups with their SHA-256."""

    source: str
    files: dict[str, str]
    backups: dict[str, str]

    def save(self, path: Path) -> Path:
        """Write the expectation where the script can read it."""
        path.write_text(json.dumps(asdict(self)))
        return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def ask(program: Program, directory: Path, *words: str, codes: tuple[int, ...] = (0,)) -> Answer:
    """Run a reading command; Broken unless it ends with one of `codes` and without a traceback."""
    answer = program(directory, *words)
    if "Traceback" in answer.stdout + answer.stderr:
        raise Broken(f"{words[0]} printed a traceback: {answer.stderr.strip().splitlines()[-1]}")
    if answer.code not in codes:
        said = " / ".join((answer.stderr + answer.stdout).splitlines())
        raise Broken(f"{' '.join(words)} exit {answer.code}: {said[:250]}")
    return answer


def backups(program: Program, directory: Path) -> list[dict[str, Any]]:
    """Return the backups that `list` shows, newest first."""
    listed = json.loads(ask(program, directory, "list", "--json").stdout)["backups"]
    assert isinstance(listed, list)
    return listed


def exported(program: Program, directory: Path, backup: str) -> str:
    """Return the SHA-256 of a backup's collection as `export` gives it."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "collection.anki2")
        ask(program, directory, "export", backup, "--format", "anki2", "-o", str(target))
        return sha256(target)


def pointed(directory: Path) -> set[str]:
    """Return the ids that the repository calls current."""
    try:
        return set(ID.findall((directory / POINTER).read_text()))
    except FileNotFoundError:
        return set()


def inspect(program: Program, directory: Path, expected: Expected, facts: Mapping[str, str]) -> None:
    """Raise Broken if what a fault left keeps a promise less than it should."""
    saved = facts["CRASH_RC"] == "0"
    if (now := digests(directory / expected.source)) != expected.files:
        changed = [
            path for path in now.keys() | expected.files.keys() if now.get(path) != expected.files.get(path)
        ]
        raise Broken(f"the source was changed: {sorted(changed)}")
    if not expected.backups and not saved:
        # Before the very first run there was no repository, and there may still be none.
        answer = ask(program, directory, "list", "--json", codes=(0, NO_REPOSITORY))
        if answer.code == NO_REPOSITORY:
            return
    listed = {backup["id"]: backup["collection_sha256"] for backup in backups(program, directory)}
    if gone := expected.backups.keys() - listed.keys():
        raise Broken(f"no longer listed: {sorted(gone)}")
    for backup, promised in listed.items():
        if promised != expected.backups.get(backup, promised):
            raise Broken(f"{backup} is listed with another SHA-256 than before")
        if exported(program, directory, backup) != promised:
            raise Broken(f"{backup} is exported with other bytes than it was made of")
    if dangling := pointed(directory) - listed.keys():
        raise Broken(f"the current pointer names what is not there: {sorted(dangling)}")
    new = listed.keys() - expected.backups.keys()
    if len(new) > 1 or (saved and not new):
        raise Broken(f"one run made {len(new)} backups, exit {facts['CRASH_RC']}")


def check(program: Program, directory: Path, expected: Expected) -> None:
    """Raise Broken unless all verifies, nothing half-made is left and the newest backup equals the source."""
    ask(program, directory, "verify", "--read-data")
    repository = directory / "repository"
    parts = {str(path.relative_to(repository)) for path in repository.rglob("*.part")}
    if left := {path for path in parts if not path.startswith("cache/")}:
        raise Broken(f"a run swept not away what another one left: {sorted(left)}")
    newest = backups(program, directory)[0]["id"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out")
        ask(program, directory, "export", newest, "--format", "dir", "-o", str(target))
        found = {path: digest for path, digest in digests(target).items() if captured(path)}
    wanted = {path: digest for path, digest in expected.files.items() if captured(path)}
    if found != wanted:
        differ = [path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path)]
        raise Broken(f"the newest backup differs from the source in {sorted(differ)}")


def captured(path: str) -> bool:
    """Tell whether a file of a profile belongs into a backup: the collection and its media."""
    return path == "collection.anki2" or path.startswith("collection.media/")


def main() -> int:
    """Look at one directory from the command line."""
    step, expectation, directory = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    expected = Expected(**json.loads(expectation.read_text()))
    try:
        if step == "inspect":
            inspect(fresh, directory, expected, os.environ)
        else:
            check(fresh, directory, expected)
    except Broken as broken:
        print(broken)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
