"""What a command of ours prints, block by block, as fast as somebody takes it; its end is the command's."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from typing import IO

from anki_backup.errors import AnkibakError, DamageError, NotFoundError, SourceError, StorageError, UsageError

SHOWN = 64 << 10
PATIENCE_S = 1.0
KINDS = {kind.code: kind for kind in (NotFoundError, DamageError, SourceError, StorageError, UsageError)}


async def blocks(
    command: Sequence[str], size: int, place: AbstractContextManager[None]
) -> AsyncGenerator[bytes, None]:
    """Yield what a command of ours prints, in blocks, within a place; its error is raised at the end of it.

    Closed early, it ends the process too, and removes what that had in temporary folders.
    The command is to log as JSON.
    """
    with place, tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory(prefix="ankibak-") as folder:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=said,
                limit=size,
                start_new_session=True,
                env={**os.environ, "TMPDIR": folder},
            )
        except OSError as error:
            raise AnkibakError(f"no process could be started: {error.strerror}") from error
        assert process.stdout is not None
        try:
            while block := await process.stdout.read(size):
                yield block
            if await process.wait():
                raise _error(said)
        finally:
            if process.returncode is None:
                await asyncio.shield(_end(process))


async def _end(process: Process) -> None:
    """End a process: with SIGTERM it cleans up, but not while Anki's library works for long."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _error(said: IO[bytes]) -> AnkibakError:
    """Return the error that a process ended with, as the last line that it logged has it."""
    said.seek(max(0, said.seek(0, 2) - SHOWN))
    for line in reversed(said.read().splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.get("level") == "error":
            kind = KINDS.get(str(told.get("code")), AnkibakError)
            return kind(str(told.get("message")), hint=told.get("hint"))
    return AnkibakError("the export ended without a word")
