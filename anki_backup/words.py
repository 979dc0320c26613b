"""What changed between two texts, word by word.

Common beginnings and ends are found at once, whatever the length; what lies
between is compared word by word while that is cheap, and is told as one change
where it is not. So a text of megabytes costs no more than reading it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

from msgspec import Struct

# A mark of HTML, an entity, a word, spaces, or any other single character.
TOKEN = re.compile(r"<[^<>]*>|&#?\w{1,31};|\w+|\s+|.", re.DOTALL)
TOKENS_LIMIT = 400
LETTERS_LIMIT = 20_000
# The matcher tries each pair of equal words, again for each change; nobody reads very many marks.
PAIRS_LIMIT = 4_000
MARKS_LIMIT = 80
WORD_LIMIT = 200

Op = Literal["keep", "drop", "add"]


class Span(Struct, frozen=True):
    """A stretch of text: in both (`keep`), only before (`drop`) or only after (`add`)."""

    op: Op
    text: str


def spans(before: str, after: str) -> list[Span]:
    """Return both texts as one row of spans: keep and drop make `before`, keep and add make `after`."""
    return list(_joined(_spans(before, after)))


def _spans(before: str, after: str) -> Iterator[Span]:
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    # Back to where a word begins, and on to where one ends, so that no word is cut in two.
    for _ in range(WORD_LIMIT):
        start -= not _at_border(before, after, start, start)
        end -= not _at_border(before, after, len(before) - end, len(after) - end)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    yield Span("keep", before[:start])
    yield from _middle(old, new)
    yield Span("keep", before[len(before) - end :] if end else "")


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning, by halving: slices are compared in C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _at_border(before: str, after: str, place: int, other: int) -> bool:
    """Say whether neither text has letters, or a mark of HTML, on both sides of its place."""
    return not _inside(before, place) and not _inside(after, other)


def _inside(text: str, at: int) -> bool:
    if not 0 < at < len(text):
        return False
    if _joins(text[at - 1]) and _joins(text[at]):
        return True
    # Looked for nearby only: a mark as long as this is none that anybody reads.
    opened = text.rfind("<", max(0, at - WORD_LIMIT), at)
    return opened >= 0 and text.find(">", opened, at) < 0 <= text.find(">", at, at + WORD_LIMIT)


def _joins(letter: str) -> bool:
    return letter.isalnum() or letter in "_&#;"


def _middle(old: str, new: str) -> list[Span]:
    short = max(len(old), len(new)) <= LETTERS_LIMIT
    olds, news = (TOKEN.findall(text) if short else [] for text in (old, new))
    found = _matched(olds, news) if _is_cheap(olds, news) else []
    if not 0 < sum(span.op != "keep" for span in found) <= MARKS_LIMIT:
        return [Span("drop", old), Span("add", new)]
    return found


def _is_cheap(olds: list[str], news: list[str]) -> bool:
    if not olds or not news or max(len(olds), len(news)) > TOKENS_LIMIT:
        return False
    counts = Counter(news)
    return sum(counts[token] for token in olds if not token.isspace()) <= PAIRS_LIMIT


def _matched(olds: list[str], news: list[str]) -> list[Span]:
    found = []
    # Spaces are kept only beside words that are: alone they are no likeness, and would be tried most.
    matcher = SequenceMatcher(str.isspace, olds, news, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            found.append(Span("keep", "".join(olds[i:j])))
        else:
            found += [Span("drop", "".join(olds[i:j])), Span("add", "".join(news[k:m]))]
    return found


def _joined(found: Iterator[Span]) -> Iterator[Span]:
    """Leave out what is empty, and bring together what follows on its like."""
    last: Span | None = None
    for span in found:
        if not span.text:
            continue
        if last and last.op == span.op:
            last = Span(last.op, last.text + span.text)
        else:
            if last:
                yield last
            last = span
    if last:
        yield last
