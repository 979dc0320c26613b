"""`ankibak demo`: the main job from its beginning to its end, with nothing prepared."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from anki_backup import durable, figures, rehearsal, terminal
from anki_backup.commands import Context
from anki_backup.errors import AnkibakError, UsageError
from anki_backup.temporary import TemporaryFolder

ALARM, UNSAFE = 4, 1


def command(
    ctx: typer.Context,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave all of it there, to play with.")
    ] = None,
) -> None:
    """Show the main job on an account made for it: back up, study, lose a deck, lose everything, get it back.

    Anki's own sync server runs on this machine as long as the demo does; nothing leaves it.
    """
    context: Context = ctx.obj
    if keep and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="Name a new folder: ankibak demo --keep DIR")
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(TemporaryFolder(prefix="ankibak-demo-")))
        with durable.storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _Demo(folder.absolute(), context).play()
    if keep:
        words = ["ankibak", "-c", shlex.quote(str(keep / "config.toml")), "list"]
        terminal.write(f"\nAll of it is in {keep}; its server has stopped. Look around: {' '.join(words)}\n")


class _Demo:
    """Types commands as a person would, and says in plain words what each did and cost."""

    def __init__(self, folder: Path, context: Context) -> None:
        self.folder = folder
        self.context = context
        self.config = folder / "config.toml"
        self.repository = folder / "repository"

    def play(self) -> None:
        began = time.monotonic()
        # The server is on this machine, whatever proxy others are reached by.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
        with rehearsal.server(self.folder / "server") as url:
            self._write_config(url)
            with closing(rehearsal.Device(self.folder / "phone", url)) as phone:
                self._back_up(phone)
                self._lose_a_deck(phone)
                self._lose_everything(phone, url)
        took = figures.duration(round((time.monotonic() - began) * 1000))
        self._say(f"That was all of it, in {took}. Yours next: ankibak init")

    def _back_up(self, phone: rehearsal.Device) -> None:
        self._say(
            "Anki's own sync server runs on this machine, with an account. A phone fills it: four decks, "
            "some hundred notes, a picture."
        )
        phone.fill()
        phone.upload()
        self._say("The first backup logs in, fetches everything, and keeps it compressed.")
        self._type("run")
        self._say("Nothing is new, so nothing is stored: one small question to the server is enough.")
        self._type("run")
        self._say(
            "An hour of study: 60 cards answered, 3 notes mended, a picture. Only what changed is stored."
        )
        phone.study()
        phone.picture("scan.png")
        phone.sync()
        self._type("run")
        self._say("What is there, newest first, and the newest in full.")
        self._type("list")
        self._type("show", "latest", "--decks")
        self._say("Can it be restored? Each is, is opened with Anki's library, and compared.")
        self._type("verify", "--read-data", "--restore")

    def _lose_a_deck(self, phone: rehearsal.Device) -> None:
        self._say("A slip of the finger: a deck is deleted on the phone, and the phone syncs.")
        notes = phone.notes
        phone.delete_deck("Español")
        phone.sync()
        self._type("run", ends=ALARM)
        self._say(
            "It is stored, and it is an alarm: the backup before is kept whatever happens. What is gone?"
        )
        self._type("diff")
        self._say("The deck comes back as a package that any Anki imports, with its scheduling and reviews.")
        self._type("export", "latest~1", "--deck", "Español", "-o", "español.apkg")
        phone.take(self.folder / "español.apkg")
        phone.sync()
        self._expect(phone.notes == notes, "the deck did not come back whole")
        self._type("acknowledge", "latest")
        self._type("run")

    def _lose_everything(self, phone: rehearsal.Device, url: str) -> None:
        self._say(
            'The big one: a new, empty tablet asks "Upload or download?", and the wrong one is tapped. '
            "The account is now as empty as the tablet."
        )
        notes = phone.notes
        good = self._newest()
        with closing(rehearsal.Device(self.folder / "tablet", url)) as tablet:
            tablet.upload()
        self._type("run", ends=ALARM)
        self._type("status", ends=UNSAFE)
        self._say(
            "Back to the backup before. A copy of what is there now is kept, then the account is replaced."
        )
        self._type("rollback", good, "--push-after-rollback", "--yes")
        self._say('The phone syncs, is asked, and "Download" is tapped.')
        phone.download()
        self._expect(phone.notes == notes, "the phone has not got everything back")
        self._say(f"All {phone.notes} notes are on the phone again.")

    def _write_config(self, url: str) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(rehearsal.PASSWORD)
        account = {
            "kind": "ankiweb",
            "username": rehearsal.USER,
            "endpoint": url,
            "password_file": "password",
        }
        table = {"storage": {"root": "repository"}, "sources": {"phone": account}}
        self.config.write_bytes(tomli_w.dumps(table).encode())

    def _newest(self) -> str:
        command = [*self._program(), "list", "--limit", "1"]
        told = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return told.stdout.split("\t")[0]

    def _program(self) -> list[str]:
        return [sys.executable, "-m", "anki_backup", "--config", str(self.config)]

    def _say(self, text: str) -> None:
        terminal.write("\n" + self._paint(text, "bold") + "\n")

    def _paint(self, text: str, style: str) -> str:
        return terminal.paint(text, style, terminal.wants_color(sys.stdout, self.context.color))

    def _expect(self, true: bool, otherwise: str) -> None:
        if not true:
            raise AnkibakError(otherwise, hint="This is a bug: please report it.")

    def _type(self, *words: str, ends: int = 0) -> None:
        """Run one command as its own process, and say what it cost."""
        terminal.write(self._paint("$ ankibak " + shlex.join(words), "cyan") + "\n")
        before, began = self._stored(), time.monotonic()
        done = subprocess.run([*self._program(), *words], cwd=self.folder, check=False)
        self._expect(done.returncode == ends, f"ankibak {words[0]} ended with {done.returncode}, not {ends}")
        took = figures.duration(round((time.monotonic() - began) * 1000))
        grown = figures.size(self._stored() - before)
        ended = f", exit {ends}" if ends else ""
        terminal.write(self._paint(f"  {took}, the repository grew by {grown}{ended}", "dim") + "\n")

    def _stored(self) -> int:
        """Return the bytes of the repository, without its expendable cache and the account's mirror."""
        files = (path for path in self.repository.rglob("*") if path.is_file())
        apart = {"cache", "mirrors", "active"}
        return sum(
            path.stat().st_size for path in files if path.relative_to(self.repository).parts[0] not in apart
        )
