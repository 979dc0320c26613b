"""Host keys and the like: files in `state/secrets/` that only their owner can read.

Nothing here is exported, replicated or shown. A secret that others could read is
not used: it has to be taken for known.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from anki_backup import durable
from anki_backup.errors import ConfigError

LIMIT = 64 << 10
OTHERS = stat.S_IRWXG | stat.S_IRWXO
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Secrets:
    """The secrets in one folder, by name; a name is a file's, such as `home.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """Return a secret, None if there is none; ConfigError if others can read it."""
        path = self.folder / name
        try:
            return read_private(path, links=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"can't read {path}: {(error.strerror or '').lower()}") from error

    def write(self, name: str, data: bytes) -> None:
        """Keep a secret, durably, in a file of mode 0600 in a folder of mode 0700."""
        if not durable.make_directory(self.folder):
            with durable.storing(self.folder):
                os.chmod(self.folder, 0o700)
        durable.write(self.folder / name, data)

    def forget(self, name: str) -> bool:
        """Remove a secret; say whether there was one."""
        path = self.folder / name
        with durable.storing(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
            durable.sync_directory(self.folder)
        return True


def read_private(path: Path, *, links: bool) -> bytes:
    """Read a small file that holds a secret; ConfigError if others can read it. OSErrors are the caller's."""
    # What systemd or a person provides may be a link; what we wrote ourselves is none.
    fd = os.open(path, READ & ~os.O_NOFOLLOW if links else READ)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise ConfigError(f"{path} is no regular file")
        if state.st_mode & OTHERS:
            raise ConfigError(
                f"{path} holds a secret, and others can read it",
                hint=f"Take the secret for known and change it, then type: chmod 600 '{path}'",
            )
        data = os.read(fd, LIMIT + 1)
    finally:
        os.close(fd)
    if len(data) > LIMIT:
        raise ConfigError(f"{path} is too large to be a secret")
    return data
