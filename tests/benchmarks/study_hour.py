"""Study in a collection through Anki's own scheduler.

`python -m tests.benchmarks.study_hour COLLECTION` studies one hour: 60 answers and
3 edited notes, then closes the collection as Anki does. With `--serve` it waits
for words on standard input, one a line (`hour`, or `vacuum` for what Check
Database does to the file), and answers `done`: an hour then costs a tenth of a
second, because the library is loaded once.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anki.collection import Collection
from anki.scheduler.v3 import CardAnswer

if TYPE_CHECKING:  # a circle of the library's own: it has to be entered by `anki.collection`
    from anki.cards import CardId
    from anki.notes import NoteId
    from anki.scheduler.v3 import Scheduler

ANSWERS = 60
EDITS = 3
RATINGS = (CardAnswer.AGAIN, CardAnswer.GOOD, CardAnswer.GOOD, CardAnswer.GOOD, CardAnswer.EASY)


def study(path: Path, answers: int = ANSWERS, edits: int = EDITS, hour: int = 0, seed: int = 0) -> None:
    """Answer random cards and edit random notes; which ones follows from seed and hour."""
    rng = random.Random(f"{seed} {hour}")
    with _opened(path) as collection:
        assert collection.db is not None
        cards: list[CardId] = collection.db.list("select id from cards order by id")
        notes: list[NoteId] = collection.db.list("select id from notes order by id")
        for card_id in rng.sample(cards, min(answers, len(cards))):
            _answer(collection, card_id, rng)
        for note_id in rng.sample(notes, min(edits, len(notes))):
            note = collection.get_note(note_id)
            note.fields[0] += f" {hour}"
            collection.update_note(note)


def vacuum(path: Path) -> None:
    """Have Anki write the whole file anew, so that all pages differ and no row does."""
    with _opened(path) as collection:
        collection.optimize()


@contextmanager
def _opened(path: Path) -> Iterator[Collection]:
    collection = Collection(str(path))
    try:
        yield collection
    finally:
        collection.close()


def _answer(collection: Collection, card_id: CardId, rng: random.Random) -> None:
    card = collection.get_card(card_id)
    card.start_timer()
    # The library offers the states only for cards that the queue hands out; any card will do here.
    states = collection._backend.get_scheduling_states(card_id)
    scheduler = cast("Scheduler", collection.sched)
    scheduler.answer_card(scheduler.build_answer(card=card, states=states, rating=rng.choice(RATINGS)))


def serve(path: Path, answers: int, edits: int, seed: int) -> None:
    """Do what each line of standard input says, and say `done` after each."""
    hour = 0
    for line in sys.stdin:
        match line.strip():
            case "hour":
                study(path, answers, edits, hour, seed)
                hour += 1
            case "vacuum":
                vacuum(path)
            case word:
                raise SystemExit(f"study_hour knows `hour` and `vacuum`, not {word!r}")
        print("done", flush=True)


def main() -> None:
    """Study as the command line says."""
    parser = argparse.ArgumentParser(prog="study_hour", description="Study an hour in a collection.")
    parser.add_argument("path", type=Path, help="the collection.anki2 to study in")
    parser.add_argument("--answers", type=int, default=ANSWERS)
    parser.add_argument("--edits", type=int, default=EDITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help="take words from standard input")
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.path, chosen.answers, chosen.edits, chosen.seed)
        return
    for hour in range(chosen.hours):
        study(chosen.path, chosen.answers, chosen.edits, hour, chosen.seed)


if __name__ == "__main__":
    main()
