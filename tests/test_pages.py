"""Page deltas: where frames end, and what memory they take, changes nothing of what they say."""

from __future__ import annotations

import pytest

from anki_backup import deltas, pages
from tests.test_deltas import NO_LIMIT, applied, blocks, encode


@pytest.mark.parametrize("count", [0, 1, 5, 10_000])
def test_how_many_changes_are_told_decides_only_where_frames_end(count):
    old, new = b"a" * 6 * 4096, b"b" * 9 * 4096
    changes = list(pages.changed(blocks(old, new)))
    sizes = {"unit": 4096, "old_size": len(old), "new_size": len(new)}
    table, frames = pages.encode(changes, **sizes, count=count, limit=NO_LIMIT, frame_bytes=2 * 4096)
    assert applied(deltas.unpack(table), frames, old, len(new)) == new


def test_memory_is_given_back_before_a_large_frame_is_compressed(monkeypatch):
    pair, given = (b"a" * 8 * 4096, b"b" * 8 * 4096), []
    monkeypatch.setattr(pages.heap, "give_back", lambda: given.append(None))
    small = encode(*pair)
    assert given == []
    monkeypatch.setattr(pages, "LARGE_BYTES", 8 * 4096)
    assert (encode(*pair), len(given)) == (small, 1)
