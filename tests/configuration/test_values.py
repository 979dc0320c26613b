"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from anki_backup.values import duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("48h", timedelta(hours=48)),
        ("10m", timedelta(minutes=10)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta()),
        ("1h30m", timedelta(minutes=90)),
        ("1d 12h", timedelta(hours=36)),
    ],
)
def test_a_duration_is_numbers_with_units(text, length):
    assert duration(text) == length
    assert duration(text).text == text


@pytest.mark.parametrize(
    "text", ["", "5", "h", "-1h", "1.5h", "1 h", "1y", "1H", "٣h", "1h\n", "9" * 50 + "d", "365001d", "1h,2m"]
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="expects a duration"):
        duration(text)
