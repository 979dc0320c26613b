"""A small collection with a life of its own, to try the program on: made and studied by Anki's library.

The only room that makes or changes a collection, and only ever one of its own.
"""

from __future__ import annotations

import random
from pathlib import Path

from anki.collection import Collection
from anki.scheduler.v3 import CardAnswer, Scheduler

WORDS = {
    "Español": ["la casa: house", "el perro: dog", "la lluvia: rain", "el libro: book", "la mesa: table"],
    "Español::Verbos": ["correr: to run", "leer: to read", "dormir: to sleep", "beber: to drink"],
    "日本語": ["水: water", "火: fire", "山: mountain", "川: river", "森: forest"],
    "Medicine::Heart": ["systole: contraction", "diastole: filling", "aorta: largest artery"],
}
COPIES = 40
PICTURE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde"
    b"\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82"
)


def make_profile(folder: Path) -> Path:
    """Make a profile in `folder`: some decks, some hundred notes, a picture; return its collection."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "collection.anki2"
    collection = Collection(str(path))
    try:
        notetype = collection.models.by_name("Basic")
        assert notetype is not None, "Anki makes its stock note types itself"
        collection.media.write_data("heart.png", PICTURE)
        for deck, pairs in WORDS.items():
            deck_id = collection.decks.id(deck)
            assert deck_id is not None, "a deck is made when it is missing"
            for number in range(COPIES):
                for pair in pairs:
                    front, back = pair.split(": ")
                    note = collection.new_note(notetype)
                    note.fields = [f"{front} {number + 1}", f'{back}<br><img src="heart.png">']
                    note.tags = ["demo", f"part{number % 5}"]
                    collection.add_note(note, deck_id)
    finally:
        collection.close()
    return path


def study(path: Path, answers: int = 60, edits: int = 3, seed: int = 1) -> None:
    """Study in a collection through Anki's own scheduler: answer cards, and mend some notes."""
    rng = random.Random(seed)
    collection = Collection(str(path))
    scheduler = Scheduler(collection)
    try:
        for card_id in rng.sample(list(collection.find_cards("")), answers):
            card = collection.get_card(card_id)
            card.start_timer()
            states = collection._backend.get_scheduling_states(card_id)
            rating = rng.choice([CardAnswer.HARD, CardAnswer.GOOD, CardAnswer.GOOD, CardAnswer.EASY])
            scheduler.answer_card(scheduler.build_answer(card=card, states=states, rating=rating))
        for note_id in rng.sample(list(collection.find_notes("")), edits):
            note = collection.get_note(note_id)
            note.fields[1] += " (mended)"
            collection.update_note(note)
    finally:
        collection.close()
