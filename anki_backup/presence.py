"""In which backups things are, told by when they came and went along a walk. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)
FAR = 1 << 60


class Seen(NamedTuple):
    """Of a row of backups: the places of the first and the last that have it, and how many have it."""

    first: int
    last: int
    backups: int

    @classmethod
    def at(cls, places: Sequence[int]) -> Seen:
        """Return what these places come to, which rise."""
        return cls(places[0], places[-1], len(places))


class Presence(Generic[T]):
    """Where along a walk each thing was there; steps are numbered from 0."""

    def __init__(self) -> None:
        self._since: dict[T, int] = {}
        self._spans: dict[T, list[tuple[int, int]]] = {}
        self.steps = 0

    def step(self, there: set[T]) -> None:
        """Take the next step, at which exactly these things are there."""
        now = self.steps
        if there != self._since.keys():
            for thing in self._since.keys() - there:
                self._spans.setdefault(thing, []).append((self._since.pop(thing), now))
            for thing in there - self._since.keys():
                self._since[thing] = now
        self.steps += 1

    def seen(self, steps: Sequence[int | None]) -> dict[T, Seen]:
        """Say of each thing in which of these backups it is; each has the step that it is at, or None."""
        first, last, counts = [FAR] * self.steps, [-1] * self.steps, [0] * self.steps
        for place, step in enumerate(steps):
            if step is not None:
                first[step], last[step] = min(first[step], place), place
                counts[step] += 1
        before = [0, *accumulate(counts)]
        found = {}
        for thing in {**self._spans, **self._since}:
            spans = [*self._spans.get(thing, [])]
            if thing in self._since:
                spans.append((self._since[thing], self.steps))
            count = sum(before[end] - before[start] for start, end in spans)
            if count:
                found[thing] = Seen(
                    min(min(first[start:end]) for start, end in spans),
                    max(max(last[start:end]) for start, end in spans),
                    count,
                )
        return found

    def at(self, step: int | None) -> set[T]:
        """Return what was there at a step."""
        if step is None:
            return set()
        ended = {t for t, spans in self._spans.items() if any(start <= step < end for start, end in spans)}
        return ended | {thing for thing, since in self._since.items() if since <= step}
