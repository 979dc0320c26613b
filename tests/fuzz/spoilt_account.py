"""An account whose server's answers are spoiled on their way, and what must hold of its driver all the same.

What is judged, round after round, with one account and one server:

- The driver ends well, or in an error of ours, soon; the account got nothing from it, but
  for the settings of the collection where the server said that it is older than the
  mirror: then the library takes these for newer, and tells them. No card, no note, no file.
  What the server had said of them before it gets back, so this account is done with.
- Without a fault, the next sync works, and then the mirror is what the server has.
- What is no message of the protocol is never believed. What is one, but another than
  the server's, is what the server said: no client can tell a server that lies about
  a note from one where the note was edited, since the protocol has no sum over what it
  carries; nor one that counts one too many from one where another device synced.
  Such a lie may stand in the mirror until the mirror is made anew. But it has to stay
  in what it was about: a lie told of anything else than what the account holds must be
  over with the next sync, and also after the next change.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from anki_backup import collection
from anki_backup.errors import AnkibakError, SourceError
from anki_backup.values import Secret, duration
from tests.accounts import Home
from tests.fuzz.spoiled import CONTENT, Step, is_message, spoil, steps
from tests.sync_proxy import Answer, SyncProxy
from tests.sync_server import PASSWORD, Client, SyncServer

# Of these come the times by which the library tells which side is newer.
TIMES = {"/sync/meta", "/sync/finish", "/sync/download"}
NOTHING = ([], [[], []])
LOOK = 20
KEPT = 8
TIMEOUT, TIME_LIMIT = "2s", "4s"
# The limit, the grace after it, and what a busy machine adds.
SOON_S = 4 + 3 + 20
OURS = {
    "collection.anki2",
    "collection.media",
    "collection.media.db2",
    "media.trash",
    "mirror.json",
    "media.index",
}


class Told(NamedTuple):
    """An answer that was spoiled: what it was, and what it became; None where that is no message at all."""

    path: str
    was: bytes | None
    became: bytes | None

    @property
    def is_harmless(self) -> bool:
        """Whether it says what the server said."""
        return self.became is not None and _meaning(self.was) == _meaning(self.became)

    @property
    def is_lie(self) -> bool:
        """Whether it says something else, in a way that the server could have said it."""
        return self.became is not None and not self.is_harmless and is_message(self.path, self.became)

    @property
    def counts_one_too_many(self) -> bool:
        """Whether the number is one too high, which looks as if one more device had synced."""
        with suppress(ValueError, TypeError, KeyError):
            was, became = json.loads(self.was or b""), json.loads(self.became or b"")
            return self.path == "/sync/meta" and int(became["usn"]) == int(was["usn"]) + 1
        return False


def _meaning(message: bytes | None) -> Any:
    with suppress(ValueError, RecursionError):
        # As text: `true` is not 1.
        return json.dumps(json.loads(message or b""), sort_keys=True)
    return message


class Account:
    """A server with an account, a phone that changes it, and the driver behind a proxy that spoils."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.server = SyncServer(folder / "server").start()
        self.proxy = SyncProxy(self.server.url)
        self.proxy.__enter__()
        self.phone = Client(folder / "phone", self.server.url)
        self.notes = [
            self.phone.add(f"question {number} <img src='pic {number}.jpg'>") for number in range(8)
        ]
        for number in range(4):
            self.phone.picture(f"pic {number}.jpg", b"picture %d" % number * 20)
        self.phone.upload()
        self.home = Home(folder / "home", self.server, self.proxy)
        self.stranger = self.home.folder / "not ours"
        self.stranger.write_text("left alone")
        self.beside = self.stranger.stat()
        self.changes = self.rounds = self.lies = 0
        self.was_told = False
        self.known: dict[str, list[Answer]] = {}
        self.told: list[Told] = []
        self.script: list[Step] = []
        self.asked: dict[str, int] = {}

    def close(self) -> None:
        """End the server and all else."""
        self.phone.close()
        self.proxy.__exit__()
        self.server.stop()
        shutil.rmtree(self.folder)

    # The account's own life

    def change(self) -> None:
        """Let the phone change something, each time something else, and sync."""
        self.changes += 1
        number, col = self.changes, self.phone.col
        note = self.notes[number % len(self.notes)]
        match number % 8:
            case 0 | 1:
                self.phone.edit(note, f"edited {number}")
            case 2:
                self.notes.append(self.phone.add(f"new {number}", tags=(f"tag{number % 5}",)))
            case 3:
                self.phone.delete(self.notes.pop(0))
            case 4:
                self.phone.change_picture(f"pic {number % 4}.jpg", b"another picture %d" % number)
            case 5:
                self.phone.study()
            case 6:
                deck = col.decks.get(col.decks.id("Verbs") or 0)
                deck["desc"] = f"described {number}"
                col.decks.save(deck)
                col.set_config("an add-on's", number)
            case 7 if number % 16 == 7:
                self.phone.remove_picture("more.jpg")
            case _:
                self.phone.picture("more.jpg", b"more")
        self.phone.sync(media=number % 8 in (4, 7))

    def begin(self, word: str) -> None:
        """Make ready what the driver will find."""
        if word == "fresh":
            shutil.rmtree(self.home.mirror, ignore_errors=True)
        elif word == "logout":
            self.home.account().logout()
        elif word == "media":
            shutil.rmtree(self.home.mirror / "collection.media", ignore_errors=True)
        elif word == "schema":
            self.phone.col.mod_schema(check=False)
            self.phone.upload(media=False)
        if word not in ("quiet", "schema"):
            self.change()

    # What is done to answers

    def _spoil(self, path: str, answer: Answer) -> Answer:
        self.asked[path] = self.asked.get(path, 0) + 1
        made = answer
        for step in self.script:
            if step.path == path and step.which in (0, self.asked[path]):
                made = spoil(step, made, self.known, self.proxy.url)
        self.known[path] = [*self.known.get(path, []), answer][-KEPT:]
        if made != answer:
            self.told.append(Told(path, answer.message, made.message))
        return made

    # One round

    def round(self, script: str) -> set[object]:
        """Play a script, and look at what it led to."""
        self.rounds += 1
        begin = script.split("\n", maxsplit=1)[0].removeprefix("begin ").strip()
        self.begin(begin)
        outcome = self._spoilt(begin, list(steps(script)))
        self._untouched()
        self._recover()
        lied = [told for told in self.told if told.is_lie]
        about_content = [told.path for told in lied if told.path in CONTENT or told.counts_one_too_many]
        if lied and not about_content:
            # The next change shows whether a lie is still believed.
            self.change()
            self.sync()
        if self.told or self.rounds % LOOK == 0:
            agrees = self._judge(about_content, outcome)
            if not agrees or any(told.path == "/sync/meta" for told in lied):
                # What is believed of a lie must not come to light in a later round.
                shutil.rmtree(self.home.mirror)
                self.sync()
                self.home.agrees()
        return {(begin, outcome, self.told[0].path if self.told else "")}

    def _spoilt(self, begin: str, script: list[Step]) -> str:
        self.script, self.told, self.asked = script, [], {}
        self.proxy.seen.clear()
        self.proxy.spoil = self._spoil
        account = self.home.account(timeout=duration(TIMEOUT), time_limit=duration(TIME_LIMIT))
        began = time.monotonic()
        try:
            account.foresee() if begin == "foresee" else account.look()
            return "fine"
        except AnkibakError as error:
            assert "\n" not in error.message and len(error.message) < 1000, error.message
            return error.code
        finally:
            self.proxy.spoil = lambda path, answer: answer
            took = time.monotonic() - began
            assert took < SOON_S, f"took {took:.0f} s"
            self._nothing_sent()

    def _nothing_sent(self) -> None:
        lied_about_time = any(told.is_lie and told.path in TIMES for told in self.told)
        for request in self.proxy.sent():
            kinds = {
                name
                for name, value in (request.said or {}).get("changes", {}).items()
                if value not in NOTHING
            }
            is_settings = request.path == "/sync/applyChanges" and kinds == {"conf", "crt"}
            assert is_settings and lied_about_time, f"sent {request.path}, {str(request.said)[:300]}"
            self.was_told = True
        self.proxy.seen.clear()

    def sync(self) -> None:
        """Sync without a fault."""
        try:
            self.home.account(timeout=duration("60s")).look()
        finally:
            self._nothing_sent()

    def _untouched(self) -> None:
        """Fail if anything was written elsewhere than where the mirror is."""
        strange = {path.name for path in self.home.mirror.iterdir() if not path.name.startswith(tuple(OURS))}
        assert not strange, f"in the mirror are {strange}"
        assert {path.name for path in self.home.mirror.parent.iterdir()} == {"home"}
        assert {path.name for path in self.home.folder.iterdir()} <= {
            "mirrors",
            "state",
            "scratch",
            "not ours",
        }
        now = self.stranger.stat()
        assert (now.st_mtime_ns, now.st_size) == (self.beside.st_mtime_ns, self.beside.st_size)

    def _recover(self) -> None:
        try:
            self.sync()
        except AnkibakError as error:
            # A password that was refused is not tried again until a person types it.
            hosts = [told for told in self.told if told.path == "/sync/hostKey"]
            assert error.code == "login_refused" and hosts, f"afterwards: {error.code}: {error.message}"
            self.home.account().login(Secret(PASSWORD))
            self.sync()

    def _judge(self, about_content: list[str], outcome: str) -> bool:
        """Say whether the mirror is what the server has; fail where it has to be."""
        try:
            self.home.agrees()
            return True
        except (AssertionError, sqlite3.Error) as error:  # of text that is none
            assert about_content, (
                f"believed ({outcome}, {[told.path for told in self.told]}): {str(error)[:600]}"
            )
        # Said so: then it is at least a collection, or a run refuses it and has it fetched afresh.
        self.lies += 1
        with suppress(SourceError):
            collection.check(self.home.mirror / "collection.anki2", thorough=True)
        return False
