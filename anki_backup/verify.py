"""Is everything there, and is it what it was? Reports, and repairs nothing.

Quick: every manifest is sealed, bound to its folder, and names objects that are
there with the right sizes, down to the whole one at the end of each chain. With
`read_data` every byte is hashed too: each chain is walked once from its whole
object upwards, so a thousand backups cost a thousand hashes, not a thousand
restores; and SQLite checks the newest collection of each source and some others.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from operator import attrgetter
from pathlib import Path

from msgspec import Struct

from anki_backup import around, chains, collection, medialist, pictures
from anki_backup.entries import CatalogError, state_of, with_state
from anki_backup.errors import DamageError, SourceError
from anki_backup.forks import spread
from anki_backup.header import RAW, Info
from anki_backup.history import backup_of, entry_of
from anki_backup.model import BackupManifest, now
from anki_backup.repository import Repository
from anki_backup.steady import TRIES, layout
from anki_backup.temporary import TemporaryFolder
from anki_backup.walk import Version, Walk, compare, write_out

SAMPLE, SAMPLES_LIMIT = 16, 64
AT_ONCE = 16


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it was written."""

    backup: str | None
    object: str | None
    kind: str
    message: str


class Report(Struct, frozen=True, kw_only=True):
    """How many backups were looked at, and what was found."""

    checked: int
    findings: list[Finding]


def verify(
    repository: Repository,
    ids: list[str],
    read_data: bool,
    advance: Callable[[int], object] = lambda count: None,
) -> Report:
    """Check these backups, all when none is named; DamageError only for what keeps us from looking."""
    wanted = checked = ids or sorted(repository.history.ids())
    for _ in range(TRIES):
        before = layout(repository.root)
        check = _Check(repository, read_data, advance)
        for odd in around.look(repository) if not ids else ():
            check.find(*odd)
        check.backups(wanted)
        if not check.findings or layout(repository.root) == before:
            break
        # A prune came between, which may have removed or moved what was looked for.
        suspects = {finding.backup for finding in check.findings if finding.backup}
        wanted = sorted(suspects & {*ids, *repository.history.ids()})
    return Report(checked=len(checked), findings=check.findings)


class _Check:
    def __init__(self, repository: Repository, read_data: bool, advance: Callable[[int], object]) -> None:
        self.repository = repository
        self.store = repository.store
        self.read_data = read_data
        self.advance = advance
        self._found: dict[Finding, None] = {}
        self.infos: dict[str, Info] = {}
        self.bad: dict[str, str] = {}

    def find(self, kind: str, message: str, backup: str | None = None, name: str | None = None) -> None:
        """Note one thing, once."""
        self._found[Finding(backup=backup, object=name, kind=kind, message=message)] = None

    @property
    def findings(self) -> list[Finding]:
        return list(self._found)

    def backups(self, ids: list[str]) -> None:
        manifests = [found for backup_id in ids if (found := self._manifest(backup_id))]
        needed: dict[str, list[BackupManifest]] = defaultdict(list)
        for manifest in manifests:
            needed[manifest.collection_sha256].append(manifest)
        for name, owners in needed.items():
            self._chain(name, owners)
        if self.read_data:
            _Hashing(self, needed).go()
        for name, owners in needed.items():
            for manifest in owners:
                if name in self.bad:
                    self.find("object", self.bad[name], manifest.id, name)
        self._catalog(manifests)
        self._media(manifests)
        self._pictures(manifests)

    def _manifest(self, backup_id: str) -> BackupManifest | None:
        self.advance(1)
        try:
            manifest = self.repository.manifest(backup_id)
        except DamageError as error:
            self.find("manifest", error.message, backup_id)
            return None
        try:
            self.repository.decks(backup_id)
        except DamageError as error:
            self.find("stats", error.message, backup_id)
        return manifest

    def info(self, name: str) -> Info:
        """Return the header of an object, read once."""
        if name not in self.infos:
            self.infos[name] = self.store.info(name)
        return self.infos[name]

    def _chain(self, name: str, owners: list[BackupManifest]) -> None:
        """Follow a collection's object down to the whole one."""
        try:
            link, steps = self.info(name), 0
            if any(link.size != manifest.collection_bytes for manifest in owners):
                raise DamageError(f"object {name} has another size than its manifest says")
            while link.base is not None:
                steps += 1
                if steps > chains.STEPS_LIMIT:
                    raise DamageError(f"the chain of object {name} has no end")
                link = self.info(link.base)
        except DamageError as error:
            self.bad[name] = error.message

    def _catalog(self, manifests: list[BackupManifest]) -> None:
        """The catalog must say of a backup what its manifest says; pins and the like come from events."""
        try:
            with self.repository.history.catalog() as catalog:
                known = catalog.backups(manifest.id for manifest in manifests)
                entries = {entry.id: entry for entry in catalog.entries()}
        except CatalogError:  # told by `state`; readers do without it
            return
        for manifest in manifests:
            told, read = known.get(manifest.id), backup_of(manifest)
            if told and (told != with_state(read, state_of(told)) or entries.get(read.id) != entry_of(read)):
                self.find(
                    "catalog", f"the catalog says otherwise than the manifest; {around.MEND}", manifest.id
                )

    def _media(self, manifests: Iterable[BackupManifest]) -> None:
        """Check the lists of media, and each file that they name once."""
        lists: dict[str, list[BackupManifest]] = defaultdict(list)
        for manifest in manifests:
            if manifest.media_list:
                lists[manifest.media_list].append(manifest)
        state: dict[str, str | None] = {}
        for name, owners in lists.items():
            try:
                files = medialist.unpack_list(chains.read(self.store, name))
                if self.read_data and not chains.is_sound(self.store, name):
                    raise DamageError(f"object {name} is damaged: its stored bytes are not what was written")
                counted = len(files), sum(file.size for file in files)
                if any(counted != (owner.media_files, owner.media_bytes) for owner in owners):
                    raise DamageError(f"the list of media {name} is not the one that its manifest describes")
            except DamageError as error:
                for manifest in owners:
                    self.find("media list", error.message, manifest.id, name)
                continue
            for file in files:
                if file.sha256 not in state:
                    state[file.sha256] = self._object(file.sha256, file.size)
                    self.advance(0)
                if message := state[file.sha256]:
                    for manifest in owners:
                        self.find("media", message, manifest.id, file.sha256)

    def _pictures(self, manifests: Iterable[BackupManifest]) -> None:
        for manifest in manifests:
            if manifest.pictures:
                try:
                    self.store.info(manifest.pictures)
                    if self.read_data:
                        pictures.read(self.store, manifest.pictures)
                except DamageError as error:
                    self.find("pictures", error.message, manifest.id, manifest.pictures)

    def _object(self, name: str, size: int) -> str | None:
        """Return what is wrong with a media object."""
        try:
            info = self.store.info(name)
            if info.size != size:
                return f"object {name} has another size than its list says"
            if self.read_data:
                if not self.store.payload_is_sound(name):
                    return f"object {name} is damaged: its stored bytes are not what was written"
                if info.kind != RAW:  # of that the content was hashed
                    for _ in self.store.blocks(name):
                        pass
        except DamageError as error:
            return error.message
        return None


class _Hashing:
    """Makes every version of the collections once, each from the one it stands on, and hashes it.

    Where there are several processors, forks take turns: each makes all versions, which is
    cheap, and hashes those of its slices.
    """

    def __init__(self, check: _Check, needed: dict[str, list[BackupManifest]]) -> None:
        self.check = check
        self.walk = Walk(check.store, (name for name in needed if name not in check.bad))
        self.sampled = _sample(needed)

    def go(self) -> None:
        """Note what is bad in the check that asked."""
        with (
            TemporaryFolder(prefix="ankibak-") as folder,
            closing(self.walk.versions()) as versions,
        ):
            work = partial(self._hash, enumerate(versions), Path(folder))
            turns = spread(range(len(self.walk)), os.cpu_count() or 1, work, AT_ONCE)
            with closing(turns):
                for bad in turns:
                    self.check.bad |= bad
                    self.check.advance(AT_ONCE)

    def _hash(
        self, versions: Iterator[tuple[int, Version]], folder: Path, numbers: Sequence[int]
    ) -> dict[str, str]:
        """Return what is bad up to the last of these versions, and why."""
        bad = {}
        for number, version in versions:
            if number >= numbers[0]:
                try:
                    self._look_at(version, folder / f"collection-{os.getpid()}")
                except SourceError as error:
                    bad[version.name] = f"the collection opens no more: {error.message}"
                except DamageError as error:
                    bad[version.name] = error.message
            if number == numbers[-1]:
                break
        return bad | self.walk.damaged

    def _look_at(self, version: Version, path: Path) -> None:
        if version.base is None and not self.check.store.payload_is_sound(version.name):
            raise DamageError(f"object {version.name} is damaged: its stored bytes are not what was written")
        if version.name in self.sampled:
            write_out(version, path)
            collection.check(path, thorough=True)
        else:
            compare(version)


def _sample(needed: Mapping[str, list[BackupManifest]]) -> set[str]:
    """Return the newest of each source, and others in turn, day by day; it takes seconds each."""
    manifests = sorted((item for owners in needed.values() for item in owners), key=attrgetter("sequence"))
    newest = {manifest.source: manifest.collection_sha256 for manifest in manifests}
    step, day = max(SAMPLE, len(manifests) // SAMPLES_LIMIT), now().toordinal()
    return set(newest.values()) | {
        manifest.collection_sha256 for manifest in manifests if (manifest.sequence + day) % step == 0
    }
