"""Anki's protobuf messages under their own names: what is in a note type, a deck, its options.

Only for showing what changed; what counts as a change is decided by `content`. A
field that a newer Anki adds is shown by its number. The names are those of Anki's
`proto/anki/*.proto`; a test compares them with the library's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from anki_backup import canonical

# Number, name and type of each field: s text, f float, i signed and u unsigned whole number,
# b yes or no, * any number of them, or the name of a message.
FIELDS = {
    "Notetype.Config": (
        "1:kind:u 2:sort_field_idx:u 3:css:s 4:target_deck_id_unused:i 5:latex_pre:s 6:latex_post:s"
        " 7:latex_svg:b 9:original_stock_kind:u 10:original_id:i"
    ),
    "Notetype.Field.Config": (
        "1:sticky:b 2:rtl:b 3:font_name:s 4:font_size:u 5:description:s 6:plain_text:b 7:collapsed:b"
        " 8:exclude_from_search:b 9:id:i 10:tag:u 11:prevent_deletion:b"
    ),
    "Notetype.Template.Config": (
        "1:q_format:s 2:a_format:s 3:q_format_browser:s 4:a_format_browser:s 5:target_deck_id:i"
        " 6:browser_font_name:s 7:browser_font_size:u 8:id:i"
    ),
    "DeckConfig.Config": (
        "1:learn_steps:f* 2:relearn_steps:f* 3:fsrs_params_4:f* 5:fsrs_params_5:f* 6:fsrs_params_6:f*"
        " 9:new_per_day:u 10:reviews_per_day:u 35:new_per_day_minimum:u 11:initial_ease:f"
        " 12:easy_multiplier:f 13:hard_multiplier:f 14:lapse_multiplier:f 15:interval_multiplier:f"
        " 16:maximum_review_interval:u 17:minimum_lapse_interval:u 18:graduating_interval_good:u"
        " 19:graduating_interval_easy:u 20:new_card_insert_order:u 34:new_card_gather_priority:u"
        " 32:new_card_sort_order:u 30:new_mix:u 33:review_order:u 31:interday_learning_mix:u"
        " 21:leech_action:u 22:leech_threshold:u 23:disable_autoplay:b 24:cap_answer_time_to_secs:u"
        " 25:show_timer:b 38:stop_timer_on_answer:b 41:seconds_to_show_question:f"
        " 42:seconds_to_show_answer:f 36:question_action:u 43:answer_action:u 44:wait_for_audio:b"
        " 26:skip_question_when_replaying_answer:b 27:bury_new:b 28:bury_reviews:b"
        " 29:bury_interday_learning:b 37:desired_retention:f 46:ignore_revlogs_before_date:s"
        " 4:easy_days_percentages:f* 40:historical_retention:f 45:param_search:s"
    ),
    "Deck.Common": "",
    "Deck.KindContainer": "1:normal:Deck.Normal 2:filtered:Deck.Filtered",
    "Deck.Normal": (
        "1:config_id:i 2:extend_new:u 3:extend_review:u 4:description:s 5:markdown_description:b"
        " 6:review_limit:u 7:new_limit:u 8:review_limit_today:Deck.Normal.DayLimit"
        " 9:new_limit_today:Deck.Normal.DayLimit 10:desired_retention:f"
    ),
    "Deck.Normal.DayLimit": "1:limit:u 2:today:u",
    "Deck.Filtered": (
        "1:reschedule:b 2:search_terms:Deck.Filtered.SearchTerm* 3:delays:f* 4:preview_delay:u"
        " 5:preview_hard_secs:u 6:preview_good_secs:u 7:preview_again_secs:u"
    ),
    "Deck.Filtered.SearchTerm": "1:search:s 2:limit:u 3:order:u",
}


def decode(message: str, data: bytes, path: str = "") -> dict[str, Any]:
    """Return what is in a message by dotted name; Unparsable for what is none.

    What the field of a name should not hold comes as the hexadecimal digits of its bytes.
    """
    known = {}
    for field in FIELDS[message].split():
        place, *named = field.split(":")
        known[int(place)] = (named[0], named[1])
    found: dict[str, Any] = {}
    for number, wire_type, content in canonical.split(data):
        if number == canonical.OTHER and wire_type == 2:
            found |= _other(content, path)
            continue
        name, kind = known.get(number, (f"field {number}", ""))
        many = kind.endswith("*")
        for key, value in _values(path + name, kind.rstrip("*"), wire_type, content):
            if many and key in found:
                found[key] = [*_listed(found[key]), *_listed(value)]
            else:
                found[key] = _listed(value) if many else value
    return found


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return JSON by dotted name: objects are opened, all else is a value."""
    if not isinstance(value, dict):
        return {path or "value": value}
    found: dict[str, Any] = {}
    for key, member in value.items():
        found |= flat(member, f"{path}.{key}" if path else key)
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _values(name: str, kind: str, wire_type: int, content: bytes) -> Iterator[tuple[str, Any]]:
    number = int.from_bytes(content, "big")
    if kind in FIELDS and wire_type == 2:
        inner = decode(kind, content)
        yield name, "" if not inner else True
        yield from ((f"{name}.{key}", value) for key, value in inner.items())
    elif kind == "s" and wire_type == 2:
        yield name, content.decode("utf-8", "surrogateescape")
    elif kind == "f" and wire_type in (2, 5) and len(content) % 4 == 0:
        floats = [_short(value) for (value,) in struct.iter_unpack("<f", content)]
        yield name, floats if wire_type == 2 else floats[0]
    elif kind == "b" and wire_type == 0:
        yield name, bool(number)
    elif kind == "i" and wire_type == 0:
        yield name, number - (1 << 64) if number >> 63 else number
    elif wire_type == 0:
        yield name, number
    else:
        yield name, content.hex()


def _short(value: float) -> float | str:
    """Return a 32-bit float as a person would write it: 0.9, not 0.8999999761581421; JSON has no infinity."""
    return float(f"{value:.7g}") if math.isfinite(value) else str(value)


def _other(content: bytes, path: str) -> dict[str, Any]:
    try:
        value = canonical.parse_json(content)
    except canonical.Unparsable:
        return {f"{path}other": content.hex()}
    members = value if isinstance(value, dict) else {"other": value}
    return {f"{path}{key}": member for key, member in flat(members).items() if member is not None}
