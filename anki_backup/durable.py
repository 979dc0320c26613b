"""Write, replace, append, sync and lock: surviving the power cut.

The one door for everything that the repository keeps. A file is made under a
name that ends in `.part`, synced, renamed, and its directory synced. Whatever
the system refuses becomes a StorageError that names the path. A failed fsync is
never tried again: the kernel may have dropped the pages and call them clean, so
the file is thrown away and the command fails (Rebello et al., ATC 2020).
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anki_backup.errors import StorageError

PART = ".part"
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FICLONERANGE = 0x4020940D
FEW = 8
FOREIGN = "Run as the user who owns that folder, or name one that you may write to."
REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, then run the command again; nothing is lost."),
    errno.EDQUOT: (
        "the disk quota is used up",
        "Free some space, then run the command again; nothing is lost.",
    ),
    errno.EROFS: ("the file system is read-only", "Mount it writable; reading commands work as it is."),
    errno.EACCES: ("permission denied", FOREIGN),
    errno.EPERM: ("permission denied", FOREIGN),
    errno.EIO: (
        "the disk reports an input/output error",
        "Look at `dmesg` and at the disk's health before going on.",
    ),
    errno.ELOOP: ("a symbolic link is in the way", "Remove the link: the repository follows none."),
}


@contextmanager
def storing(path: Path | str) -> Iterator[None]:
    """Turn what the system refuses about `path` into a StorageError with a hint."""
    try:
        yield
    except OSError as error:
        reason, hint = REASONS.get(error.errno or 0, (os.strerror(error.errno or 0).lower(), None))
        raise StorageError(f"can't write {path}: {reason}", hint=hint) from error


def make_directory(path: Path) -> bool:
    """Make `path` (0700) if it is missing, durably; say whether it was made."""
    with storing(path):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return False
        sync_directory(path.parent)
        return True


def sync_directory(path: Path | str) -> None:
    """Make the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_fully(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the descriptor's position, however the kernel slices it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def pwrite_fully(fd: int, data: bytes, at: int) -> None:
    """Write all of `data` at an offset; what does not fit is an OSError, never a short write."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def clone(source: int, target: int, at: int) -> bool:
    """Have a file share the blocks of another from an offset on; False where the file system can't.

    See ioctl_ficlonerange(2).
    """
    import fcntl  # only for large files

    try:
        fcntl.ioctl(target, FICLONERANGE, struct.pack("<qQQQ", source, 0, 0, at))
    except OSError:
        return False
    return True


@contextmanager
def part_file(path: Path | str) -> Iterator[int]:
    """Give a descriptor of a fresh `<path>.part`; it is gone again if the body fails.

    The body's caller renames it (`publish`) once it is whole.
    """
    part = f"{path}{PART}"
    with storing(part):
        try:
            fd = os.open(part, CREATE, 0o600)
        except FileExistsError:  # a crash left it
            os.unlink(part)
            fd = os.open(part, CREATE, 0o600)
        try:
            yield fd
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        finally:
            os.close(fd)


def publish(part: Path | str, path: Path | str) -> None:
    """Rename a finished file or directory to its real name; syncing is the caller's."""
    with storing(path):
        os.rename(part, path)


def publish_synced(part: Path, path: Path) -> None:
    """Make a finished file durable under its real name."""
    with storing(path):
        sync_file(part)
        os.rename(part, path)
        # The rename lives in the directory, so that must reach disk too.
        sync_directory(path.absolute().parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a file into a folder that has no real name yet; its bytes are synced, its name not."""
    with storing(path):
        fd = os.open(path, CREATE, 0o600)
        try:
            write_fully(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all, even if the power fails.

    When this returns, the bytes and the name are both on disk. A crash leaves
    at most a `.part` file beside it, which the next writer replaces.
    """
    with part_file(path) as fd:
        write_fully(fd, data)
    publish_synced(path.with_name(path.name + PART), path)


def append(path: Path, line: bytes, *, sync: bool = True) -> None:
    """Append one line, durably if `sync`; a line torn by an earlier crash never joins it.

    A write that does not fit is taken back, so a full disk leaves the old lines.
    """
    with storing(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if not size:
                # Its name first: a crash before this leaves an empty file, and brings us here again.
                sync_directory(path.parent)
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            try:
                write_fully(fd, (b"\n" if torn else b"") + line)
                if sync:
                    os.fsync(fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)


class Batch:
    """New files of one run, made durable together before anything names them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, None] = {}
        self._directories: set[str] = set()

    def add(self, path: Path | str) -> None:
        """Remember a file that was just given its name."""
        self._files[str(path)] = None
        self._directories.add(os.path.dirname(path) or ".")

    def drop(self, path: Path | str) -> None:
        """Forget a file that is gone again."""
        self._files.pop(str(path), None)

    def add_directory(self, path: Path) -> None:
        """Remember a directory that was just made."""
        self._directories.update((str(path), str(path.parent)))

    def hand_over(self) -> tuple[list[str], set[str]]:
        """Return all files and directories and forget them: for a fork to tell its parent."""
        found = list(self._files), self._directories
        self._files, self._directories = {}, set()
        return found

    def take_over(self, files: Iterable[str], directories: Iterable[str]) -> None:
        """Remember what was handed over."""
        self._files.update(dict.fromkeys(files))
        self._directories.update(directories)

    def flush(self) -> None:
        """Make all of them durable: a few one by one, many by one `syncfs`."""
        files, directories = self.hand_over()  # nothing of it is tried again
        with storing(self._root):
            if len(files) > FEW and _syncfs(self._root):
                return
            for path in files:
                sync_file(path)
            for directory in sorted(directories):
                sync_directory(directory)


def sync_file(path: Path | str) -> None:
    """Make the bytes of a file durable."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _syncfs(path: Path) -> bool:
    """Sync the whole file system of `path`; False where the C library has no syncfs."""
    import ctypes  # 8 ms, for large batches only

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)
    return True


def empty(folder: Path) -> None:
    """Remove all that a folder holds; nothing where it is a link."""
    if folder.is_symlink():
        return
    with storing(folder), os.scandir(folder) as entries:
        for entry in entries:
            _remove(entry)


def sweep(folder: Path) -> int:
    """Remove what a crash left as `.part` in `folder`; return how many there were."""
    found = 0
    with storing(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(PART):
                _remove(entry)
                found += 1
    return found


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)
