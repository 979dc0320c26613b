"""A real sync server on loopback, and the devices that sync with it.

`SyncServer` runs Anki's own `python -m anki.syncserver`; `Client` is a device
with a collection of its own: it studies, adds pictures and syncs as Anki does.
Both are context managers. For pytest, import `sync_server` and `phone`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from anki.collection import Collection
from anki.sync_pb2 import SyncAuth, SyncCollectionResponse

USER, PASSWORD = "ann@example.org", "a pass:word"
LISTENING = re.compile(r"127\.0\.0\.1:(\d+)")
FULL = {
    SyncCollectionResponse.FULL_SYNC,
    SyncCollectionResponse.FULL_DOWNLOAD,
    SyncCollectionResponse.FULL_UPLOAD,
}
START_S = 20.0


class SyncServer:
    """Anki's sync server, with its data in `folder`; the port is free, and stays when it is started again."""

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.users = dict(users or {USER: PASSWORD})
        self.env = dict(env or {})
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint, as a configuration names it."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        """What the server has written."""
        return self.folder.with_name(self.folder.name + ".log")

    def start(self) -> SyncServer:
        """Start it and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        accounts = {
            f"SYNC_USER{number}": f"{user}:{password}"
            for number, (user, password) in enumerate(self.users.items(), 1)
        }
        place = {
            "SYNC_BASE": str(self.folder),
            "SYNC_HOST": "127.0.0.1",
            "SYNC_PORT": str(self.port),
        }
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anki.syncserver"],
                env={**os.environ, "NO_COLOR": "1", **accounts, **place, **self.env},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_S
        while not (told := LISTENING.search(self.log.read_text("utf-8", "replace"))):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the sync server did not start: {self.log.read_text('utf-8', 'replace')}")
            time.sleep(0.02)
        self.port = int(told[1])
        return self

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it and wait for that; by SIGKILL unless told."""
        process, self.process = self.process, None
        if process:
            process.send_signal(number)
            process.wait(START_S)

    def restart(self) -> None:
        """End it and start it again, with the `users` and `env` of now, at the same address."""
        self.stop()
        self.start()

    def collection(self, user: str = USER) -> Path:
        """Return the file of a user's collection; it may be open in the server, and have a WAL."""
        return self.folder / user / "collection.anki2"

    def media(self, user: str = USER) -> Path:
        """Return the folder of a user's media on the server; files have their own names there."""
        return self.folder / user / "media"

    def copy_of(self, target: Path, user: str = USER) -> Path:
        """Copy what the server has of a user's collection to `target`, with its WAL."""
        for side in ("", "-wal"):
            beside = self.collection(user).with_name("collection.anki2" + side)
            if beside.exists():
                shutil.copyfile(beside, target.with_name(target.name + side))
        return target

    def __enter__(self) -> SyncServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Client:
    """A device of a user: its collection is `col`, open until `close`; it syncs with `url`."""

    def __init__(self, folder: Path, url: str, user: str = USER, password: str = PASSWORD) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url
        self.col = Collection(str(folder / "collection.anki2"))
        try:
            self.auth: SyncAuth = self.col.sync_login(user, password, url)
            self.auth.endpoint = url
        except BaseException:
            self.col.close()
            raise

    def add(
        self,
        front: str = "question",
        back: str = "answer",
        deck: str = "Default",
        tags: tuple[str, ...] = (),
        notetype: str = "Basic",
    ) -> int:
        """Add a note and return its id; its deck is made when it is missing."""
        kind = self.col.models.by_name(notetype)
        assert kind is not None
        note = self.col.new_note(kind)
        note.fields[0], note.fields[1] = front, back
        note.tags = list(tags)
        deck_id = self.col.decks.id(deck)
        assert deck_id is not None
        self.col.add_note(note, deck_id)
        return note.id

    def edit(self, note_id: int, back: str) -> None:
        """Put another text into a note's second field."""
        note = self.col.get_note(note_id)  # type: ignore[arg-type]
        note.fields[1] = back
        self.col.update_note(note)

    def study(self, answers: int = 1, ease: int = 3, deck: str = "Default") -> int:
        """Answer cards of a deck as its queue hands them out; return how many there were."""
        scheduler: Any = self.col.sched
        deck_id = self.col.decks.id(deck)
        assert deck_id is not None
        self.col.decks.set_current(deck_id)
        for done in range(answers):
            card = scheduler.getCard()
            if card is None:
                return done
            card.start_timer()
            scheduler.answerCard(card, ease)
        return answers

    def delete(self, *note_ids: int) -> None:
        """Delete notes."""
        self.col.remove_notes(note_ids)  # type: ignore[arg-type]

    def delete_deck(self, name: str) -> None:
        """Delete a deck with its cards."""
        deck_id = self.col.decks.id_for_name(name)
        assert deck_id is not None
        self.col.decks.remove([deck_id])

    def picture(self, name: str, data: bytes) -> str:
        """Put a file into the media folder; return the name that Anki gave it."""
        return self.col.media.write_data(name, data)

    def change_picture(self, name: str, data: bytes) -> None:
        """Overwrite a file in the media folder, and see to it that Anki notices."""
        path = Path(self.col.media.dir()) / name
        path.write_bytes(data)
        touch(path)
        touch(path.parent)

    def remove_picture(self, name: str) -> None:
        """Remove a file from the media folder."""
        self.col.media.trash_files([name])
        touch(Path(self.col.media.dir()))

    def sync(self, media: bool = True) -> None:
        """Sync as Anki does; a full sync downloads, except to a server that has nothing yet."""
        required = self.col.sync_collection(self.auth, False).required
        if required in FULL:
            if required == SyncCollectionResponse.FULL_DOWNLOAD or self.col.is_empty():
                self.download(media=False)
            else:
                self.upload(media=False)
        if media:
            self.sync_media()

    def upload(self, media: bool = True) -> None:
        """Replace what the server has: the button on the left."""
        self._replace(upload=True)
        if media:
            self.sync_media()

    def download(self, media: bool = True) -> None:
        """Replace what the device has: the button on the right."""
        self._replace(upload=False)
        if media:
            self.sync_media()

    def _replace(self, *, upload: bool) -> None:
        self.col.close_for_full_sync()
        try:
            self.col.full_upload_or_download(auth=self.auth, server_usn=None, upload=upload)
        finally:
            self.col.reopen(after_full_sync=True)

    def sync_media(self) -> None:
        """Sync the media and wait for its end; what went wrong is raised."""
        self.col.sync_media(self.auth)
        while self.col.media_sync_status().active:
            time.sleep(0.005)

    def close(self) -> None:
        """Close the collection."""
        self.col.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def touch(path: Path) -> None:
    """Give a media file or its folder a time that Anki has not seen: it tells changes by whole seconds."""
    later = max(time.time(), path.stat().st_mtime) + 2
    os.utime(path, (later, later))


@pytest.fixture
def sync_server(tmp_path: Path) -> Iterator[SyncServer]:
    """Return a running server with one account, `USER`."""
    with SyncServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def phone(tmp_path: Path, sync_server: SyncServer) -> Iterator[Client]:
    """Return a device that has put ten notes and a picture into the account."""
    with Client(tmp_path / "phone", sync_server.url) as client:
        for number in range(10):
            client.add(f"question {number} <img src=cat.jpg>", f"answer {number}", "Español::Verbos")
        client.picture("cat.jpg", b"a picture")
        client.upload()
        yield client
