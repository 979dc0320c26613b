"""Repacking: what stays is expressed anew, so that nothing need be kept only to stand on.

Where backups were removed, deltas stand on objects that no backup names: ghosts.
Each object that stands on a ghost becomes a delta over the wanted one before it in
its tree, or a whole object where there is none, or where a chain would grow too
long. Then its ghosts can go. The content of an object never changes, so its name
stays and no manifest has to know.

The order makes it safe to die anywhere: the new form is unpacked over its base and
the SHA-256 of that compared, then it is written beside the old one, synced, and takes its
name by a rename; only when that is durable a ghost that nothing stands on any more is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from anki_backup import chains
from anki_backup.deposit import Encoded
from anki_backup.footing import Footing, compare
from anki_backup.forest import Forest
from anki_backup.header import HEADER_BYTES
from anki_backup.objects import ObjectStore
from anki_backup.paged import PagedFile

# A ghost at the root is cheaper than a new whole object while so little stands between it and the first.
ROOT_WORTH = 10
AT_ONCE = 8

Advance = Callable[[int], object]


class Task(NamedTuple):
    """One object to express anew: over which other, None for whole, and what may go then."""

    name: str
    base: str | None
    ghosts: tuple[str, ...]


class Repacked(NamedTuple):
    """How many objects were expressed anew, and by how many bytes all objects together shrank."""

    objects: int
    freed_bytes: int


def tasks(forest: Forest) -> Iterator[Task]:
    """Yield what stands on a ghost, in preorder, with the wanted object before it in its tree."""
    for root in forest.roots():
        before: str | None = None
        for name in forest.preorder(root):
            if name not in forest.wanted:
                continue
            ghosts = tuple(_ghosts(forest, name))
            if ghosts and (before is not None or _is_far(forest, ghosts, name)):
                yield Task(name, before, ghosts)
            before = name


def idle_bytes(forest: Forest) -> int:
    """Return the bytes of the ghosts that `repack` would let go, for forms a little larger than now."""
    todo = {task.name: task.ghosts for task in tasks(forest)}
    stay = {
        ghost for name in forest.wanted & forest.infos.keys() - todo.keys() for ghost in _ghosts(forest, name)
    }
    ghosts = {ghost for each in todo.values() for ghost in each} - stay
    return sum(forest.infos[ghost].stored_bytes for ghost in ghosts)


def _ghosts(forest: Forest, name: str) -> Iterator[str]:
    """Yield the ghosts between an object and the nearest wanted one that it stands on."""
    climb = forest.ancestors(name)
    next(climb)
    for base in climb:
        if base in forest.wanted:
            return
        yield base


def _is_far(forest: Forest, ghosts: tuple[str, ...], name: str) -> bool:
    """Say whether the first wanted object stands so far from a root that is a ghost that this can pay."""
    root = forest.infos[ghosts[-1]]
    between = sum(forest.infos[ghost].payload for ghost in (name, *ghosts[:-1]))
    return len(ghosts) > 1 or between * ROOT_WORTH > root.stored_bytes


def _heights(forest: Forest) -> dict[str, int]:
    """Return for each object how many deltas stand above it on the longest way."""
    heights: dict[str, int] = defaultdict(int)
    for root in forest.roots():
        for name in reversed(list(forest.preorder(root))):
            if (base := forest.infos[name].base) is not None:
                heights[base] = max(heights[base], heights[name] + 1)
    return heights


def repack(store: ObjectStore, forest: Forest, folder: Path, lists: bool, advance: Advance) -> Repacked:
    """Express anew what stands on ghosts and delete those; `folder` holds what is unpacked on the way.

    StorageError where there is no room: what was done by then is done, and all is as readable as before.
    """
    return _Repacking(store, forest, folder, lists, advance).go()


class _Repacking:
    def __init__(
        self, store: ObjectStore, forest: Forest, folder: Path, lists: bool, advance: Advance
    ) -> None:
        self.store, self.forest, self.folder, self.lists = store, forest, folder, lists
        self.advance = advance
        self.footing = Footing(folder / "before")
        self.upon: dict[str, set[str]] = defaultdict(
            set, {name: set(found) for name, found in forest.children.items()}
        )
        self.base = {name: info.base for name, info in forest.infos.items()}
        self.stored = {name: info.stored_bytes for name, info in forest.infos.items()}
        self.ways: dict[str, chains.Way] = {}
        self.heights = _heights(forest)
        self.done: list[tuple[str, str | None]] = []
        self.count = self.freed = 0

    def go(self) -> Repacked:
        todo = {task.name: task for task in tasks(self.forest)}
        bases = {task.base for task in todo.values() if task.base}
        try:
            with closing(self.forest.tour({*todo, *bases}, self.folder)) as stops:
                for name, content in stops:
                    if name in todo and todo[name].base in (None, self.footing.name):
                        self._express(todo[name], content)
                    if name in bases and name != self.footing.name:
                        self.footing.copy(name, content)
                    self.advance(1)
        finally:
            self._settle()
            self.footing.close()
        return Repacked(self.count, self.freed)

    def _way(self, name: str) -> chains.Way:
        """Return how long the way back from an object is, in the form that it has now."""
        pending = []
        while name not in self.ways and (base := self.base[name]) is not None:
            pending.append(name)
            name = base
        way = self.ways.setdefault(name, chains.Way(0, 0, self.stored[name]))
        for name in reversed(pending):
            way = self.ways[name] = way.longer(self.stored[name])
        return way

    def _room(self, task: Task) -> int:
        """Return what the old form of an object takes, with its ghosts."""
        return self.stored[task.name] + sum(self.stored[ghost] for ghost in task.ghosts)

    def _express(self, task: Task, content: PagedFile) -> None:
        """Give an object its new form if the old one with its ghosts takes more."""
        if task.base is None:
            # Over the ghost at the root where that is much smaller than a new one.
            self.footing.unpack(self.store, task.ghosts[-1])
        limit = self._limit(task)
        make = self.footing.list_delta if self.lists else self.footing.delta
        encoded = make(content, limit) if limit is not None else None
        if encoded is not None:
            self._keep(task, content.size, encoded)
        elif self._may_be_whole(task):
            compare(task.name, content)
            with open(content.path, "rb", buffering=0) as file:
                blocks = chains.file_blocks(file.fileno(), content.size)
                self.store.put_blocks(task.name, content.size, blocks)
            self._note(task.name, None)

    def _limit(self, task: Task) -> int | None:
        """Return how large a delta over the footing may be, None if no delta may stand there."""
        if task.base is None:
            return self.stored[task.ghosts[-1]] // ROOT_WORTH
        way = self._way(task.base)
        if not way.carries_more() or way.steps + self.heights[task.name] >= chains.STEPS_LIMIT:
            return None
        whole = self.forest.infos[task.name].size if self.lists else way.root
        return min(self._room(task), whole // chains.WORTH)

    def _keep(self, task: Task, size: int, encoded: Encoded) -> None:
        """Prove a delta over the footing, and let it take the place of the old form if it is smaller."""
        name, base = task.name, self.footing.name
        assert base, "it was made over something"
        self.footing.turn(name, size, encoded)
        stored = HEADER_BYTES + 4 + len(encoded[0]) + sum(map(len, encoded[1]))
        if stored >= self._room(task) or (base == self.base[name] and stored >= self.stored[name]):
            return
        position = max(self.forest.infos[name].position, self.forest.infos[base].position + 1)
        chains.put_delta(self.store, name, size, base, position, *encoded)
        self._note(name, base)

    def _may_be_whole(self, task: Task) -> bool:
        """Say whether a whole object may need less than it frees: it is told by the root."""
        root = self.forest.infos[list(self.forest.ancestors(task.name))[-1]]
        return root.name not in self.forest.wanted and root.stored_bytes <= self._room(task)

    def _note(self, name: str, base: str | None) -> None:
        old = self.base[name]
        info = self.store.info(name)
        self.freed += self.stored[name] - info.stored_bytes
        self.stored[name], self.base[name] = info.stored_bytes, base
        if old != base:
            if old is not None:
                self.upon[old].discard(name)
            if base is not None:
                self.upon[base].add(name)
        self.ways.clear()
        self.count += 1
        self.done.append((name, old))
        if len(self.done) >= AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Make the new forms durable, then delete the ghosts that nothing stands on."""
        # Taken first: where the disk refuses to sync them, their ghosts stay.
        done, self.done = self.done, []
        if not done:
            return
        self.store.flush()
        for _, ghost in done:
            while ghost is not None and ghost not in self.forest.wanted and not self.upon[ghost]:
                self.freed += self.store.remove(ghost)
                below, self.base[ghost] = self.base[ghost], None
                if below is not None:
                    self.upon[below].discard(ghost)
                ghost = below
        self.store.settle()
