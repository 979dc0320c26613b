"""The rows of a table straight from SQLite's pages: which pages hold it, and which rows are on a page.

Only enough of sqlite.org/fileformat2.html, 1.6, to tell which rows may have
changed when some pages did; the rows themselves are read by SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from anki_backup.errors import DamageError

LEAF, INNER = 13, 5
FILE_HEADER = 100

ReadPage = Callable[[int], bytes]


class Tree(NamedTuple):
    """The numbers of the pages that a table's rows are on, and of those that lead there."""

    leaves: frozenset[int]
    inner: frozenset[int]


class Cell(NamedTuple):
    """A row on a page: its rowid, and where the rest of it begins if it is too long for the page."""

    rowid: int
    overflow: int


def tree(read: ReadPage, root: int) -> Tree:
    """Return the pages of a table; DamageError where they make no tree."""
    leaves, inner, left = set(), set(), [root]
    while left:
        number = left.pop()
        page = read(number)
        start = _start(number)
        kind = page[start] if len(page) > start else 0
        if number in inner or number in leaves or kind not in (LEAF, INNER):
            raise DamageError(f"page {number} of the collection is no part of the table that it belongs to")
        if kind == LEAF:
            leaves.add(number)
            continue
        inner.add(number)
        left.append(_number(page, start + 8))
        left += [_number(page, at) for at in _cells(page, start, start + 12)]
    return Tree(frozenset(leaves), frozenset(inner))


def cells(page: bytes, number: int, usable: int) -> Iterator[Cell]:
    """Yield the rows on a leaf of a table."""
    start = _start(number)
    for at in _cells(page, start, start + 8):
        payload, at = _varint(page, at)
        rowid, at = _varint(page, at)
        rowid -= (rowid >> 63) << 64
        local = _local(payload, usable)
        yield Cell(rowid, _number(page, at + local) if local < payload else 0)


def rest(read: ReadPage, first: int) -> list[int]:
    """Return the pages that the rest of a long row is on."""
    pages: list[int] = []
    seen: set[int] = set()
    while first:
        if first in seen:
            raise DamageError("a row of the collection has no end")
        pages.append(first)
        seen.add(first)
        first = _number(read(first), 0)
    return pages


def _start(number: int) -> int:
    return FILE_HEADER if number == 1 else 0


def _local(payload: int, usable: int) -> int:
    """Return how many bytes of a row stand on the leaf itself."""
    most, least = usable - 35, (usable - 12) * 32 // 255 - 23
    if payload <= most:
        return payload
    local = least + (payload - least) % (usable - 4)
    return local if local <= most else least


def _cells(page: bytes, start: int, pointers: int) -> Iterator[int]:
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    if pointers + 2 * count > len(page):
        raise DamageError("a page of the collection has more rows than room")
    for at in range(pointers, pointers + 2 * count, 2):
        yield int.from_bytes(page[at : at + 2], "big")


def _number(page: bytes, at: int) -> int:
    if at + 4 > len(page):
        raise DamageError("a page of the collection points behind its end")
    return int.from_bytes(page[at : at + 4], "big")


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        if at >= len(page):
            raise DamageError("a page of the collection ends in a number")
        byte = page[at]
        at += 1
        if count == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at
