"""Jobs: the program's own commands, started as processes that outlive this one.

Each job has files under `state/jobs/`: what was asked for, what it said, and its
exit code at the end. They are for the job pages only, and expendable.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, convert, to_builtins

from anki_backup import durable
from anki_backup.errors import AnkibakError, NotFoundError, UsageError

KEPT = 50
PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{8}", re.ASCII)
# The commands that write for long: a second one would only wait for the lock.
ALONE = {"run", "rollback"}
ENDINGS = ("json", "out", "err", "code")
SHOWN = 64 << 10
# The shell notes the exit code, also when this process is gone by then.
SCRIPT = 'base=$1; shift; "$@" >"$base.out" 2>"$base.err" </dev/null; echo $? >"$base.code"'
State = Literal["running", "done", "failed", "lost"]


class Job(Struct, frozen=True, kw_only=True):
    """One job: `words` are the command line after `ankibak`."""

    id: str
    words: list[str]
    started_at: datetime
    process: int
    by: str
    backup: str | None = None


class Progress(Struct, frozen=True, kw_only=True):
    """How a job stands; `result` is the JSON document that the command printed."""

    job: Job
    state: State
    exit_code: int | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    said: str


def command(root: Path, config: Path | None, words: Sequence[str]) -> list[str]:
    """Return the command line of this program, for the repository and configuration of a server."""
    place = ["--repository", str(root), *(["-c", str(config)] if config else [])]
    return [sys.executable, "-m", "anki_backup", *place, *words]


class Jobs:
    """The jobs of one repository."""

    def __init__(self, root: Path, config: Path | None) -> None:
        self.root, self.config = root, config
        self.folder = root / "state" / "jobs"

    def start(self, words: Sequence[str], by: str, backup: str | None = None) -> Job:
        """Start `ankibak WORDS` as a process of its own, and return at once; UsageError for a NUL in them."""
        if any("\0" in word for word in words):
            raise UsageError("no command can take a NUL", hint="Write it without that character.")
        durable.make_directory(self.folder)
        self._sweep()
        started = datetime.now(UTC).replace(microsecond=0)
        name = f"{started:%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(4)}"
        program = command(self.root, self.config, words)
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"umask 077; {SCRIPT}", "ankibak-job", str(self.folder / name), *program],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise AnkibakError(f"no process could be started: {error.strerror}") from error
        job = Job(id=name, words=list(words), started_at=started, process=process.pid, by=by, backup=backup)
        durable.write(self._path(name, "json"), json.dumps(to_builtins(job)).encode())
        return job

    def find(self, name: str) -> Progress:
        """Return how a job stands; NotFoundError for what is none."""
        if not PATTERN.fullmatch(name):
            raise NotFoundError("there is no such job")
        try:
            job = convert(json.loads(self._path(name, "json").read_bytes()), Job)
        except (OSError, ValueError) as error:
            raise NotFoundError(f"there is no job {name}") from error
        state: State = "running" if _alive(job.process, name) else "lost"
        # Looked for last: a job that ends meanwhile is not lost.
        code = self._code(name)
        if code is not None:
            state = "done" if code in (0, 3, 4) else "failed"
        said = self._read(name, "err")
        error_lines = [line for line in said.splitlines() if line.startswith('{"error"')]
        return Progress(
            job=job,
            state=state,
            exit_code=code,
            result=_document(self._read(name, "out")),
            error=(_document(error_lines[-1]) or {}).get("error") if error_lines else None,
            said="\n".join(line for line in said.splitlines() if not line.startswith('{"error"')),
        )

    def going(self) -> list[Job]:
        """Return the jobs that have not ended, of this process and of earlier ones."""
        found = []
        for name in self._names():
            with suppress(NotFoundError):  # swept away just now, or none of ours
                found.append(self.find(name))
        return [progress.job for progress in found if progress.state == "running"]

    def are_writing(self) -> bool:
        """Say whether one of them is a run or a rollback."""
        return any(job.words[0] in ALONE for job in self.going())

    def _names(self) -> list[str]:
        try:
            found = (path.stem for path in self.folder.glob("*.json"))
            return sorted((name for name in found if PATTERN.fullmatch(name)), reverse=True)
        except OSError:
            return []

    def _sweep(self) -> None:
        for name in self._names()[KEPT:]:
            for ending in ENDINGS:
                self._path(name, ending).unlink(missing_ok=True)

    def _path(self, name: str, ending: str) -> Path:
        return self.folder / f"{name}.{ending}"

    def _read(self, name: str, ending: str) -> str:
        try:
            with open(self._path(name, ending), "rb") as file:
                return file.read(SHOWN).decode("utf-8", "replace")
        except OSError:
            return ""

    def _code(self, name: str) -> int | None:
        text = self._read(name, "code").strip()
        return int(text) if text.isdecimal() else None


def _alive(process: int, name: str) -> bool:
    try:
        # A child of ours that has ended stays until it is asked for.
        return os.waitpid(process, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        pass
    try:
        # Of an earlier server; the number may be another's by now, on a machine that began again.
        return name.encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
