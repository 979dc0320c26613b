"""Which repository this is: `repository.json`, and what its manifests say where that can't be read.

Each manifest names the repository that it belongs to. So the loss of the one file that all reading
begins with costs nothing: who reads asks the manifests, who writes next writes it anew.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from anki_backup import durable
from anki_backup.errors import DamageError, NoRepositoryError, RepositoryError, StorageError
from anki_backup.model import FORMAT, ID_PATTERN, BackupManifest, load, seal, unseal

NAME = "repository.json"
MENDED = "repository.json was lost or damaged, and was written anew from the manifests"


class Identity(Struct, frozen=True, kw_only=True):
    """`repository.json`."""

    format: int
    id: str


def read(root: Path) -> Identity:
    """Return which repository `root` is; RepositoryError when it is none that we can read."""
    damage = None
    try:
        found = written(root)
    except DamageError as error:
        found, damage = None, error
    found = found or of_manifests(root)
    if found is None and damage:
        raise DamageError(damage.message, hint=f"Put {NAME} back from a copy of the repository.")
    if found is None:
        raise NoRepositoryError(
            f"there is no repository in {root}", hint="Make the first backup, which makes it: ankibak run"
        )
    if not 0 < found.format <= FORMAT:
        raise RepositoryError(
            f"the repository in {root} has format {found.format}; this program knows up to {FORMAT}",
            hint="Install a newer ankibak.",
        )
    return found


def written(root: Path) -> Identity | None:
    """Return what `repository.json` says, None without one; DamageError where it can't be read."""
    path = root / NAME
    try:
        data = path.read_bytes()
        return _newer(data) or unseal(data, Identity, str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RepositoryError(f"can't read {path}: {error.strerror}") from error


def _newer(data: bytes) -> Identity | None:
    """Return what a format to come says: it may be sealed otherwise, and is no damage to be mended."""
    with suppress(DamageError):
        found = load(data, NAME)
        number = found.get("format") if isinstance(found, dict) else None
        if isinstance(number, int) and number > FORMAT:
            return Identity(format=number, id="")
    return None


def of_manifests(root: Path) -> Identity | None:
    """Return which repository most manifests belong to; None without any, or where two are as likely."""
    told: Counter[Identity] = Counter()
    with suppress(OSError):
        for name in filter(ID_PATTERN.fullmatch, os.listdir(root / "backups")):
            with suppress(OSError, DamageError):
                data = (root / "backups" / name / "metadata.json").read_bytes()
                found = unseal(data, BackupManifest, name)
                told[Identity(format=found.format, id=found.repository)] += 1
    most = [known for known, count in told.items() if count == max(told.values())]
    return most[0] if len(most) == 1 else None


def trouble(root: Path) -> str | None:
    """Return in words what is wrong with `repository.json`."""
    try:
        return None if written(root) else f"{NAME} is missing"
    except DamageError as error:
        return error.message


def mend(root: Path, known: Identity) -> str | None:
    """Write `repository.json` anew if it can't be read, and say so; the caller holds the lock."""
    if trouble(root):
        with suppress(StorageError):  # of a full disk: then all goes on without
            put(root, known)
            return MENDED
    return None


def put(root: Path, known: Identity) -> None:
    """Write `repository.json`, durably."""
    durable.write(root / NAME, seal(known))
