"""`state/current-pointer.json`: which backup the active state of each source is."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from anki_backup import durable
from anki_backup.errors import DamageError
from anki_backup.model import seal, unseal

NAME = "current-pointer.json"


class Pointers(Struct, frozen=True, kw_only=True):
    """The document."""

    sources: dict[str, str]


def read(root: Path) -> dict[str, str]:
    """Return source -> active backup; empty when nothing was noted."""
    try:
        data = (root / "state" / NAME).read_bytes()
    except FileNotFoundError:
        return {}
    return unseal(data, Pointers, NAME).sources


def put(root: Path, source: str, backup_id: str) -> None:
    """Note which backup a source's active state is; a damaged note is begun again."""
    try:
        known = read(root)
    except DamageError:
        known = {}
    if known.get(source) != backup_id:
        durable.write(root / "state" / NAME, seal(Pointers(sources=known | {source: backup_id})))
