"""What the canonical encoding promises: same meaning, same bytes; no two meanings share them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import canonical
from tests.hash_by_the_book import book_json, book_message

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_is_encoded_as_the_specification_says(value: Any) -> None:
    parsed = canonical.parse_json(json.dumps(value).encode())
    assert canonical.json_item(parsed) == book_json(value)


@given(json_values, json_values)
def test_different_json_is_encoded_differently(one: Any, other: Any) -> None:
    def written(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    assert (canonical.json_item(one) == canonical.json_item(other)) == (written(one) == written(other))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_unparsable(data: bytes) -> None:
    try:
        canonical.message_item(data)
    except canonical.Unparsable:
        pass
    else:
        assert canonical.message_item(data) == book_message_or_raw(data)


def book_message_or_raw(data: bytes) -> bytes:
    try:
        return book_message(data)
    except ValueError:  # a field 255 that is no JSON
        return canonical.message_item(data)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("18446744073709551616", "1.8446744073709552e19"),
        ("-9223372036854775809", "-9223372036854775809.0"),
        ("1e-5", "0.00001"),
        (' {"a" : 1}\n', '{"a":1}'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('"\\u00e9"', '"é"'),
    ],
)
def test_json_means_what_anki_takes_it_for(text: str, same: str) -> None:
    one, other = (canonical.json_item(canonical.parse_json(data.encode())) for data in (text, same))
    assert one == other


def test_json_may_nest_as_deep_as_anki_reads_it() -> None:
    assert canonical.json_item(canonical.parse_json(b"[" * 127 + b"1" + b"]" * 127))


@pytest.mark.parametrize(
    "text", ["", "NaN", "-Infinity", "1e999", "9" * 400, "{", "\ufeff1", "[" * 128 + "]" * 128, "[" * 90000]
)
def test_what_anki_does_not_take_for_json_is_unparsable(text: str) -> None:
    with pytest.raises(canonical.Unparsable):
        canonical.json_item(canonical.parse_json(text.encode()))
