"""Whatever happens to a repository, in whatever order: what should be there comes back byte for byte.

The model is plain: a full copy of every backup. Backups are made, pruned, pinned,
adopted from the past; clocks leap, rollbacks move the pointer, the catalog is lost,
bytes rot and are mended.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anki_backup import chains, prune
from anki_backup.errors import ClockError
from anki_backup.forest import Forest
from anki_backup.retention import DEFAULT, judge
from anki_backup.settings import Retention
from anki_backup.values import duration
from tests.histories import HOUR, MEMORY, Histories

EXAMPLES, STEPS = 200, 30
POLICIES = st.sampled_from(
    [
        DEFAULT,
        Retention(last=0),
        Retention(last=4),
        Retention(within=duration("12h")),
        Retention(within=duration("2d"), daily=3),
        Retention(hourly=6, daily="all"),
        Retention(weekly=2, yearly=1),
    ]
)
SOURCES = st.sampled_from(["home", "home", "home", "work"])
LEAPS = st.sampled_from([HOUR, 5 * HOUR, timedelta(days=3), timedelta(days=400), timedelta(days=3650)])
WHICH = st.integers(0, 1_000)


class Life(RuleBasedStateMachine):
    """A repository's life, beside a model of it."""

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ankibak-life-", dir=MEMORY))
        self.histories = Histories(self.folder / "repository", seed, units=24)
        self.pinned: set[str] = set()
        self.active: dict[str, str] = {}
        # What was damaged, and how it can be mended; which backups can't be had meanwhile.
        self.spoilt: dict[Path, bytes] = {}
        self.lost: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.mend()
            self.histories.check()
            shutil.rmtree(self.folder)

    def some(self, which: int) -> str:
        names = sorted(self.histories.copies)
        return names[which % len(names)]

    def has_backups(self) -> bool:
        return bool(self.histories.copies)

    def is_sound(self) -> bool:
        return not self.spoilt

    @precondition(is_sound)
    @rule(source=SOURCES, count=st.integers(1, 4), step=st.integers(1, 30), pictures=st.integers(0, 1))
    def run(self, source: str, count: int, step: int, pictures: int) -> None:
        for _ in range(count):
            self.histories.now += step * HOUR
            self.histories.back_up(source, answers=2, pictures=pictures)

    @precondition(is_sound)
    @rule(source=SOURCES, age=st.integers(1, 2000))
    def adopt(self, source: str, age: int) -> None:
        """A backup from elsewhere, dated in the past."""
        at = self.histories.now - age * HOUR
        self.histories.back_up(source, at=at, adopted=True, answers=20)

    @precondition(has_backups)
    @rule(which=WHICH)
    def pin(self, which: int) -> None:
        self.histories.repository.record("pin", backup=self.some(which), label=None)
        self.pinned.add(self.some(which))

    @precondition(has_backups)
    @rule(which=WHICH)
    def unpin(self, which: int) -> None:
        self.histories.repository.record("unpin", backup=self.some(which))
        self.pinned.discard(self.some(which))

    @precondition(has_backups)
    @rule(which=WHICH)
    def roll_back(self, which: int) -> None:
        repository = self.histories.repository
        backup = repository.find(self.some(which))
        repository.point(backup.source, backup.id)
        self.active[backup.source] = backup.id

    @rule()
    def lose_the_catalog(self) -> None:
        (self.histories.root / "state" / "metadata.db").unlink(missing_ok=True)

    @rule()
    def rebuild_the_catalog(self) -> None:
        self.histories.repository.rebuild_catalog()

    @rule(leap=LEAPS)
    def leap_ahead(self, leap: timedelta) -> None:
        self.histories.now += leap

    @rule(leap=LEAPS)
    def leap_back(self, leap: timedelta) -> None:
        self.histories.now -= leap

    @precondition(lambda self: self.histories.copies and not self.spoilt)
    @rule(which=WHICH, byte=st.integers(0, 10_000))
    def rot(self, which: int, byte: int) -> None:
        """A byte of a collection's object, or of what it stands on, changes by itself."""
        repository = self.histories.repository
        manifests = list(repository.history.manifests(self.histories.copies))
        links = [chains.ancestry(repository.store, m.collection_sha256) for m in manifests]
        names = sorted({info.name for chain in links for info in chain})
        name = names[which % len(names)]
        path = repository.store.path(name)
        data = path.read_bytes()
        self.spoilt[path] = data
        at = byte % len(data)
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        self.lost = {
            m.id
            for m, chain in zip(manifests, links, strict=True)
            if any(info.name == name for info in chain)
        }

    @rule()
    def mend(self) -> None:
        """The damaged bytes are put back, as from another copy of the repository."""
        for path, data in self.spoilt.items():
            if path.exists():
                path.write_bytes(data)
        self.spoilt, self.lost = {}, set()

    @precondition(has_backups)
    @rule(policy=POLICIES, unused=st.sampled_from([0.0, 0.05, 0.4]))
    def prune(self, policy: Retention, unused: float) -> None:
        histories = self.histories
        backups = histories.repository.backups()
        rules = histories.rules(policy, unused)
        if histories.now < max(backup.created_at for backup in backups):
            self.refused(ClockError, rules)
            return
        done, _ = prune.perform(histories.repository, prune.plan(histories.repository, rules), rules)
        for source in {backup.source for backup in backups}:
            own = [backup for backup in backups if backup.source == source]
            self.is_right(own, policy, set(done.goes))
        for name in done.goes:
            del histories.copies[name]
        self.lost -= set(done.goes)
        if not self.spoilt:
            self.nothing_is_left_over()
        if there := set(histories.copies) - self.lost:
            histories.check(*there)

    def refused(self, error: type[Exception], rules: prune.Rules) -> None:
        before = self.histories.objects()
        try:
            prune.plan(self.histories.repository, rules)
        except error:
            assert self.histories.objects() == before
            return
        raise AssertionError("prune went on")

    def is_right(self, backups: list, policy: Retention, goes: set[str]) -> None:
        """See that exactly what the policy lets go is gone, and nothing that must stay."""
        by_sequence = sorted(backups, key=lambda backup: (backup.sequence, backup.created_at))
        good = [backup.id for backup in by_sequence if backup.id not in self.lost]
        newest = max(backups, key=lambda backup: (backup.created_at, backup.sequence)).id
        stays = {newest, by_sequence[-1].id, *good[-1:], *self.pinned, *self.active.values()}
        assert not stays & goes
        active = set(self.active.values())
        verdicts = judge(backups, policy, self.histories.now, self.histories.zone, active=active)
        kept = {verdict.backup for verdict in verdicts if verdict.keep}
        let_go = {backup.id for backup in backups} - kept
        assert let_go - goes <= set(good[-1:])
        assert goes & {backup.id for backup in backups} <= let_go

    def nothing_is_left_over(self) -> None:
        """See that every object is named by what stays, or carries what is."""
        repository = self.histories.repository
        manifests = list(repository.history.manifests(self.histories.copies))
        lists = {m.media_list for m in manifests if m.media_list}
        media = {file.sha256 for m in manifests for file in repository.media(m.id)}
        forest = Forest(repository.store, lists | {m.collection_sha256 for m in manifests})
        assert set(self.histories.objects()) == forest.referenced | media

    @invariant()
    def every_backup_is_there(self) -> None:
        if hasattr(self, "histories"):
            assert set(self.histories.repository.history.ids()) == set(self.histories.copies)


Life.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
