"""A repository that has something to prune, and what a fault must leave of it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from anki_backup.repository import Repository
from anki_backup.settings import Retention
from tests.faults.inspect_repository import step
from tests.faults.program import Program, command, outcome, prepare
from tests.faults.trial import Trial, copy
from tests.histories import HOUR, Histories

CONFIG = """\
[storage]
root = "repository"
[retention]
daily = 4
[schedule]
timezone = "UTC"
"""
PRUNE = "prune --yes --max-unused 0".split()


class Pruned:
    """A repository that has something to prune, and how it looks when that was done."""

    def __init__(
        self, folder: Path, program: Program, surroundings: Mapping[str, str], backups: int = 26
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
            inspect=step(self.inspect),
            recover=lambda directory, facts: outcome(self.program(directory, *PRUNE)),
            check=step(self.check),
            environment=self.environment,
        )

    def inspect(self, directory: Path, facts: Mapping[str, str]) -> None:
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

    def check(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See that the next prune has finished it: nothing else is left."""
        self.inspect(directory, facts)
        repository = Repository.open(directory / "repository")
        assert set(repository.history.ids()) == self.stays
        assert set(repository.store.names()) == self.objects
        assert not list((directory / "repository").rglob("*.part"))
