"""A prune that is killed, stopped or refused by the disk at any system call loses nothing that stays."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from anki_backup.errors import AnkibakError
from anki_backup.repository import Repository
from anki_backup.settings import Retention
from tests.faults.conftest import FULL, outcome
from tests.faults.crashpoints import Campaign, summary
from tests.faults.program import Warm, command, prepare
from tests.faults.trial import Outcome, Trial, copy
from tests.histories import HOUR, Histories

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("traced")]

CONFIG = """\
[storage]
root = "repository"
[retention]
daily = 4
[schedule]
timezone = "UTC"
"""
PRUNE = "prune --yes --max-unused 0".split()
# It worked after all, some of the space comes back later, damage or a refusal of the disk was met.
CODES = {
    "error": frozenset({0, 3, 6, 8}),
    "term": frozenset({0, 143}),
    "int": frozenset({0, 130}),
}
ERRORS = ["enospc", "enospc+", "eio", "eio+", "erofs"]


class Pruned:
    """A repository that has something to prune, and how it looks when that was done."""

    def __init__(
        self, folder: Path, program: Warm, surroundings: Mapping[str, str], backups: int = 26
    ) -> None:
        self.program, self.environment = program, surroundings
        self.base = folder / "base"
        self.base.mkdir()
        (self.base / "config.toml").write_text(CONFIG)
        histories = Histories(self.base / "repository", units=40)
        for number in range(backups):
            histories.back_up(answers=2, pictures=number % 5 == 0)
            histories.now += 4 * HOUR
        (self.base / "repository" / "objects" / "new-1.part").write_bytes(b"of a run that died")
        self.copies = dict(histories.copies)
        done = copy(self.base, folder / "done")
        prepare(done, surroundings, *PRUNE)
        after = Histories(done / "repository")
        after.now = histories.now
        after.copies = dict(self.copies)
        after.prune(Retention(daily=4))
        self.stays = set(after.repository.history.ids())
        self.objects = set(after.objects())
        assert 2 <= len(self.stays) <= backups // 3

    def trial(self) -> Trial:
        return Trial(
            command(*PRUNE),
            inspect=self._step(self.inspect),
            recover=lambda directory, facts: outcome(self.program(directory, *PRUNE)),
            check=self._step(self.check),
            environment=self.environment,
        )

    @staticmethod
    def _step(look: Callable[[Path], None]) -> Callable[[Path, Mapping[str, str]], Outcome]:
        def step(directory: Path, facts: Mapping[str, str]) -> Outcome:
            try:
                look(directory)
            except (AssertionError, AnkibakError) as error:
                return Outcome(1, f"{type(error).__name__}: {error}")
            return Outcome(0, "")

        return step

    def inspect(self, directory: Path) -> None:
        """See that all that stays is there, and that whatever is listed comes back byte for byte."""
        repository = Repository.open(directory / "repository")
        listed = [backup.id for backup in repository.backups()]
        assert self.stays <= set(listed) <= self.copies.keys(), "what stays is not all there"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "back")
            for backup_id in listed:
                pages, media = self.copies[backup_id]
                repository.restore_collection(backup_id, path)
                assert path.read_bytes() == pages, f"{backup_id} is another"
                found = {file.name: file.sha256 for file in repository.media(backup_id)}
                assert found == {name: hashlib.sha256(data).hexdigest() for name, data in media.items()}
                assert all(repository.store.read(found[name]) == data for name, data in media.items())

    def check(self, directory: Path) -> None:
        """See that the next prune has finished it: nothing else is left."""
        self.inspect(directory)
        repository = Repository.open(directory / "repository")
        assert set(repository.history.ids()) == self.stays
        assert set(repository.store.names()) == self.objects
        assert not list((directory / "repository").rglob("*.part"))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory, program: Warm, surroundings: dict[str, str]) -> Pruned:
    return Pruned(tmp_path_factory.mktemp("pruned"), program, surroundings)


def hold(pruned: Pruned, modes: list[str], points: int) -> None:
    campaign = Campaign(pruned.base, pruned.trial(), modes, max_points=0 if FULL else points, codes=CODES)
    results = campaign.run()
    bad = [str(result) for result in results if result.verdict != "ok"]
    assert not bad, "\n".join([*bad, summary(results)[1]])


def test_a_killed_prune_keeps_what_stays_and_the_next_one_finishes(pruned: Pruned) -> None:
    hold(pruned, ["kill"], 14)


def test_a_stopped_prune_keeps_what_stays(pruned: Pruned) -> None:
    hold(pruned, ["term", "int"], 3)


def test_a_prune_that_the_disk_refuses_keeps_what_stays(pruned: Pruned) -> None:
    hold(pruned, ERRORS, 2)
