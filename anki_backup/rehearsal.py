"""A small account with a life of its own, to try the program on: Anki's server on loopback, and devices.

The only room that changes what a person would study in, and only ever what it made itself.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest
from anki.decks import DeckId
from anki.scheduler.v3 import CardAnswer, Scheduler

from anki_backup.errors import AnkibakError

USER, PASSWORD = "you", "a secret"
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
LISTENING = re.compile(r"127\.0\.0\.1:(\d+)")
START_S = 20.0


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run Anki's own sync server on a free port of this machine, with one account; give its URL."""
    folder.mkdir(parents=True)
    log = folder / "server.log"
    own = {"SYNC_USER1": f"{USER}:{PASSWORD}", "SYNC_BASE": str(folder), "SYNC_HOST": "127.0.0.1"}
    with open(log, "wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "anki.syncserver"],
            env={**os.environ, "NO_COLOR": "1", "SYNC_PORT": "0", **own},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_S
        while not (told := LISTENING.search(log.read_text("utf-8", "replace"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AnkibakError("Anki's sync server did not start", hint=f"See what it says: {log}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{told[1]}/"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()


class Device:
    """Somebody's phone or tablet: a collection that is studied in and synced with a server."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir(parents=True)
        self.collection = Collection(str(folder / "collection.anki2"))
        self._auth = self.collection.sync_login(USER, PASSWORD, url)

    @property
    def notes(self) -> int:
        return self.collection.note_count()

    def fill(self) -> None:
        """Add four decks with some hundred notes, and a picture."""
        notetype = self.collection.models.by_name("Basic")
        assert notetype is not None, "Anki makes its stock note types itself"
        self.picture("heart.png")
        for deck, pairs in WORDS.items():
            for number in range(COPIES):
                for pair in pairs:
                    front, back = pair.split(": ")
                    note = self.collection.new_note(notetype)
                    note.fields = [f"{front} {number + 1}", f'{back}<br><img src="heart.png">']
                    note.tags = ["demo", f"part{number % 5}"]
                    self.collection.add_note(note, self._deck(deck))

    def study(self, answers: int = 60, edits: int = 3, seed: int = 1) -> None:
        """Answer cards through Anki's own scheduler, and mend some notes."""
        rng = random.Random(seed)
        scheduler = Scheduler(self.collection)
        for card_id in rng.sample(list(self.collection.find_cards("")), answers):
            card = self.collection.get_card(card_id)
            card.start_timer()
            states = self.collection._backend.get_scheduling_states(card_id)
            rating = rng.choice([CardAnswer.HARD, CardAnswer.GOOD, CardAnswer.GOOD, CardAnswer.EASY])
            scheduler.answer_card(scheduler.build_answer(card=card, states=states, rating=rating))
        for note_id in rng.sample(list(self.collection.find_notes("")), edits):
            note = self.collection.get_note(note_id)
            note.fields[1] += " (mended)"
            self.collection.update_note(note)

    def picture(self, name: str) -> None:
        """Take a picture."""
        self.collection.media.write_data(name, PICTURE + name.encode())

    def delete_deck(self, name: str) -> None:
        """Delete a deck with those under it."""
        self.collection.decks.remove([self._deck(name)])

    def take(self, package: Path) -> None:
        """Import an `.apkg`, with scheduling and deck options."""
        options = ImportAnkiPackageOptions(with_scheduling=True, with_deck_configs=True)
        self.collection.import_anki_package(
            ImportAnkiPackageRequest(package_path=str(package), options=options)
        )

    def sync(self) -> None:
        """Sync as Anki does, media too."""
        self.collection.sync_collection(self._auth, False)
        self._sync_media()

    def upload(self) -> None:
        """Tap "Upload": what the server has is replaced by what is here."""
        self._replace(upload=True)

    def download(self) -> None:
        """Tap "Download": what is here is replaced by what the server has."""
        self._replace(upload=False)

    def close(self) -> None:
        self.collection.close()

    def _deck(self, name: str) -> DeckId:
        deck_id = self.collection.decks.id(name)
        assert deck_id is not None, "a deck is made when it is missing"
        return deck_id

    def _replace(self, *, upload: bool) -> None:
        self.collection.close_for_full_sync()
        try:
            self.collection.full_upload_or_download(auth=self._auth, server_usn=None, upload=upload)
        finally:
            self.collection.reopen(after_full_sync=True)
        self._sync_media()

    def _sync_media(self) -> None:
        self.collection.sync_media(self._auth)
        while self.collection.media_sync_status().active:
            time.sleep(0.01)
