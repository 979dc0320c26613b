"""The trees that chains form, and a tour through them that unpacks each step once.

An object that no backup names but that others stand on is a ghost. A tree with a
missing or damaged header is known only as far as it can be read; whatever was
named is remembered, so that nobody takes it for unused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from anki_backup import chains
from anki_backup.errors import DamageError
from anki_backup.header import Info
from anki_backup.objects import ObjectStore
from anki_backup.paged import SOME, PagedFile


class Forest:
    """All objects that the wanted ones stand on, with themselves."""

    def __init__(self, store: ObjectStore, wanted: Iterable[str]) -> None:
        self.store = store
        self.wanted = set(wanted)
        self.infos: dict[str, Info] = {}
        self.spoilt: dict[str, str] = {}
        for name in sorted(self.wanted):
            self._climb(name)
        self.children: dict[str, set[str]] = defaultdict(set)
        for info in self.infos.values():
            if info.base:
                self.children[info.base].add(info.name)

    def _climb(self, name: str | None) -> None:
        while name is not None and name not in self.infos:
            try:
                info = self.store.info(name)
            except DamageError as error:
                self.spoilt[name] = error.message
                return
            self.infos[name] = info
            name = info.base

    @property
    def referenced(self) -> set[str]:
        """Everything that may not be deleted as long as this forest stands as it does."""
        return self.infos.keys() | self.spoilt.keys()

    @property
    def stored_bytes(self) -> int:
        """The bytes of all its files."""
        return sum(info.stored_bytes for info in self.infos.values())

    def roots(self) -> list[str]:
        """Return the whole objects; a chain that is broken or a circle has none, and is never toured."""
        return sorted(name for name, info in self.infos.items() if info.base is None)

    def below(self, name: str) -> list[str]:
        """Return what stands on an object, in the order of the chain."""
        return sorted(self.children.get(name, ()), key=lambda child: (self.infos[child].position, child))

    def preorder(self, root: str) -> Iterator[str]:
        """Yield a tree from its root, each object after its base, in the order in which they were made."""
        pending = [root]
        while pending:
            name = pending.pop()
            yield name
            pending += reversed(self.below(name))

    def ancestors(self, name: str) -> Iterator[str]:
        """Yield an object and all that it stands on."""
        found: str | None = name
        while found is not None:
            yield found
            found = self.infos[found].base

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield every wanted object of a forest of small ones with its content, held in memory only.

        What hangs on damage is left out; the bytes are not hashed.
        """
        for root in self.roots():
            above: list[tuple[str, bytes]] = []
            for name in self.preorder(root):
                info = self.infos[name]
                while above and above[-1][0] != info.base:
                    above.pop()
                data = chains.applied(self.store, name, above[-1][1]) if above else self.store.read(name)
                if name in self.wanted:
                    yield name, data
                # On a straight way down only the last one is needed again.
                if info.base and len(self.children[info.base]) == 1:
                    above.pop()
                above.append((name, data))

    def tour(self, stops: Iterable[str], folder: Path) -> Generator[tuple[str, PagedFile], None, None]:
        """Yield each stop with its content, flushed, in preorder; unpacks no more than that takes.

        It is changed when the tour goes on. The bytes are not hashed: that is for
        who needs them to be right. DamageError ends the tour.
        """
        needed: set[str] = set()
        wanted = set(stops)
        for stop in wanted:
            for name in self.ancestors(stop):
                if name in needed:
                    break
                needed.add(name)
        for root in self.roots():
            if root in needed:
                with closing(PagedFile(folder / "tour", SOME)) as content:
                    for block in self.store.unproven(root):
                        content.append(block)
                    yield from self._follow(root, content, needed, wanted)
                content.path.unlink(missing_ok=True)

    def _follow(
        self, name: str, content: PagedFile, needed: set[str], wanted: set[str], depth: int = 0
    ) -> Iterator[tuple[str, PagedFile]]:
        while True:
            # Before the caller sees the stop: it may go and express it anew.
            names = [child for child in self.below(name) if child in needed]
            if name in wanted:
                content.flush()
                yield name, content
            if not names:
                return
            for branch in names[:-1]:
                with closing(content.copied(content.path.with_name(f"branch-{depth}"))) as copy:
                    chains.step(self.store, branch, copy)
                    yield from self._follow(branch, copy, needed, wanted, depth + 1)
                copy.path.unlink(missing_ok=True)
            name = names[-1]
            chains.step(self.store, name, content)
