"""Texts with what changed in them marked, for people: red and green, or [-gone-] and {+new+}."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anki_backup.terminal import escape, paint
from anki_backup.words import Op, Span

# Of what stayed, a person needs only what stands around the changes.
AROUND = 30
CHANGED_LENGTH = 500
STYLES = {"drop": "red", "add": "green"}
FENCES = {"drop": ("[-", "-]"), "add": ("{+", "+}")}


def spans(found: Sequence[Span], colored: bool) -> str:
    """Return the spans as one line that can't steer a terminal."""
    last = len(found) - 1
    return "".join(_span(span, at == 0, at == last, colored) for at, span in enumerate(found))


def change(before: object, after: object, colored: bool) -> str:
    """Return one value that became another."""
    old, new = (None if value is None else str(value) for value in (before, after))
    sides: tuple[tuple[Op, str | None], ...] = (("drop", old), ("add", new))
    return spans([Span(op, text) for op, text in sides if text is not None], colored)


def signed(words: Iterable[tuple[str, str]], colored: bool) -> str:
    """Return words that came (`+`) or went (`-`)."""
    shown = (paint(sign + escape(word), "green" if sign == "+" else "red", colored) for sign, word in words)
    return " ".join(shown)


def _span(span: Span, first: bool, last: bool, colored: bool) -> str:
    if span.op == "keep":
        return escape(_around(span.text, first, last))
    text = span.text if len(span.text) <= CHANGED_LENGTH else span.text[:CHANGED_LENGTH] + "…"
    if colored:
        return paint(escape(text), STYLES[span.op], colored)
    before, after = FENCES[span.op]
    return before + escape(text) + after


def _around(text: str, first: bool, last: bool) -> str:
    """Return what stands beside a change, without what lies far from any."""
    left = "" if first else text[:AROUND]
    right = "" if last else text[-AROUND:]
    if len(text) <= (AROUND if first or last else 2 * AROUND):
        return text
    return f"{left}…{right}"
