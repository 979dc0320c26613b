"""The three programs that are measured, driven alike: a fresh repository, a capture, an extraction.

Each driver keeps all that its program writes under one folder of its own (the
repository, caches, settings), so that no run sees another's or the user's. What
the peers' `init` takes is not measured, while ours is part of the first run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import BenchmarkError, Measurement, Stored, process, stored

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = "desktop"
CACHE = frozenset({"cache"})


class Program(ABC):
    """A backup program with its repository; every method but `capture` and `extract` is free of charge."""

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.source = source
        self.repository = place / "repository"
        self.environment = {
            name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ
        }
        self.environment |= {"HOME": str(place / "home"), "TMPDIR": str(place)}

    def reset(self) -> None:
        """Put the repository and every cache away and begin with an empty one.

        Not deleted: for minutes ext4 steps around inodes that were freed (see the scenario `media`).
        """
        if self.place.exists():
            self.place.rename(tempfile.mkdtemp(prefix="old-", dir=self.place.parent) + "/it")
        (self.place / "home").mkdir(parents=True)
        self.initialise()

    @abstractmethod
    def initialise(self) -> None:
        """Make an empty repository, where the program wants one before its first capture."""

    @abstractmethod
    def capture(self) -> Measurement:
        """Capture the source as it is now."""

    @abstractmethod
    def extract(self, name: str, path: Path) -> Measurement:
        """Write the collection of a capture to `path`, which does not exist."""

    def stored(self) -> Stored:
        """Return what the repository takes, all files counted."""
        return stored(self.repository)

    def prepare(self, *command: str) -> None:
        """Run a command of this program that nobody measures."""
        subprocess.run(command, env=self.environment, cwd=self.source, check=True, capture_output=True)

    def run(self, *command: str, folder: Path | None = None) -> Measurement:
        """Run a command of this program and measure it."""
        return process(command, self.environment, folder or self.source)


class Ankibak(Program):
    """This program, as `python -m anki_backup` of this checkout."""

    def initialise(self) -> None:
        """Write the configuration; the first run makes the repository."""
        self.config = self.place / "config.toml"
        self.config.write_text(
            f"[storage]\nroot = {json.dumps(str(self.repository))}\n\n"
            f'[sources.{SOURCE}]\nkind = "profile"\npath = {json.dumps(str(self.source))}\n'
        )
        self.environment["PYTHONPATH"] = str(CHECKOUT)

    def command(self, *words: str) -> Measurement:
        """Run one of our commands."""
        return self.run(*self.words(*words))

    def words(self, *words: str) -> list[str]:
        """Return the whole command line of one of our commands."""
        return [sys.executable, "-m", "anki_backup", "-c", str(self.config), *words]

    def capture(self) -> Measurement:
        """Run, and see to it that a backup was made."""
        return self._run_with("created")

    def skip(self) -> Measurement:
        """Run on what has not changed, and see to it that it was skipped."""
        return self._run_with("skipped")

    def _run_with(self, outcome: str) -> Measurement:
        measured = self.command("run", "--json")
        found = [run["outcome"] for run in json.loads(measured.stdout)["results"]]
        if found != [outcome]:
            raise BenchmarkError(f"the run should have been {outcome}, but was {found}")
        return measured

    def backups(self) -> list[dict[str, Any]]:
        """Return all backups, newest first."""
        listed = json.loads(self.command("list", "--all", "--json").stdout)
        backups: list[dict[str, Any]] = listed["backups"]
        return backups

    def extract(self, name: str, path: Path) -> Measurement:
        """Export the collection of a backup."""
        return self.command("export", name, "--format", "anki2", "-o", str(path))

    def stored(self) -> Stored:
        """Leave the cache out: it is expendable, and no peer's cache is counted either."""
        return stored(self.repository, without=CACHE)


class Restic(Program):
    """restic with its defaults, which compress since format 2."""

    def initialise(self) -> None:
        """Make the repository, of the newest format."""
        self.environment |= {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(self.place / "cache"),
        }
        self.prepare("restic", "init")

    def capture(self) -> Measurement:
        """Back the source up."""
        return self.run("restic", "backup", "--quiet", ".")

    def extract(self, name: str, path: Path) -> Measurement:
        """Restore the one file; `path` becomes the folder that restic makes the tree in."""
        return self.run("restic", "restore", name, "--target", str(path))


class Borg(Program):
    """borg without encryption, at zstd's level 3."""

    options: tuple[str, ...] = ()

    def initialise(self) -> None:
        """Make the repository."""
        self.environment |= {
            "BORG_BASE_DIR": str(self.place / "home"),
            "BORG_REPO": str(self.repository),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        self.captures = 0
        self.prepare("borg", "init", "-e", "none")

    def capture(self) -> Measurement:
        """Create the next archive: `1`, `2`, ..."""
        self.captures += 1
        return self.run("borg", "create", "-C", "zstd,3", *self.options, f"::{self.captures}", ".")

    def extract(self, name: str, path: Path) -> Measurement:
        """Extract an archive; `path` becomes the folder that it is extracted into."""
        path.mkdir()
        return self.run("borg", "extract", f"::{name}", folder=path)


class BorgOfPages(Borg):
    """borg with chunks as large as a page of SQLite: its best case for bytes."""

    options = ("--chunker-params", "fixed,4096")


PROGRAMS: dict[str, Callable[[Path, Path], Program]] = {
    "ankibak": Ankibak,
    "restic": Restic,
    "borg": Borg,
    "borg 4 KiB": BorgOfPages,
}
PEERS = ("ankibak", "restic", "borg")


def programs(place: Path, source: Path, names: tuple[str, ...] = PEERS) -> dict[str, Program]:
    """Return the named programs, each with an empty repository for `source`."""
    made = {name: PROGRAMS[name](place / name.replace(" ", "-"), source) for name in names}
    for program in made.values():
        program.reset()
    return made
