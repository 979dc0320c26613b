"""Programs of the user's own that are run around a backup.

Each is a list of arguments, given to no shell. It is told what happens by
variables whose names begin with `ANKIBAK_`, has nothing to read, and a limit of
time; when that is over it is stopped, with all that it started. What it prints
is handed on without the secrets that we know of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

from anki_backup import redaction
from anki_backup.errors import HookError
from anki_backup.listeners import Hooks

LIMIT = timedelta(minutes=5)
# A run that was told to stop has to be gone soon.
HURRIED = timedelta(seconds=2)
OUTPUT = 1 << 16
Say = Callable[[str], object]


class Around:
    """The hooks of one source's run; `say` gets each line that they print."""

    def __init__(self, hooks: Hooks, facts: Mapping[str, str], secrets: list[str], say: Say) -> None:
        self.hooks = hooks
        self.facts = dict(facts)
        self.secrets = secrets
        self.say = say
        self.warnings: list[str] = []

    def before(self) -> None:
        """Run what comes first; HookError if it fails and that means that nothing is backed up."""
        try:
            self._run("before", self.hooks.before)
        except HookError as error:
            if self.hooks.failing in (None, "abort"):
                raise
            self._note(error)

    def after(self, outcome: str, facts: Mapping[str, str]) -> list[str]:
        """Run what comes after a run that ended so; return what went wrong with it, if that counts."""
        self.facts |= facts
        failed = outcome in ("failed", "interrupted")
        for name in (("on_failure",) if failed else ("after",)) + ("always",):
            try:
                self._run(name, getattr(self.hooks, name), hurried=outcome == "interrupted")
            except HookError as error:
                self._note(error)
        return self.warnings

    def _note(self, error: HookError) -> None:
        if self.hooks.failing != "ignore":
            self.warnings.append(error.message)
        else:
            self.say(error.message)

    def _run(self, name: str, argv: list[str] | None, *, hurried: bool = False) -> None:
        if not argv:
            return
        limit = self.hooks.timeout or LIMIT
        limit = min(limit, HURRIED) if hurried else limit
        told = {f"ANKIBAK_{key}": value for key, value in self.facts.items()} | {"ANKIBAK_HOOK": name}
        try:
            code, output = run(argv, redaction.environment(os.environ) | told, limit)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise HookError(f"hook {name} can't be run: {argv[0]}: {reason}") from error
        for line in redaction.redact(output, self.secrets).splitlines():
            self.say(f"hook {name}: {line}")
        if code is None:
            raise HookError(f"hook {name} was stopped after {limit.total_seconds():g} s")
        if code:
            raise HookError(f"hook {name} failed with exit code {code}")


def run(argv: list[str], environ: Mapping[str, str], limit: timedelta) -> tuple[int | None, str]:
    """Run a program to its end or the limit's; return its exit code, None if it was stopped, and its output.

    Nothing of it is left behind, whatever interrupts us.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit.total_seconds())
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None or code is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        text = output.read(OUTPUT).decode("utf-8", "backslashreplace")
        return code, text
