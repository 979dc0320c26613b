"""Word-level differences: both texts can be had back from the spans, whatever they hold, and fast."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import marked, words
from anki_backup.words import Span, spans


def before(found: list[Span]) -> str:
    return "".join(span.text for span in found if span.op != "add")


def after(found: list[Span]) -> str:
    return "".join(span.text for span in found if span.op != "drop")


TEXTS = st.text(st.sampled_from("ab <>&;é\x1f\n"), max_size=40) | st.text(max_size=30)


@given(TEXTS, TEXTS)
def test_the_spans_hold_both_texts(one, other):
    found = spans(one, other)
    assert (before(found), after(found)) == (one, other)
    assert all(span.text for span in found)
    assert all(a.op != b.op for a, b in pairwise(found))


def test_only_the_words_that_differ_are_told():
    assert spans("the quick brown fox", "the slow brown dog") == [
        Span("keep", "the "),
        Span("drop", "quick"),
        Span("add", "slow"),
        Span("keep", " brown "),
        Span("drop", "fox"),
        Span("add", "dog"),
    ]


def test_a_word_is_never_cut_in_two():
    assert spans("unhappy", "unhappily") == [Span("drop", "unhappy"), Span("add", "unhappily")]
    assert spans("<b>x</b>", "<i>x</i>")[0] == Span("drop", "<b>")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a" * 2_000_000, "a" * 1_000_000 + "b" + "a" * 1_000_000),
        ("<" * 1_000_000, "<" * 1_000_000 + ">"),
        ("a b " * 300_000, "b a " * 300_000),
        ("x y " * 100, "y x " * 100),
    ],
)
def test_texts_of_megabytes_are_compared(one, other):
    found = spans(one, other)
    assert (before(found), after(found)) == (one, other)


def test_a_word_replaced_throughout_a_long_text_is_compared_in_few_steps(monkeypatch):
    one = " ".join("aorta" if number % 2 else f"word{number % 7}" for number in range(200))
    tried = []

    class Counted(SequenceMatcher):
        def find_longest_match(self, *bounds):
            tried.append(bounds)
            return super().find_longest_match(*bounds)

    monkeypatch.setattr(words, "SequenceMatcher", Counted)
    assert spans(one, one.replace("aorta", "artery"))
    # Each goes through what is alike in what is left: a few thousand pairs at most, and fewer each time.
    assert 0 < len(tried) < 3 * 200
    tried.clear()
    assert spans(one * 3, one.replace("aorta", "artery") * 3) and tried == []


def test_more_marks_than_anybody_reads_are_told_as_one_change():
    one = " ".join(f"foo bar{number}" for number in range(99))
    found = spans(f"{one} end", f"{one.replace('foo', 'qux')} end")
    assert [span.op for span in found] == ["drop", "add", "keep"]


def test_what_is_shown_of_a_change_cannot_steer_a_terminal():
    found = spans("a \x1b[31m b", "a \u202e\x00 b")
    for colored in (False, True):
        shown = marked.spans(found, colored)
        assert "\u202e" not in shown and "\x00" not in shown
        assert "\\x1b[31m" in shown
    assert marked.spans(found, False) == "a [-\\x1b[31m-]{+\\u202e\\x00+} b"


def test_what_lies_far_from_any_change_is_left_out():
    shown = marked.spans(spans("x" * 500 + " a", "x" * 500 + " b"), False)
    assert shown.startswith("…") and len(shown) < 60
