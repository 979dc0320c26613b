"""The two sides of a rollback: a fault must leave the one or the other, never a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anki_backup import collection, content
from tests.faults.inspect_repository import Broken, backups, digests, exported, step
from tests.faults.program import Program, command, outcome
from tests.faults.trial import Trial

SIDE = ("-wal", "-shm", "-journal")
COLLECTION = "collection.anki2"


class RolledBack:
    """A rollback in the folder `base`, and what it leads from and to: rows of the collection, and media."""

    def __init__(
        self, base: Path, source: str, program: Program, target: str, environment: Mapping[str, str]
    ) -> None:
        self.base, self.source, self.target = base, source, target
        self.program, self.environment = program, environment
        self.old = look(base / source)
        wanted = base.with_name("wanted")
        assert program(base, "export", target, "--format", "dir", "-o", str(wanted)).code == 0
        rows, media = look(wanted)
        # What the backup doesn't have stays.
        self.new = rows, {**self.old[1], **media}
        assert self.old != self.new and set(self.old[1]) != set(self.new[1])

    def trial(self) -> Trial:
        return Trial(
            command("rollback", self.target, "--yes"),
            inspect=step(self.inspect),
            recover=lambda directory, facts: outcome(self.program(directory, "run")),
            check=step(self.check),
            environment=self.environment,
        )

    def inspect(self, directory: Path, facts: Mapping[str, str]) -> None:
        """See exactly what the fault left: whole files, and the old collection or the new one."""
        rows, media = look(directory / self.source)
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
        found = look(directory / self.source)
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
