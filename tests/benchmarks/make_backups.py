"""Make a long history out of a few backups: `python -m tests.benchmarks.make_backups REPOSITORY COUNT`.

The backups that are there stay the newest. Before them come others, eight hours of
every day: they stand for the objects of the oldest real one, but have figures, decks
and pictures of their own, as a collection has that grew for years and lost a deck on
the way. The event log is as long as such years leave it (`make_events`). What the
catalog is not told of, `catalog rebuild` finds.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from anki_backup import durable, model, pictures
from anki_backup.model import BackupManifest, BackupStats, DeckStats
from anki_backup.pictures import Pictures
from anki_backup.repository import Decks, Repository
from tests.benchmarks import make_events

HOURS_A_DAY = 8
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# What the first backup had of all that the newest has.
BEGUN_WITH = 0.3
LOST_DECK, LOST_CARDS, LOST_AT = "A course that is over", 1200, 0.4
REVIEWS_A_BACKUP = 60


def make(root: Path, count: int) -> None:
    """Make `count` backups in all, and the event log that belongs to them."""
    repository = Repository.open(root)
    found = [repository.manifest(backup_id) for backup_id in repository.history.ids()]
    there = sorted(found, key=lambda manifest: manifest.sequence)
    for number, manifest in enumerate(there, start=count - len(there) + 1):
        place = repository.history.folder(manifest.id)
        (place / "metadata.json").write_bytes(model.seal(replace(manifest, sequence=number)))
    earlier = Earlier(repository, there[0], count - len(there))
    made = [earlier.put(age) for age in range(earlier.count, 0, -1)]
    repository.batch.flush()
    lost = next((at for at, manifest in enumerate(made) if manifest.created_at > earlier.lost_at), None)
    log = make_events.lines([*made, *there], there[-1].created_at, lost)
    durable.write(repository.history.log, b"".join(log))


class Earlier:
    """The `count` backups before a real one; `age` counts from that one back."""

    def __init__(self, repository: Repository, real: BackupManifest, count: int) -> None:
        self.repository, self.real, self.count = repository, real, count
        self.real_decks = repository.decks(real.id)
        self.lost_at = self._created(int(count * LOST_AT))
        self.drawn = pictures.read(repository.store, real.pictures) if real.pictures else None
        # They are the same all day long.
        self._day = cache(self._made_day)

    def put(self, age: int) -> BackupManifest:
        """Write the manifest of one backup; nothing is synced."""
        created_at = self._created(age)
        decks, stats, drawn = self._day((age - 1) // HOURS_A_DAY)
        manifest = replace(
            self.real,
            id=created_at.strftime("%Y-%m-%dT%H-%M-%SZ"),
            created_at=created_at,
            sequence=self.count - age + 1,
            stats=self._stats(decks, age),
            stats_sha256=hashlib.sha256(stats).hexdigest(),
            pictures=drawn,
            stored_bytes=17_000 + age % 997,
        )
        place = self.repository.history.folder(manifest.id)
        place.mkdir(mode=0o700)
        (place / "metadata.json").write_bytes(model.seal(manifest))
        (place / "stats.json").write_bytes(stats)
        return manifest

    def _created(self, age: int) -> datetime:
        days, hours = divmod(max(0, age - 1), HOURS_A_DAY)
        return self.real.created_at - HOUR - days * DAY - hours * HOUR

    def _grown(self, age: int) -> float:
        return 1 - (1 - BEGUN_WITH) * age / self.count

    def _made_day(self, day: int) -> tuple[list[DeckStats], bytes, str | None]:
        """Return the decks of a day, as they are and as a document, and the object of its pictures."""
        age = day * HOURS_A_DAY + 1
        grown, at = self._grown(age), self._created(age)
        decks = [replace(deck, cards=int(deck.cards * grown)) for deck in self.real_decks]
        if at <= self.lost_at:
            decks.append(DeckStats(id=1, name=LOST_DECK, cards=LOST_CARDS))
        drawn = _as_of(self.drawn, at, grown) if self.drawn else None
        return decks, model.seal(Decks(decks=decks)), pictures.keep(self.repository.store, drawn)

    def _stats(self, decks: list[DeckStats], age: int) -> BackupStats:
        cards, real = sum(deck.cards for deck in decks), self.real.stats
        share = cards / max(1, real.cards or 0)
        return replace(
            real,
            cards=cards,
            notes=int((real.notes or 0) * share),
            decks=len(decks),
            revlog=max(0, (real.revlog or 0) - age * REVIEWS_A_BACKUP),
        )


def _as_of(drawn: Pictures, at: datetime, grown: float) -> Pictures:
    """Return what pictures need as it was on another day, of a collection of that part of the size."""
    states = {name: int(getattr(drawn.states, name) * grown) for name in drawn.states.__struct_fields__}
    turn = at.toordinal() % len(drawn.reviews)
    return replace(
        drawn,
        day=f"{at:%Y-%m-%d}",
        reviews=[*drawn.reviews[turn:], *drawn.reviews[:turn]],
        states=replace(drawn.states, **states),
        due=[int(count * grown) for count in drawn.due],
        notetypes=[replace(each, count=int(each.count * grown)) for each in drawn.notetypes],
        decks=[replace(each, count=int(each.count * grown)) for each in drawn.decks],
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
