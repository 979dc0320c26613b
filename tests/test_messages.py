"""The names of Anki's protobuf fields are Anki's own, and every value comes out as it went in."""

from __future__ import annotations

from typing import Any

import pytest
from anki.deck_config_pb2 import DeckConfig
from anki.decks_pb2 import Deck
from anki.notetypes_pb2 import Notetype

from anki_backup import canonical, messages

LETTERS = {1: "f", 2: "f", 3: "i", 4: "u", 5: "u", 8: "b", 9: "s", 13: "u", 14: "u"}
CLASSES = {
    "Notetype.Config": Notetype.Config,
    "Notetype.Field.Config": Notetype.Field.Config,
    "Notetype.Template.Config": Notetype.Template.Config,
    "DeckConfig.Config": DeckConfig.Config,
    "Deck.KindContainer": Deck.KindContainer,
    "Deck.Normal": Deck.Normal,
    "Deck.Normal.DayLimit": Deck.Normal.DayLimit,
    "Deck.Filtered": Deck.Filtered,
    "Deck.Filtered.SearchTerm": Deck.Filtered.SearchTerm,
}
# `reqs` follows from the templates.
LEFT_OUT = {("Notetype.Config", "reqs")}


def kind(field: Any) -> str:
    named = field.message_type.full_name.split(".", 2)[-1] if field.message_type else LETTERS.get(field.type)
    return f"{named}{'*' * field.is_repeated}"


@pytest.mark.parametrize("message", CLASSES)
def test_every_field_has_the_name_and_type_that_anki_gives_it(message):
    ours = set(messages.FIELDS[message].split())
    theirs = {
        f"{field.number}:{field.name}:{kind(field)}"
        for field in CLASSES[message].DESCRIPTOR.fields
        if field.number != canonical.OTHER and (message, field.name) not in LEFT_OUT
    }
    assert ours == theirs


def test_values_come_out_as_they_went_in():
    config = DeckConfig.Config(
        learn_steps=[1, 10.5],
        fsrs_params_6=[0.4072, 1.1829],
        desired_retention=0.9,
        new_per_day=7,
        bury_new=True,
        param_search="deck:a",
        other=b'{"addon": {"b": [1, null]}, "none": null}',
    )
    assert messages.decode("DeckConfig.Config", config.SerializeToString()) == {
        "learn_steps": [1.0, 10.5],
        "fsrs_params_6": [0.4072, 1.1829],
        "desired_retention": 0.9,
        "new_per_day": 7,
        "bury_new": True,
        "param_search": "deck:a",
        "addon.b": [1, None],
    }


def test_messages_in_messages_have_dotted_names():
    kind = Deck.KindContainer(filtered=Deck.Filtered(reschedule=True))
    kind.filtered.search_terms.add(search="is:due", limit=5)
    kind.filtered.search_terms.add(search="tag:x", limit=6)
    found = messages.decode("Deck.KindContainer", kind.SerializeToString())
    assert found["filtered.search_terms.search"] == ["is:due", "tag:x"]
    assert found["filtered.search_terms.limit"] == [5, 6]


def test_what_a_newer_anki_adds_is_shown_by_its_number():
    assert messages.decode("Deck.Normal", b"\xf8\x0a\x05") == {"field 175": 5}
    assert messages.decode("Deck.Normal", b"\x22\x02\xff\xfe") == {"description": "\udcff\udcfe"}


def test_what_is_no_message_is_told():
    with pytest.raises(canonical.Unparsable):
        messages.decode("Deck.Normal", b"\x0f")


@pytest.mark.parametrize("digits, shown", [("7fc00000", "nan"), ("7f800000", "inf"), ("ff800000", "-inf")])
def test_what_json_has_no_number_for_is_shown_in_words(digits, shown):
    short = b"\xad\x02" + bytes.fromhex(digits)[::-1]
    assert messages.decode("DeckConfig.Config", short) == {"desired_retention": shown}
