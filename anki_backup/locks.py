"""The lock of a repository: writers exclude each other, readers never wait.

A `flock` on a file that is never deleted: the kernel frees it when its holder
ends, however that came about, so there is no stale lock to clear away.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anki_backup.durable import storing
from anki_backup.errors import BusyError, StorageError

POLL_S = 0.1


@contextmanager
def lock(path: Path, holder: str, wait_s: float = 0) -> Iterator[None]:
    """Hold the exclusive lock at `path`; the kernel frees it when the process ends.

    Waits at most `wait_s` seconds, then raises BusyError naming the holder. The
    file is never deleted; what it says is for people, only the `flock` counts.
    """
    deadline = time.monotonic() + wait_s
    while True:
        fd = _open_lock(path)
        try:
            if _take(fd, path):
                with suppress(OSError):  # a full disk must not keep anybody from deleting
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()} {holder}\n".encode(), 0)
                yield
                return
            text = os.pread(fd, 200, 0).decode(errors="replace").split(maxsplit=1)
        finally:
            os.close(fd)
        late = time.monotonic() - deadline
        # Who has taken it just now needs a moment to write down who that is.
        if late >= (0 if text else POLL_S):
            process, command = [*text, "", ""][:2]
            raise BusyError(
                f"the repository is in use by process {process or '?'} ({command.strip() or 'unknown'})",
                hint="Try again when it has ended, or wait for it: ankibak run --wait 15m",
            )
        time.sleep(min(POLL_S, max(0.01, -late)))


def _open_lock(path: Path) -> int:
    with storing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _take(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"can't lock {path}: {error.strerror}",
            hint="This file system has no locks; keep the repository on a local disk.",
        ) from error
    # Somebody may have replaced the file between our open and our lock.
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def holder(path: Path) -> int | None:
    """Return the process that the lock file names if it is alive, without touching the lock."""
    try:
        process = int(path.read_text(errors="replace").split(maxsplit=1)[0])
        with suppress(PermissionError):  # it is somebody else's, so there is one
            os.kill(process, 0)
    except (OSError, ValueError, IndexError, OverflowError):
        return None
    return process
