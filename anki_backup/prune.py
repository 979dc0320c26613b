"""Prune: remove what retention lets go, then sweep what nothing refers to.

One order, so that it can die anywhere and works on a full disk: the manifests of
what goes get a name that makes them no backups, durably, and are emptied; then the
objects that nothing needs are deleted, which takes no space; then what stays is
expressed anew where it stood on what is gone (`repack`); last come the event, the
end of those names, and the catalog. The next prune finishes what one that died left.

Whatever looks odd stops it before anything is removed: a manifest, a list of media
or an event that can't be read, a rollback under way, a clock that is behind.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from anki_backup import chains, durable, events, gaps, intent
from anki_backup.errors import BusyError, DamageError, StorageError
from anki_backup.forest import Forest
from anki_backup.model import Backup
from anki_backup.repack import Advance, idle_bytes, repack
from anki_backup.repository import Repository
from anki_backup.retention import Verdict, judge
from anki_backup.settings import Retention
from anki_backup.steady import layout, steadily
from anki_backup.temporary import TemporaryFolder

# Whatever a manifest of this or a later version names is needed.
NAMED = re.compile(rb'"([0-9a-f]{64})"')
LISTED = re.compile(rb',"([0-9a-f]{64})"\]\n')
ODD = "Nothing was removed. See what is wrong: ankibak verify"
UNPACKED = 3
# As restic's `--max-unused`: expressing anew costs seconds, and a day's ghosts are kilobytes.
MAX_UNUSED = 0.05


class Plan(Struct, frozen=True, kw_only=True):
    """What is to go and what stays, and why; the bytes are those freed, or before it is done about those."""

    verdicts: list[Verdict]
    freed_bytes: int

    @property
    def goes(self) -> list[str]:
        return [verdict.backup for verdict in self.verdicts if not verdict.keep]


class Rules(NamedTuple):
    """By what to judge: the policy of each source, what tells the time, and the zone of people's days.

    `unused` is the part of the repository that may be kept only to stand on. Without
    `reasons` nobody reads why all stay, where all do.
    """

    policy: Callable[[str], Retention]
    clock: Callable[[], datetime]
    zone: tzinfo | None = None
    sources: Collection[str] | None = None
    unused: float = MAX_UNUSED
    reasons: bool = True


class Needs(NamedTuple):
    """What the manifests that stay refer to."""

    collections: set[str]
    lists: set[str]
    named: set[str]


def plan(repository: Repository, rules: Rules) -> Plan:
    """Return what pruning would do now; raises ClockError, DamageError or BusyError where it would refuse."""
    return steadily(partial(_plan, repository, rules), partial(layout, repository.root))


def _plan(repository: Repository, rules: Rules) -> Plan:
    verdicts = _judged(repository, rules)
    goes = {verdict.backup for verdict in verdicts if not verdict.keep}
    freed = 0
    if goes:
        stays = _needs(repository, goes)
        others = _needs(repository, set(repository.history.ids()) - goes)
        gone = (others.named | _media(repository, others.lists)) - stays.named
        gone -= _media(repository, stays.lists)
        freed = sum(_size(repository.store.path(name)) for name in gone)
        freed += sum(map(repository.history.own_bytes, goes))
    return Plan(verdicts=verdicts, freed_bytes=freed)


def perform(
    repository: Repository, agreed: Plan, rules: Rules, advance: Advance = lambda count: None
) -> tuple[Plan, list[str]]:
    """Do what was planned, as far as it is still right; return what was done, and what could not be.

    Removes nothing that was not agreed. Without space to express anew what stays,
    what hangs on that is freed by a later prune; nothing is lost.
    """
    with repository.writing("prune", 5):
        verdicts = _judged(repository, rules)
        goes = {verdict.backup for verdict in verdicts if not verdict.keep} & set(agreed.goes)
        needs = _needs(repository, goes)
        media = _media(repository, needs.lists)
        freed = _set_aside(repository, goes)
        warnings = []
        try:
            freed += _sweep(repository, needs, media, advance)
            freed += _repack(repository, needs, rules.unused, advance)
        except (DamageError, StorageError) as error:
            warnings.append(f"{error.message}; what this keeps from being freed is left to the next prune")
        try:
            if goes or freed:
                inherited = _inherited_bytes(repository)
                repository.record(
                    "pruned", backups=sorted(goes), freed_bytes=freed, inherited_bytes=inherited
                )
            if goes:
                # Only now, so that the log or a name always tells of what is gone.
                if gaps.tell_pruned(repository.history, rules.clock()):
                    durable.sweep(repository.root / "backups")
                repository.index()
        except StorageError as error:
            warnings.append(error.message)
    done = [verdict for verdict in verdicts if verdict.keep or verdict.backup in goes]
    return Plan(verdicts=done, freed_bytes=freed), warnings


def due(repository: Repository, source: str, now: datetime, zone: tzinfo | None) -> bool:
    """Say whether no run of a source has ended well today: the first one of a day prunes."""
    ended = [
        datetime.fromisoformat(event["at"])
        for event in events.newest(repository.history.log)
        if event["event"] == "run"
        and event.get("source") == source
        and event.get("outcome") in ("created", "skipped")
    ]
    today = now.astimezone(zone).date()
    return not ended or ended[-1].astimezone(zone).date() != today


def _judged(repository: Repository, rules: Rules) -> list[Verdict]:
    """Return the verdicts on all backups of the sources, newest first in each."""
    active = set(protectors(repository).values())
    verdicts: list[Verdict] = []
    everything = repository.backups()
    now = rules.clock()  # after the newest of them, also where a run came between plan and deed
    sources = sorted({backup.source for backup in everything})
    for source in sources:
        if rules.sources is not None and source not in rules.sources:
            continue
        backups = [backup for backup in everything if backup.source == source]
        judged = partial(judge, backups, rules.policy(source), now, rules.zone, active=active)
        found = judged()
        if rules.reasons or not all(verdict.keep for verdict in found):
            found = judged(damaged=_damaged(repository, backups))  # it can only make more stay
        verdicts += found
    if unread := set(repository.history.ids()) - {backup.id for backup in everything}:
        raise DamageError(f"backup {min(unread)} can't be read", hint=ODD)
    return verdicts


def protectors(repository: Repository) -> dict[str, str]:
    """Return the active backups if all that protects a backup can be read; else DamageError or BusyError."""
    if intent.document(repository.root).exists():
        raise BusyError("a rollback is under way", hint="Let it finish first: ankibak rollback")
    if trouble := gaps.trouble(repository.history):
        raise trouble
    if gone := gaps.vanished(repository.history):
        raise DamageError(f"backup {min(gone)} vanished, so what only it needs is kept", hint=gaps.ACCEPT)
    return repository.pointers()


def _damaged(repository: Repository, backups: list[Backup]) -> set[str]:
    """Return the newest backups that can't be got back, up to the first that can."""
    found = set()
    for backup in sorted(backups, key=lambda backup: -backup.sequence):
        if backup.alarm is None:
            if chains.is_sound(repository.store, backup.collection_sha256):
                break
            found.add(backup.id)
    return found


def _needs(repository: Repository, without: Collection[str]) -> Needs:
    needs = Needs(set(), set(), set())
    for backup_id in repository.history.ids():
        if backup_id not in without:
            manifest = repository.manifest(backup_id)
            needs.collections.add(manifest.collection_sha256)
            if manifest.media_list:
                needs.lists.add(manifest.media_list)
            raw = repository.history.document(backup_id, "metadata.json")
            needs.named.update(name.decode() for name in NAMED.findall(raw))
    return needs


def _media(repository: Repository, lists: set[str]) -> set[str]:
    """Return the objects that lists of media name; DamageError if one of them can't be read."""
    found: set[str] = set()
    left = set(lists)
    for name, data in Forest(repository.store, lists).contents():
        if hashlib.sha256(data).hexdigest() != name:
            raise DamageError(f"the list of media {name} is damaged", hint=ODD)
        found.update(item.decode() for item in LISTED.findall(data))
        left.discard(name)
    if left:
        raise DamageError(f"the list of media {min(left)} is damaged", hint=ODD)
    return found


def _set_aside(repository: Repository, goes: Collection[str]) -> int:
    """Make these no backups any more, durably, then delete what described them; return its bytes.

    Their folders stay, empty, until the log tells that they are gone.
    """
    if not goes:
        return 0
    folder = repository.root / "backups"
    freed = 0
    for backup_id in sorted(goes):
        freed += repository.history.own_bytes(backup_id)
        durable.publish(folder / backup_id, folder / (backup_id + durable.PART))
    # Before an object goes: a backup that comes back after a power cut must be whole.
    with durable.storing(folder):
        durable.sync_directory(folder)
        for backup_id in goes:
            durable.empty(folder / (backup_id + durable.PART))
    return freed


def _sweep(repository: Repository, needs: Needs, media: set[str], advance: Advance) -> int:
    """Delete every object that nothing refers to, directly or as what it stands on."""
    forest = Forest(repository.store, needs.collections | needs.lists)
    if forest.spoilt:
        # What a damaged header stood on is known to nobody, and needed once the damage is mended.
        raise DamageError(f"{min(forest.spoilt.values())}, so no object was removed")
    kept = needs.named | media | forest.referenced
    freed = 0
    for name in [name for name in repository.store.names() if name not in kept]:
        freed += repository.store.remove(name)
        advance(1)
    return freed


def _repack(repository: Repository, needs: Needs, unused: float, advance: Advance) -> int:
    freed = 0
    store = repository.store
    for wanted, lists in ((needs.lists, True), (needs.collections, False)):
        forest = Forest(store, wanted)
        if idle_bytes(forest) > unused * forest.stored_bytes:
            with _workplace(repository, max(info.size for info in forest.infos.values())) as folder:
                freed += repack(store, forest, folder, lists, advance).freed_bytes
    return freed


@contextmanager
def _workplace(repository: Repository, size: int) -> Iterator[Path]:
    """Give a folder for what is unpacked: in the repository, or elsewhere if there is more room."""
    inside = repository.root / "objects" / ("repack" + durable.PART)
    shutil.rmtree(inside, ignore_errors=True)
    room = shutil.disk_usage(repository.root).free
    if room < UNPACKED * size and shutil.disk_usage(tempfile.gettempdir()).free > room:
        with TemporaryFolder(prefix="ankibak-") as outside:
            yield Path(outside)
        return
    with durable.storing(inside):
        inside.mkdir(0o700)
    try:
        yield inside
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def _inherited_bytes(repository: Repository) -> int:
    """Return what the repository holds beyond what its backups added when they were made.

    What backups that are gone had added and others stand on; less than none where what
    stays was expressed anew in fewer bytes.
    """
    backups = repository.backups()
    held = sum(_size(repository.store.path(name)) for name in repository.store.names())
    held += sum(repository.history.own_bytes(backup.id) for backup in backups)
    return held - sum(backup.stored_bytes for backup in backups)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
