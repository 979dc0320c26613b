"""One sequence of bytes for everything that means the same: JSON, protobuf, SQL values.

Anki's clients write the same settings with keys in another order, with or without
nulls. Here every value becomes tag, length (8 bytes, big-endian) and content, so no
two values that differ share an encoding. `docs/ARCHITECTURE.md` specifies it; the
encoding is part of content hash v1 and never changes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Collection
from typing import Any

# What Anki's parser takes at most: arrays and objects in each other.
DEEPEST = 127
OTHER = 255
# By wire type: varint, 8 bytes, a length and bytes, 4 bytes; there are no groups in proto3.
TAGS = {0: b"v", 1: b"q", 2: b"b", 5: b"w"}


class Unparsable(Exception):
    """The bytes are not what the column should hold; they are then taken as they are."""


def item(tag: bytes, content: bytes) -> bytes:
    """Return one encoded value: a letter, a length, the content."""
    return tag + len(content).to_bytes(8, "big") + content


NOTHING = item(b"o", b"")


def parse_json(data: bytes) -> Any:
    """Parse JSON as Anki's own parser understands it, or raise Unparsable."""
    try:
        return json.loads(
            data.decode("utf-8"), parse_int=_integer, parse_float=_real, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        raise Unparsable from error


def json_item(value: Any, *, nulls: bool = True, depth: int = 0) -> bytes:
    """Encode parsed JSON, keys sorted by their UTF-8 bytes; without null members unless `nulls`."""

    def inner(member: Any) -> bytes:
        return json_item(member, nulls=nulls, depth=depth + 1)

    match value:
        case None:
            return item(b"n", b"")
        case bool():
            return item(b"t" if value else b"f", b"")
        case int():
            return item(b"i", b"%d" % value)
        case float():
            return item(b"d", struct.pack(">d", value))
        case str():
            return item(b"s", _utf8(value))
        case list() | dict() if depth == DEEPEST:
            raise Unparsable
        case list():
            return item(b"l", b"".join(inner(member) for member in value))
        case dict():
            members = {_utf8(key): member for key, member in value.items() if nulls or member is not None}
            return item(b"o", b"".join(item(b"s", key) + inner(members[key]) for key in sorted(members)))
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON")


def message_item(data: bytes, masked: Collection[int] = ()) -> bytes:
    """Encode a protobuf message: its fields by number, without the `masked` ones.

    Field 255 is where Anki keeps JSON that it doesn't know: it is encoded as JSON
    without nulls, and left out when nothing remains.
    """
    fields = []
    for number, wire_type, content in sorted(split(data), key=lambda field: field[0]):
        if number not in masked:
            encoded = _other(content) if (number, wire_type) == (OTHER, 2) else None
            if encoded is None:
                encoded = item(TAGS[wire_type], content)
            if encoded:
                fields.append(number.to_bytes(4, "big") + encoded)
    return item(b"m", b"".join(fields))


def _other(content: bytes) -> bytes | None:
    """Return field 255 encoded, empty when nothing is in it, None when it is no JSON."""
    try:
        encoded = json_item(parse_json(content), nulls=False)
        return b"" if encoded == NOTHING else encoded
    except Unparsable:
        return None


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    """Split a message into (number, wire type, content); a varint's content is 8 bytes."""
    # https://protobuf.dev/programming-guides/encoding/
    found: list[tuple[int, int, bytes]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Unparsable
        match wire_type:
            case 0:
                value, end = _varint(data, at)
                content = value.to_bytes(8, "big")
            case 1 | 5:
                end = at + (8 if wire_type == 1 else 4)
                content = data[at:end]
            case 2:
                length, at = _varint(data, at)
                end = at + length
                content = data[at:end]
            case _:
                raise Unparsable
        if end > len(data):
            raise Unparsable
        found.append((number, wire_type, content))
        at = end
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise Unparsable


def _integer(digits: str) -> int | float:
    # Outside of 64 bits Anki's parser makes a double of it, and so would a sync.
    value = int(digits) if len(digits) <= 20 else None
    return value if value is not None and -(1 << 63) <= value < 1 << 64 else _real(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("no number of JSON is infinite")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
