"""Is everything there, and is it what it was? Reports, and repairs nothing.

Quick: every manifest is sealed, bound to its folder, and names objects that are
there with the right sizes, down to the whole one at the end of each chain. With
`read_data` every byte is hashed too: each chain is walked once from its whole
object upwards, so a thousand backups cost a thousand hashes, not a thousand
restores; and SQLite checks the newest collection of each source and some others.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from anki_backup import chains, collection, events, medialist, pictures
from anki_backup.entries import CatalogError
from anki_backup.errors import DamageError, SourceError
from anki_backup.header import Info
from anki_backup.model import BackupManifest, now
from anki_backup.repository import Repository

SAMPLE = 16


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
    check = _Check(repository, read_data, advance)
    if not ids:
        check.state()
    wanted = ids or sorted(repository.history.ids())
    check.backups(wanted)
    return Report(checked=len(wanted), findings=check.findings)


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

    def state(self) -> None:
        """Look at what belongs to no single backup."""
        for line in events.damaged(self.repository.history.log):
            self.find("events", f"the event log is damaged at byte {line.start}")
        self._pointers()
        try:
            with self.repository.history.catalog() as catalog:
                number = catalog.mark("n")
            newest = events.last(self.repository.history.log)
            if number > (newest["n"] if newest else 0) and not self._found:
                self.find("events", "the event log is shorter than it was")
        except CatalogError as error:
            if any(word in str(error) for word in ("malformed", "not a database")):
                self.find("catalog", f"the catalog is damaged ({error}); mend it: ankibak catalog rebuild")

    def _pointers(self) -> None:
        """The note of what is current must be whole, and name every source whose live state was backed up."""
        lines = events.mentioning(self.repository.history.log, b'"live":true')
        live = {line.event["source"] for line in lines if line.event and line.event.get("live")}
        try:
            missing = sorted(live - set(self.repository.pointers()))
        except (DamageError, OSError) as error:
            self.find("pointer", str(error))
            return
        if missing:
            self.find("pointer", f"current-pointer.json doesn't name what is current of {', '.join(missing)}")

    def backups(self, ids: list[str]) -> None:
        manifests = [found for backup_id in ids if (found := self._manifest(backup_id))]
        needed: dict[str, list[BackupManifest]] = defaultdict(list)
        for manifest in manifests:
            needed[manifest.collection_sha256].append(manifest)
        for name, owners in needed.items():
            self._chain(name, owners)
        if self.read_data:
            _Walk(self, needed).go()
        for name, owners in needed.items():
            for manifest in owners:
                if name in self.bad:
                    self.find("object", self.bad[name], manifest.id, name)
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
                if self.read_data and not all(map(self.store.payload_is_sound, self._links(name))):
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

    def _links(self, name: str) -> list[str]:
        return [info.name for info in chains.ancestry(self.store, name)]

    def _object(self, name: str, size: int) -> str | None:
        """Return what is wrong with a media object."""
        try:
            if self.store.info(name).size != size:
                return f"object {name} has another size than its list says"
            if self.read_data:
                if not self.store.payload_is_sound(name):
                    return f"object {name} is damaged: its stored bytes are not what was written"
                for _ in self.store.blocks(name):
                    pass
        except DamageError as error:
            return error.message
        return None


class _Walk:
    """Rebuilds every collection once, each from the one it stands on, and hashes it."""

    def __init__(self, check: _Check, needed: dict[str, list[BackupManifest]]) -> None:
        self.check = check
        self.store = check.store
        self.needed = needed
        self.children: dict[str, list[str]] = defaultdict(list)
        self.roots: list[str] = []
        self.sampled = self._sample()
        linked: set[str] = set()
        for name in needed:
            if name not in check.bad:
                for info in chains.ancestry(self.store, name):
                    if info.name not in linked:
                        linked.add(info.name)
                        (self.children[info.base] if info.base else self.roots).append(info.name)
        for names in self.children.values():
            names.sort(key=lambda name: (check.info(name).position, name))

    def _sample(self) -> set[str]:
        """The newest of each source, and others in turn, day by day."""
        manifests = sorted(
            (item for owners in self.needed.values() for item in owners), key=lambda m: m.sequence
        )
        newest = {manifest.source: manifest.collection_sha256 for manifest in manifests}
        day = now().toordinal()
        return set(newest.values()) | {
            m.collection_sha256 for m in manifests if (m.sequence + day) % SAMPLE == 0
        }

    def go(self) -> None:
        with tempfile.TemporaryDirectory(prefix="ankibak-") as folder:
            self.folder = Path(folder)
            for number, root in enumerate(self.roots):
                path = self.folder / f"root-{number}"
                if self._advance(root, path, whole=True):
                    self._follow(root, path, 0)
                path.unlink(missing_ok=True)

    def _follow(self, name: str, path: Path, depth: int) -> None:
        """Walk on from a collection that lies at `path`; the last branch takes the file along."""
        while names := self.children.get(name):
            for branch in names[:-1]:
                copy = self.folder / f"branch-{depth}"
                shutil.copyfile(path, copy)
                if self._advance(branch, copy):
                    self._follow(branch, copy, depth + 1)
            name = names[-1]
            if not self._advance(name, path):
                return

    def _advance(self, name: str, path: Path, whole: bool = False) -> bool:
        self.check.advance(1)
        try:
            if not self.store.payload_is_sound(name):
                raise DamageError(f"object {name} is damaged: its stored bytes are not what was written")
            if whole:
                chains.materialise(self.store, name, path)
            else:
                chains.step(self.store, name, path)
                if chains.digest_of(path) != name:
                    raise DamageError(f"object {name} is damaged: its bytes have another SHA-256")
            if name in self.sampled and name in self.needed:
                collection.check(path, thorough=True)
        except SourceError as error:
            self.check.bad[name] = f"the collection opens no more: {error.message}"
        except DamageError as error:
            self._spread(name, error.message)
            return False
        return True

    def _spread(self, name: str, message: str) -> None:
        """All that stands on a damaged object is lost with it."""
        pending = [name]
        while pending:
            found = pending.pop()
            self.check.bad[found] = message
            pending += self.children.get(found, [])
