"""`ankibak demo`: the main job from its beginning to its end, with nothing prepared."""

from __future__ import annotations

import filecmp
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from anki_backup import figures, rehearsal, terminal
from anki_backup.commands import Context
from anki_backup.errors import AnkibakError, UsageError


def command(
    ctx: typer.Context,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave all of it there, to play with.")
    ] = None,
) -> None:
    """Show the main job on a collection made for it: back up, study, back up, look, verify, get it back."""
    context: Context = ctx.obj
    if keep and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="Name a new folder: ankibak demo --keep DIR")
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ankibak-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        _Demo(folder.absolute(), context).play()
    if keep:
        terminal.write(
            f"\nAll of it is in {keep}. Go on: ankibak -c {shlex.quote(str(keep / 'config.toml'))} list\n"
        )


class _Demo:
    """Types commands as a person would, and says in plain words what each did and cost."""

    def __init__(self, folder: Path, context: Context) -> None:
        self.folder = folder
        self.context = context
        self.config = folder / "config.toml"
        self.repository = folder / "repository"
        self.collection = folder / "profile" / "collection.anki2"

    def play(self) -> None:
        began = time.monotonic()
        self._say("Anki's own library makes a profile: four decks, some hundred notes, a picture.")
        rehearsal.make_profile(self.folder / "profile")
        self._write_config()
        self._say("The first backup holds everything, compressed.")
        self._type("run")
        self._say("Nothing changed since, so nothing is stored: a look at the files is enough.")
        self._type("run")
        self._say("An hour of study: 60 cards answered, 3 notes mended. Only what changed is stored.")
        rehearsal.study(self.collection)
        self._type("run")
        self._say("What is there, newest first, and the newest in full.")
        self._type("list")
        self._type("show", "latest", "--decks")
        self._say("Is every byte still what it was? All are read and hashed again, and SQLite looks too.")
        self._type("verify", "--read-data")
        self._say("And back: the collection as it is now, and as it was before that hour.")
        self._type("export", "latest", "-o", "now.anki2")
        self._type("export", "latest~1", "-o", "before.anki2")
        if not filecmp.cmp(self.folder / "now.anki2", self.collection, shallow=False):
            raise AnkibakError("the collection that came back is not the one that went in")
        size = figures.size(self.collection.stat().st_size)
        took = figures.duration(round((time.monotonic() - began) * 1000))
        self._say(f"now.anki2 is the collection of the profile, byte for byte: {size}. It all took {took}.")

    def _write_config(self) -> None:
        sources = {"desktop": {"kind": "profile", "path": "profile"}}
        self.config.write_bytes(
            tomli_w.dumps({"storage": {"root": "repository"}, "sources": sources}).encode()
        )

    def _say(self, text: str) -> None:
        terminal.write("\n" + self._paint(text, "bold") + "\n")

    def _paint(self, text: str, style: str) -> str:
        return terminal.paint(text, style, terminal.wants_color(sys.stdout, self.context.color))

    def _type(self, *words: str) -> None:
        """Run one command as its own process, and say what it cost."""
        terminal.write(self._paint("$ ankibak " + shlex.join(words), "cyan") + "\n")
        before, began = self._stored(), time.monotonic()
        command = [sys.executable, "-m", "anki_backup", "--config", str(self.config), *words]
        done = subprocess.run(command, cwd=self.folder, check=False)
        if done.returncode:
            raise AnkibakError(
                f"ankibak {words[0]} ended with {done.returncode}", hint="This is a bug: please report it."
            )
        took = figures.duration(round((time.monotonic() - began) * 1000))
        grown = figures.size(self._stored() - before)
        terminal.write(self._paint(f"  {took}, the repository grew by {grown}", "dim") + "\n")

    def _stored(self) -> int:
        """Return the bytes of the repository, without its expendable cache."""
        files = (path for path in self.repository.rglob("*") if path.is_file())
        return sum(
            path.stat().st_size for path in files if "cache" not in path.relative_to(self.repository).parts
        )
