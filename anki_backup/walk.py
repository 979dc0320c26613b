"""Every version of a collection, one after the other: each delta is applied once.

The bases of the versions make a tree. It is walked from its roots down, in one
scratch that always holds the version that was given last; on the way back from a
branch what was written is undone. So a thousand hourly backups cost a thousand
small steps, not a thousand copies.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anki_backup import chains
from anki_backup.chains import STEPS_LIMIT
from anki_backup.deltas import Run
from anki_backup.durable import write_fully
from anki_backup.errors import DamageError, StorageError
from anki_backup.header import Info
from anki_backup.objects import ObjectStore
from anki_backup.payloads import BLOCK
from anki_backup.scratch import Scratch


class Version(NamedTuple):
    """A version, in `content` until the next one is asked for.

    `changed` are the places (start, bytes) that may differ from `base`, None if all
    may. If it `branches`, more than one version stands on it.
    """

    name: str
    base: str | None
    content: Scratch
    changed: list[Run] | None
    branches: bool


class Walk:
    """The versions of objects of one store; what can't be read is in `damaged`, by name.

    Wholes are compared with their SHA-256, deltas with the CRC-32 of what is stored.
    """

    def __init__(self, store: ObjectStore, names: Iterable[str]) -> None:
        self._store = store
        self._infos: dict[str, Info] = {}
        self._children: defaultdict[str | None, list[str]] = defaultdict(list)
        self.damaged: dict[str, str] = {}
        for name in names:
            self._climb(name)
        for children in self._children.values():
            # Small branches first: the run of hours, then the step over them.
            children.sort(key=lambda name: self._infos[name].position)

    def __len__(self) -> int:
        return len(self._infos)

    def _climb(self, name: str) -> None:
        """Take in an object and the bases that it stands on."""
        path: list[Info] = []
        wanted: str | None = name
        try:
            while wanted is not None and wanted not in self._infos:
                if len(path) > STEPS_LIMIT or any(info.name == wanted for info in path):
                    raise DamageError(f"the chain of object {name} has no end")
                path.append(self._store.info(wanted))
                wanted = path[-1].base
        except DamageError as error:
            self.damaged[name] = error.message
            return
        for info in reversed(path):
            self._infos[info.name] = info
            self._children[info.base].append(info.name)

    def versions(self) -> Generator[Version]:
        """Yield every version, also those between the wanted ones, each after its base."""
        for root in self._children[None]:
            with closing(Scratch(max(self._sizes(root)))) as content:
                try:
                    at = 0
                    for block in self._store.blocks(root):
                        content.write_at(at, block)
                        at += len(block)
                    content.resize(at)
                except DamageError as error:
                    self._lose(root, error)
                    continue
                yield Version(root, None, content, None, self._branches(root))
                yield from self._below(root, content)

    def _sizes(self, name: str) -> Iterator[int]:
        """Yield how large the content of a tree gets."""
        left = [name]
        while left:
            name = left.pop()
            yield self._infos[name].size
            left += self._children.get(name, [])

    def _branches(self, name: str) -> bool:
        return len(self._children.get(name, [])) > 1

    def _lose(self, name: str, error: DamageError) -> None:
        left = [name]
        while left:
            name = left.pop()
            self.damaged[name] = error.message
            left += self._children.get(name, [])

    def _below(self, name: str, content: Scratch) -> Iterator[Version]:
        """Yield what stands on a version, which `content` holds; afterwards it may hold anything."""
        while children := self._children.get(name):
            *others, last = children
            for other in others:
                with content.undone():
                    yield from self._child(name, other, content)
            try:
                yield from self._step(name, last, content)
            except DamageError as error:
                self._lose(last, error)
                return
            name = last

    def _child(self, base: str, name: str, content: Scratch) -> Iterator[Version]:
        try:
            yield from self._step(base, name, content)
        except DamageError as error:
            self._lose(name, error)
            return
        yield from self._below(name, content)

    def _step(self, base: str, name: str, content: Scratch) -> Iterator[Version]:
        """Make the next version out of its base where it lies."""
        if not self._store.payload_is_sound(name):
            raise DamageError(f"object {name} is damaged: its bytes have another CRC-32")
        changed = chains.step(self._store, name, content, base)
        yield Version(name, base, content, changed, self._branches(name))


def copy_out(store: ObjectStore, wanted: Mapping[Path, str]) -> None:
    """Make each path hold an object, its SHA-256 compared; what their chains share is done once."""
    walk = Walk(store, wanted.values())
    left = dict(wanted)
    with closing(walk.versions()) as versions:
        for version in versions:
            for path in [path for path, name in left.items() if name == version.name]:
                write_out(version, path)
                del left[path]
            if not left:
                return
    raise DamageError(next(walk.damaged[name] for name in left.values()))


def compare(version: Version, take: Callable[[bytes], object] = len) -> None:
    """Give the content of a version to `take`, block by block; DamageError if its SHA-256 is another."""
    digest = hashlib.sha256()
    for at in range(0, version.content.size, BLOCK):
        block = version.content.read_at(at, BLOCK)
        digest.update(block)
        take(block)
    if digest.hexdigest() != version.name:
        raise DamageError(f"object {version.name} is damaged: its bytes have another SHA-256")


def write_out(version: Version, path: Path) -> None:
    """Make the file at `path` hold a version; DamageError if its SHA-256 is another."""
    try:
        with path.open("wb", buffering=0) as file:
            compare(version, partial(write_fully, file.fileno()))
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from error
