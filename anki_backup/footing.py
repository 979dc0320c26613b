"""What deltas are made over when objects are expressed anew.

A delta that was made is unpacked there, which turns the content into what the delta
stands for: the SHA-256 of that proves it, and the next delta is made over it.
"""

from __future__ import annotations

from pathlib import Path

from anki_backup import chains, deltas, medialist
from anki_backup.deposit import Encoded, delta_of, readable
from anki_backup.errors import DamageError
from anki_backup.objects import ObjectStore
from anki_backup.paged import LITTLE, PagedFile


class Footing:
    """A content, the object `name`, in a file at `path`: deltas of others over it are made and proved."""

    def __init__(self, path: Path) -> None:
        self.name: str | None = None
        self._path = path
        self._content: PagedFile | None = None

    @property
    def content(self) -> PagedFile:
        assert self._content, "there is something to stand on"
        return self._content

    def _begin(self, content: PagedFile) -> PagedFile:
        self.close()
        self._content = content
        return content

    def copy(self, name: str, content: PagedFile) -> None:
        """Stand on another content; its SHA-256 is compared."""
        compare(name, content)
        self._begin(content.copied(self._path, LITTLE))
        self.name = name

    def unpack(self, store: ObjectStore, root: str) -> None:
        """Stand on a whole object."""
        content = self._begin(PagedFile(self._path, LITTLE))
        for block in store.blocks(root):
            content.append(block)
        self.name = root

    def delta(self, content: PagedFile, limit: int) -> Encoded | None:
        """Return the delta of a collection."""
        return delta_of(self.content.path, content.path, self.content.size, content.size, limit)

    def list_delta(self, content: PagedFile, limit: int) -> Encoded | None:
        """Return the delta of a list of media."""
        encoded = medialist.list_delta(self.content.path.read_bytes(), content.path.read_bytes())
        fits = sum(map(len, encoded[1])) <= limit and content.size <= deltas.FRAME_LIMIT
        return readable(encoded) if fits else None

    def turn(self, name: str, size: int, encoded: Encoded) -> None:
        """Unpack a delta over this; the SHA-256 of what comes out is compared."""
        self.name = None
        chains.turn(self.content, deltas.unpack(encoded[0]), encoded[1], size)
        self.content.flush()
        compare(name, self.content)
        self.name = name

    def close(self) -> None:
        if self._content:
            self._content.close()
            self._content = self.name = None


def compare(name: str, content: PagedFile) -> None:
    """Compare the SHA-256 of a content with what it has to be, before anything rests on it."""
    if chains.digest_of(content.path) != name:
        raise DamageError(f"object {name} did not unpack to what it stands for: it was left as it is")
