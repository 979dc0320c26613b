"""Follows docs/ROLLBACK.md as a person does: types what stands there on a terminal, and compares."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "ROLLBACK.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?")
ANSWER = re.compile(r"(\[(?:y/N|[a-z]+)\]) (\S+)$", re.MULTILINE)
COLORS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
LIMIT_S = 120


class Follower:
    """Types the blocks of one section in a folder; ids on the page stand for those that really come."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        bin_folder = folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        program = bin_folder / "ankibak"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m anki_backup "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
            "COLUMNS": "160",
            **environment,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        }
        self.ids: dict[str, str] = {}
        self.transcript = ""

    def follow(self, heading: str) -> None:
        """Type every command of the section; AssertionError where something else comes than is promised."""
        for command, expected in commands(heading):
            typed = ID.sub(lambda found: self.ids.get(found[0], found[0]), command)
            answers = [match[2] for match in ANSWER.finditer(expected)]
            printed = self._type(typed, answers)
            self.transcript += f"$ {typed}\n{printed}"
            pattern, names = self._pattern(ANSWER.sub(r"\1", expected))
            match = re.fullmatch(pattern, printed, re.DOTALL)
            assert match, f"{typed}\n--- expected\n{expected}\n--- printed\n{printed}"
            self.ids |= {known: match[name] for name, known in names.items()}

    def _type(self, command: str, answers: list[str]) -> str:
        ours, theirs = pty.openpty()
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        process = subprocess.Popen(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        printed, deadline = b"", time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other side was closed
                break
            if not part:
                break
            printed += part
        process.wait(LIMIT_S)
        os.close(ours)
        return COLORS.sub("", printed.decode("utf-8", "replace"))

    def _pattern(self, expected: str) -> tuple[str, dict[str, str]]:
        """Return what the output has to fit: `…` is anything, a new id is any id, blanks are any blanks."""
        names: dict[str, str] = {}
        words = []
        for word in expected.split():
            pieces = []
            for piece in re.split(f"({ID.pattern}|…)", word):
                if piece == "…":
                    pieces.append(".*?")
                elif ID.fullmatch(piece):
                    known = self.ids.get(piece)
                    seen = next((name for name, each in names.items() if each == piece), None)
                    if known:
                        pieces.append(re.escape(known))
                    elif seen:
                        pieces.append(f"(?P={seen})")
                    else:
                        names[f"id{len(names)}"] = piece
                        pieces.append(f"(?P<id{len(names) - 1}>{ID.pattern})")
                else:
                    pieces.append(re.escape(piece))
            words.append("".join(pieces))
        return r"\s*" + r"\s+".join(words) + r"\s*", names


def commands(heading: str) -> list[tuple[str, str]]:
    """Return the commands of a section, each with what the page says that it prints."""
    text = PAGE.read_text("utf-8")
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"no section {heading}"
    found = []
    for block in BLOCK.finditer(section[1]):
        for part in re.split(r"^\$ ", block[1], flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            found.append((command, expected))
    assert found, f"nothing to type in {heading}"
    return found


def headings() -> list[str]:
    """Return the sections that have something to type."""
    text = PAGE.read_text("utf-8")
    return [match[1] for match in re.finditer(r"^## (.+)$", text, re.MULTILINE)]
