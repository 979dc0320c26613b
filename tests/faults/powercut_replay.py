"""Replay what a command did into the model of a file system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.powercut_log import DESCRIPTOR, Descriptors, Done, Open, done, text
from tests.faults.powercut_model import Edit, Model, Node, Tree

TIME = re.compile(r"tv_sec=(-?\d+), tv_nsec=(\d+)")
OFFSET = re.compile(r"\[(\d+)\]")
SOURCE = re.compile(r"src_fd=([^,]*), src_offset=(\d+), src_length=(\d+), dest_offset=(\d+)")
# Calls that change no tree, only what later calls mean.
QUIET = frozenset({"lseek", "close", "chdir", "fchdir", "dup", "dup2", "dup3", "fcntl", "execve"})


class Replay:
    """A model, fed with the calls of one log; `root` is where the run's tree stood."""

    def __init__(self, log: str, base: Path, root: Path, *, journal: bool) -> None:
        self.model = Model(base, journal=journal)
        self.root = self.cwd = os.fsencode(root)
        self.calls = list(done(log))
        self.descriptors = Descriptors(self.calls)
        self._handlers: dict[str, Callable[[Done], bool]] = {
            **dict.fromkeys(["open", "openat", "openat2", "creat"], self._open),
            **dict.fromkeys(["write", "pwrite64", "writev", "pwritev", "pwritev2"], self._write),
            **dict.fromkeys(["sendfile", "copy_file_range"], self._copy),
            **dict.fromkeys(["truncate", "ftruncate", "fallocate"], self._resize),
            **dict.fromkeys(["fsync", "fdatasync"], self._sync),
            **dict.fromkeys(["sync", "syncfs"], self._sync_all),
            **dict.fromkeys(["rename", "renameat", "renameat2", "link", "linkat"], self._rename),
            **dict.fromkeys(["unlink", "unlinkat", "rmdir"], self._unlink),
            **dict.fromkeys(["mkdir", "mkdirat", "symlink", "symlinkat"], self._make),
            **dict.fromkeys(["dup", "dup2", "dup3", "fcntl"], self._duplicate),
            **dict.fromkeys(["close", "execve"], self._close),
            **dict.fromkeys(["chdir", "fchdir"], self._change_directory),
            "lseek": self._seek,
            "utimensat": self._touch,
            "ioctl": self._share,
        }

    def run(self) -> Iterator[tuple[str, str, Tree]]:
        """Yield (moment, state, tree): every state before each call that changes the tree.

        When it is exhausted, the model holds the tree as the run left it.
        """
        for call in self.calls:
            before = list(self.model.states()) if self._may_change(call) else []
            handle = self._handlers.get(call.name)
            if handle and handle(call):
                for state, tree in before:
                    yield f"before {call.name} ({call.number})", state, tree

    def _may_change(self, call: Done) -> bool:
        if call.name in QUIET:
            return False
        inside = "".join(f"\\x{byte:02x}" for byte in self.root)
        # A path without a leading slash counts from a directory that is in the tree, maybe.
        return inside in call.words or call.name == "sync" or not re.search(r'"\\x2f', call.words)

    # What paths and descriptors mean

    def _inside(self, full: bytes) -> bytes | None:
        """Return a path relative to the tree's top, or None when it is outside."""
        if full == self.root:
            return b""
        return full[len(self.root) + 1 :] if full.startswith(self.root + b"/") else None

    def _path(self, quoted: str, at: str = "") -> bytes:
        """Return the whole path of a name that counts from the directory `at`, or from the cwd."""
        found = DESCRIPTOR.match(at)
        start = text(found[2]) if found and found[2] else self.cwd
        return os.path.normpath(os.path.join(start, text(quoted)))

    def _node(self, full: bytes) -> int | None:
        inside = self._inside(full)
        return None if inside is None else self.model.find(inside)

    def _place(self, full: bytes) -> tuple[int, bytes] | None:
        inside = self._inside(full)
        return self.model.place(inside) if inside else None

    def _file(self, call: Done, word: str) -> Open:
        """Return the open file that a descriptor argument means."""
        found = DESCRIPTOR.match(word)
        if found is None or not found[1].isdigit():
            return Open(None, b"")
        table = self.descriptors.of(call.tid)
        if int(found[1]) not in table:
            path = text(found[2]) if found[2] and not found[3] else b""
            table[int(found[1])] = Open(self._node(path), path)
        return table[int(found[1])]

    def _name(self, full: bytes) -> str:
        inside = self._inside(full)
        return os.fsdecode(full if inside is None else inside)

    # What calls do: each handler tells whether it changed the tree

    def _open(self, call: Done) -> bool:
        full, node = call.result_path, self._node(call.result_path)
        create = call.name == "creat" or "O_CREAT" in call.words
        truncate = call.name == "creat" or "O_TRUNC" in call.words
        place = self._place(full)
        changed = False
        if node is None and create and place:
            mode = re.search(r"\b0[0-7]{3,4}\b", call.arguments[-1])
            node = self.model.add(Node("file", int(mode[0], 8) & 0o700 if mode else 0o600))
            self.model.rename(f"create {self._name(full)}", (*place, node))
            changed = True
        elif node is not None and truncate and self.model.nodes[node].memory:
            self.model.edit(node, Edit(0))
            changed = True
        self.descriptors.of(call.tid)[call.result] = Open(node, full, "O_APPEND" in call.words)
        return changed

    def _put(self, file: Open, data: bytes, at: int | None) -> bool:
        """Write at a place, or at the file's own position, which then moves on."""
        if file.node is None or self.model.nodes[file.node].kind != "file":
            return False
        if at is None:
            at = len(self.model.nodes[file.node].memory) if file.append else file.offset
            file.offset = at + len(data)
        if data:
            self.model.edit(file.node, Edit(at, data))
        return bool(data)

    def _write(self, call: Done) -> bool:
        file = self._file(call, call.arguments[0])
        if call.name in ("write", "pwrite64"):
            data = text(call.arguments[1])[: call.result]
        else:
            data = b"".join(map(text, re.findall(r'iov_base="([^"]*)"', call.words)))[: call.result]
        at = {"pwrite64": -1, "pwritev": -1, "pwritev2": -2}.get(call.name)
        return self._put(file, data, None if at is None else int(call.arguments[at]))

    def _taken(self, file: Open, at: int, length: int) -> bytes:
        """Return bytes that no log holds: a call moved them inside the kernel."""
        if file.node is not None:
            return self.model.nodes[file.node].memory[at : at + length]
        with open(os.fsdecode(file.path), "rb") as source:
            source.seek(at)
            return source.read(length)

    def _copy(self, call: Done) -> bool:
        if call.name == "sendfile":
            target, source, source_at, target_at = (*call.arguments[:3], "NULL")
        else:
            source, source_at, target, target_at = call.arguments[:4]
        into, out = self._file(call, target), self._file(call, source)
        if into.node is None and out.node is None:
            return False
        given = OFFSET.match(source_at)
        at = int(given[1]) if given else out.offset
        if not given:
            out.offset += call.result
        to = OFFSET.match(target_at)
        if into.node is None:
            return False
        return self._put(into, self._taken(out, at, call.result), int(to[1]) if to else None)

    def _share(self, call: Done) -> bool:
        """FICLONE and FICLONERANGE: bytes of one file become another's, in no write."""
        if "FICLONE" not in call.arguments[1]:
            return False
        into = self._file(call, call.arguments[0])
        found = SOURCE.search(call.words)
        source, at, length, to = found.groups() if found else (call.arguments[2], "0", "0", "0")
        if into.node is None:
            return False
        whole = int(length) or 1 << 62
        return self._put(into, self._taken(self._file(call, source), int(at), whole), int(to))

    def _resize(self, call: Done) -> bool:
        by_path = call.name == "truncate"
        node = (
            self._node(self._path(call.arguments[0])) if by_path else self._file(call, call.arguments[0]).node
        )
        if node is None:
            return False
        if call.name != "fallocate":
            self.model.edit(node, Edit(int(call.arguments[1])))
            return True
        end = int(call.arguments[2]) + int(call.arguments[3])
        if call.arguments[1] != "0" or end <= len(self.model.nodes[node].memory):
            return False
        self.model.edit(node, Edit(end))
        return True

    def _sync(self, call: Done) -> bool:
        node = self._file(call, call.arguments[0]).node
        if node is not None:
            self.model.sync(node)
        return node is not None

    def _sync_all(self, call: Done) -> bool:
        path = self._file(call, call.arguments[0]).path if call.name == "syncfs" else b"/"
        # A descriptor that is neither in the tree nor above it may be of another file system.
        ours = self._inside(path) is not None or self.root.startswith(path.rstrip(b"/") + b"/")
        if ours:
            self.model.sync_all()
        return ours

    def _rename(self, call: Done) -> bool:
        words = call.arguments
        if call.name in ("rename", "link"):
            old, new = self._path(words[0]), self._path(words[1])
        else:
            old, new = self._path(words[1], words[0]), self._path(words[3], words[2])
        node, source, target = self._node(old), self._place(old), self._place(new)
        if target is None:
            if source and node is not None and call.name.startswith("rename"):
                self.model.rename(f"move {self._name(old)} away", (*source, None))
                return True
            return False
        if node is None:
            return False
        sets: list[tuple[int, bytes, int | None]] = [(*target, node)]
        if call.name.startswith("rename") and source:
            sets.insert(0, (*source, self._node(new) if "RENAME_EXCHANGE" in call.words else None))
        self.model.rename(f"{call.name} {self._name(old)} -> {self._name(new)}", *sets)
        return True

    def _unlink(self, call: Done) -> bool:
        words = call.arguments
        full = self._path(words[1], words[0]) if call.name == "unlinkat" else self._path(words[0])
        place = self._place(full)
        if place is None or self._node(full) is None:
            return False
        self.model.rename(f"{call.name} {self._name(full)}", (*place, None))
        return True

    def _make(self, call: Done) -> bool:
        words = call.arguments
        index = {"mkdir": 0, "mkdirat": 1, "symlink": 1, "symlinkat": 2}[call.name]
        full = self._path(words[index], words[index - 1] if call.name.endswith("at") else "")
        place = self._place(full)
        if place is None:
            return False
        node = Node("directory", 0o700)
        if call.name.startswith("symlink"):
            node = Node("link", 0o777, text(words[0]), text(words[0]))
        self.model.rename(f"{call.name} {self._name(full)}", (*place, self.model.add(node)))
        return True

    def _duplicate(self, call: Done) -> bool:
        if call.name != "fcntl" or "F_DUPFD" in call.arguments[1]:
            self.descriptors.of(call.tid)[call.result] = self._file(call, call.arguments[0])
        return False

    def _close(self, call: Done) -> bool:
        if call.name == "execve":
            self.descriptors.forget(call.tid)
        elif found := DESCRIPTOR.match(call.arguments[0]):
            self.descriptors.of(call.tid).pop(int(found[1]), None)
        return False

    def _change_directory(self, call: Done) -> bool:
        where = call.arguments[0]
        self.cwd = self._path(where) if call.name == "chdir" else self._path('""', where)
        return False

    def _touch(self, call: Done) -> bool:
        """Set the time of a file; one that is set to now, or not known, stays unknown."""
        times = TIME.findall(call.words)
        if call.arguments[1] == "NULL":
            node = self._file(call, call.arguments[0]).node
        else:
            node = self._node(self._path(call.arguments[1], call.arguments[0]))
        if node is not None and len(times) == 2:
            self.model.nodes[node].mtime_ns = int(times[1][0]) * 10**9 + int(times[1][1])
        return False

    def _seek(self, call: Done) -> bool:
        self._file(call, call.arguments[0]).offset = call.result
        return False
