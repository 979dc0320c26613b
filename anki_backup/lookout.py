"""Which notes match, version after version: only rows on pages that changed are looked at again.

A row is all on its leaf and the pages that its rest is on. So where none of these
changed, the row is the same, and a thousand versions cost little more than one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import cast

from anki_backup import collection, leaves
from anki_backup.scratch import Scratch
from anki_backup.walk import Version
from anki_backup.window import looking

SCHEMA_COOKIE = slice(40, 44)

Matches = Callable[[int, str, str, str], bool]


class _Places:
    """Where the rows of notes are, in one version."""

    def __init__(self, content: Scratch) -> None:
        head = content.read_at(0, 100)
        size = int.from_bytes(head[16:18], "big")
        self.page = 65536 if size == 1 else size
        self.usable = self.page - head[20]
        self.cookie = bytes(head[SCHEMA_COOKIE])
        with looking(content) as db:
            self.root = cast(
                int, db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'notes'").get or 0
            )
        self.tree = leaves.Tree(frozenset(), frozenset())
        self.rows: dict[int, list[int]] = {}
        self.rests: dict[int, list[int]] = {}
        self.owner: dict[int, int] = {}
        self.move(content, set())

    def copy(self) -> _Places:
        """Return the same places, for a branch."""
        other = object.__new__(_Places)
        other.__dict__ = {
            name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()
        }
        return other

    def move(self, content: Scratch, changed: set[int]) -> set[int]:
        """Go to the version that `content` holds now; return the rows that may be others."""

        def read(number: int) -> bytes:
            return content.read_at((number - 1) * self.page, self.page)

        before = self.tree
        if not before.leaves or changed & (before.inner | {self.root}):
            self.tree = leaves.tree(read, self.root) if self.root else before
        anew = (self.tree.leaves - before.leaves) | (changed & self.tree.leaves)
        old = (before.leaves - self.tree.leaves) | (changed & before.leaves)
        touched = {self.owner[page] for page in changed & self.owner.keys()}
        for number in old:
            for row in self.rows.pop(number, []):
                touched.add(row)
                for page in self.rests.pop(row, []):
                    self.owner.pop(page, None)
        # Those whose rest changed but whose leaf did not: it may lead elsewhere now.
        for row in touched & self.rests.keys():
            self._follow(read, row, self.rests[row][0])
        for number in anew:
            found = list(leaves.cells(read(number), number, self.usable))
            self.rows[number] = [cell.rowid for cell in found]
            touched.update(self.rows[number])
            for cell in found:
                if cell.overflow:
                    self._follow(read, cell.rowid, cell.overflow)
        return touched

    def _follow(self, read: leaves.ReadPage, row: int, first: int) -> None:
        """Note which pages the rest of a long row is on."""
        self.rests[row] = leaves.rest(read, first)
        self.owner.update(dict.fromkeys(self.rests[row], row))

    def numbers(self, changed: Iterable[tuple[int, int]]) -> set[int]:
        """Return the numbers of the pages at these places."""
        return {
            number
            for at, count in changed
            for number in range(at // self.page + 1, (at + count - 1) // self.page + 2)
        }


class Lookout:
    """Follows the notes of one walk for which `matches(id, guid, tags, fields)` holds."""

    def __init__(self, matches: Matches, seen: Callable[[int, str], object]) -> None:
        """`seen` is told the id and the fields of every note that matches, in each form that it had."""
        self._matches = matches
        self._seen = seen
        self._kept: dict[str, tuple[_Places, set[int]]] = {}
        self._name: str | None = None
        self._places: _Places | None = None
        self._matching: set[int] = set()

    def see(self, version: Version) -> set[int]:
        """Return the notes that match in the next version of the walk; the set is only lent."""
        if version.base is not None and self._name != version.base:
            kept = self._kept.get(version.base)  # none where that could not be read
            self._places, self._matching = (kept[0].copy(), set(kept[1])) if kept else (None, set())
        self._name = None
        places_before = self._places if version.base is not None else None
        cookie = version.content.read_at(0, 100)[SCHEMA_COOKIE]
        if places_before is None or version.changed is None or cookie != places_before.cookie:
            self._places, self._matching = _Places(version.content), set()
            self._look(version.content, None)
        else:
            changed = places_before.numbers(version.changed)
            self._look(version.content, places_before.move(version.content, changed))
        self._name = version.name
        if version.branches and self._places:
            self._kept[version.name] = (self._places.copy(), set(self._matching))
        return self._matching

    def all_notes(self) -> set[int]:
        """Return every note of the version that was seen last, whether it matches or not."""
        return {row for rows in self._places.rows.values() for row in rows} if self._places else set()

    def _look(self, content: Scratch, rows: Collection[int] | None) -> None:
        """Read these rows of notes, or all, and note which match."""
        if (rows is not None and not rows) or not self._places or not self._places.root:
            return
        query = "SELECT id, CAST(guid AS BLOB), CAST(tags AS BLOB), CAST(flds AS BLOB) FROM notes"
        values: tuple[str, ...] = ()
        if rows is not None:
            query, values = f"{query} WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(rows)),)
        matching = set()
        with looking(content) as db:
            for note, *texts in db.execute(query, values):
                row = cast(int, note)
                guid, tags, fields = map(collection.text, texts)
                if self._matches(row, guid, tags, fields):
                    matching.add(row)
                    self._seen(row, fields)
        self._matching -= set(rows or ())
        self._matching |= matching
