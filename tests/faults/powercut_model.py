"""A file system in which memory and disk are separate, and all that a power cut may leave.

Names and bytes change in memory at once. They reach the disk when they are synced: a
file's bytes by fsync of the file, a directory's names by fsync of the directory, both
of everything by syncfs. What is not synced may have arrived or not, which is what
`states` spells out. With a journal, as ext4 has one, any sync also commits all earlier
name changes in their order; POSIX alone promises no such thing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

SECTOR = 512


@dataclass(frozen=True)
class Edit:
    """A change of a file's bytes: `data` written at `at`, or a cut or growth to `at` bytes."""

    at: int
    data: bytes | None = None

    def apply(self, content: bytes) -> bytes:
        """Return the content after the change; holes read as zeros."""
        padded = content + bytes(max(0, self.at - len(content)))
        if self.data is None:
            return padded[: self.at]
        return padded[: self.at] + self.data + padded[self.at + len(self.data) :]


@dataclass(frozen=True)
class Entry:
    """What stands at one path of a state: a directory, a file or a symbolic link."""

    kind: str
    mode: int
    content: bytes = b""
    mtime_ns: int | None = None


# A state: every path below the top, which is b"", and what stands there.
Tree = dict[bytes, Entry]


@dataclass
class Node:
    """A file, directory or link, as memory and as the disk knows it."""

    kind: str
    mode: int
    memory: bytes = b""
    disk: bytes = b""
    pending: list[Edit] = field(default_factory=list)
    names: dict[bytes, int] = field(default_factory=dict)
    names_on_disk: dict[bytes, int] = field(default_factory=dict)
    mtime_ns: int | None = None
    mtime_on_disk: int | None = None

    def replayed(self, edits: list[Edit]) -> bytes:
        """Return the bytes if of the unsynced edits only these had arrived."""
        content = self.disk
        for edit in edits:
            content = edit.apply(content)
        return content


@dataclass(frozen=True, eq=False)
class NameChange:
    """One call's changes of names: (directory, name, the node it now names or None)."""

    text: str
    sets: tuple[tuple[int, bytes, int | None], ...]

    def apply(self, names: Mapping[int, dict[bytes, int]]) -> None:
        """Do the change to the names of directories, all of it at once."""
        for directory, name, node in self.sets:
            if node is None:
                names[directory].pop(name, None)
            else:
                names[directory][name] = node


class Model:
    """The tree below one directory; paths are bytes, relative to it."""

    def __init__(self, base: Path, *, journal: bool) -> None:
        self.journal = journal
        self.nodes: dict[int, Node] = {}
        self.changes: list[NameChange] = []
        self.top = self._load(os.fsencode(base))

    def add(self, node: Node) -> int:
        """Take in a node that has no name yet and return its number."""
        self.nodes[len(self.nodes) + 1] = node
        return len(self.nodes)

    def _load(self, path: bytes) -> int:
        status = os.lstat(path)
        mode = status.st_mode & 0o7777
        if os.path.islink(path):
            return self.add(Node("link", mode, disk=os.readlink(path), memory=os.readlink(path)))
        if not os.path.isdir(path):
            content = Path(os.fsdecode(path)).read_bytes()
            time = status.st_mtime_ns
            return self.add(Node("file", mode, content, content, mtime_ns=time, mtime_on_disk=time))
        node = Node("directory", mode)
        number = self.add(node)
        for name in sorted(os.listdir(path)):
            node.names[name] = node.names_on_disk[name] = self._load(os.path.join(path, name))
        return number

    def find(self, path: bytes) -> int | None:
        """Return the node that memory has at a path, or None."""
        number = self.top
        for part in path.split(b"/"):
            if part in (b"", b"."):
                continue
            found = self.nodes[number].names.get(part)
            if found is None:
                return None
            number = found
        return number

    def place(self, path: bytes) -> tuple[int, bytes] | None:
        """Return the directory that a path's last name is in, and that name."""
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        directory = self.find(above)
        return None if directory is None else (directory, name)

    def rename(self, text: str, *sets: tuple[int, bytes, int | None]) -> None:
        """Change names in memory, together; the disk hears of it at a sync."""
        change = NameChange(text, sets)
        change.apply({number: node.names for number, node in self.nodes.items()})
        self.changes.append(change)

    def edit(self, number: int, edit: Edit) -> None:
        """Change a file's bytes in memory."""
        node = self.nodes[number]
        node.memory = edit.apply(node.memory)
        node.pending.append(edit)
        node.mtime_ns = None

    def sync(self, number: int) -> None:
        """Bring one file's bytes, or one directory's names, to the disk."""
        node = self.nodes[number]
        node.disk, node.pending, node.mtime_on_disk = node.memory, [], node.mtime_ns
        arrived = [
            change
            for change in self.changes
            if self.journal or any(directory == number for directory, _, _ in change.sets)
        ]
        disk = {each: node.names_on_disk for each, node in self.nodes.items()}
        for change in arrived:
            change.apply(disk)
        self.changes = [change for change in self.changes if change not in arrived]

    def sync_all(self) -> None:
        """Bring everything to the disk."""
        for number in list(self.nodes):
            self.sync(number)

    def now(self) -> Tree:
        """Return the tree as memory has it: what a killed process leaves behind."""
        return self._tree(self._names(self.changes), lambda node: node.memory)

    def states(self) -> Iterator[tuple[str, Tree]]:
        """Yield every state that the disk may be in, with what arrived and what did not."""
        every, none = self._names(self.changes), self._names([])
        yield "everything arrived", self.now()
        yield "only what was synced", self._tree(none, lambda node: node.disk)
        yield "all names, synced bytes", self._tree(every, lambda node: node.disk)
        yield "all names and sizes, unsynced bytes are zeros", self._tree(every, _zeroed)
        yield "all bytes, synced names", self._tree(none, lambda node: node.memory)
        yield from self._name_states()
        for number, node in self.nodes.items():
            if node.kind == "file" and node.pending:
                for what, content in _byte_states(node):
                    yield f"{what} of node {number}", self._tree(every, _one(node, content))

    def _name_states(self) -> Iterator[tuple[str, Tree]]:
        """Yield states in which name changes are missing: one of them, or all after one."""
        for k, change in enumerate(self.changes):
            made = {node for _, _, node in change.sets if node is not None}
            later = self.changes[k + 1 :]
            moved_on = any(node in made for other in later for _, _, node in other.sets)
            if not moved_on:
                names = self._names(self.changes[:k] + later)
                yield f"all but {change.text}", self._tree(names, lambda node: node.memory)
            names = self._names(self.changes[: k + 1])
            yield f"names up to {change.text}, synced bytes", self._tree(names, lambda node: node.disk)
            yield f"names up to {change.text}, all bytes", self._tree(names, lambda node: node.memory)

    def _names(self, arrived: list[NameChange]) -> dict[int, dict[bytes, int]]:
        names = {number: dict(node.names_on_disk) for number, node in self.nodes.items()}
        for change in arrived:
            change.apply(names)
        return names

    def _tree(self, names: dict[int, dict[bytes, int]], content: Callable[[Node], bytes]) -> Tree:
        tree: Tree = {}

        def walk(number: int, path: bytes, above: tuple[int, ...]) -> None:
            node = self.nodes[number]
            data = b"" if node.kind == "directory" else content(node)
            mtime_ns = node.mtime_ns if data is node.memory else node.mtime_on_disk
            tree[path] = Entry(node.kind, node.mode, data, mtime_ns)
            if number not in above:
                for name, child in names[number].items():
                    walk(child, path + b"/" + name if path else name, (*above, number))

        walk(self.top, b"", ())
        return tree


def _zeroed(node: Node) -> bytes:
    edits = [Edit(edit.at, bytes(len(edit.data)) if edit.data is not None else None) for edit in node.pending]
    return node.replayed(edits)


def _one(chosen: Node, content: bytes) -> Callable[[Node], bytes]:
    return lambda node: content if node is chosen else node.memory


def _byte_states(node: Node) -> Iterator[tuple[str, bytes]]:
    """Yield what one file may hold when only its own unsynced bytes suffer."""
    yield "lost bytes", node.disk
    writes = [k for k, edit in enumerate(node.pending) if edit.data]
    if writes:
        k = writes[-1]
        last = node.pending[k]
        data = last.data or b""
        half = len(data) // 2 // SECTOR * SECTOR or len(data) // 2
        yield (
            "torn last write",
            node.replayed([*node.pending[:k], Edit(last.at, data[:half]), *node.pending[k + 1 :]]),
        )
    if len(writes) > 1:
        k = writes[-2]
        yield "last write without the one before", node.replayed(node.pending[:k] + node.pending[k + 1 :])


@lru_cache(maxsize=4096)
def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def digest(tree: Tree) -> bytes:
    """Return what is equal for equal states, apart from times."""
    whole = hashlib.sha256()
    for path in sorted(tree):
        entry = tree[path]
        whole.update(_hash(path) + entry.kind.encode() + _hash(entry.content))
    return whole.digest()


def build(tree: Tree, target: Path) -> None:
    """Make a state real in a directory that does not exist yet."""
    for path in sorted(tree):
        entry, full = tree[path], os.path.join(os.fsencode(target), path) if path else os.fsencode(target)
        if entry.kind == "directory":
            os.mkdir(full, entry.mode | 0o700)
        elif entry.kind == "link":
            os.symlink(entry.content, full)
        else:
            with open(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, entry.mode), "wb") as file:
                file.write(entry.content)
            if entry.mtime_ns is not None:
                os.utime(full, ns=(entry.mtime_ns, entry.mtime_ns))
