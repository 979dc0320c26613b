"""A first configuration: what can be found on this machine, and the commented file that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from platformdirs import user_config_path

from anki_backup.config import SYSTEM_FILE
from anki_backup.keys import SHORT

# Where Anki keeps profiles: as installed from its site, and as a Flatpak or Snap.
ANKI_FOLDERS = (
    ".local/share/Anki2",
    ".var/app/net.ankiweb.Anki/data/Anki2",
    "snap/anki-desktop/current/.local/share/Anki2",
)
SYSTEM_ROOT = Path("/var/lib/ankibak")
ANKIWEB_JITTER = "10m"

HEAD = """\
# The configuration of ankibak. Every key: docs/CONFIG.md, or `ankibak config schema --example`.
# `ankibak config check` says whether all of it fits.
"""
NOTES = {
    "storage": "Where backups are kept; best on another disk than the collection.",
    "schedule": "When timers run, see `ankibak schedule install`. AnkiWeb is shared by all: be sparing.",
    "profile": "A profile on this machine. It is only ever read.",
    "ankiweb": "An account. Its password is never written here; after the login only a host key is kept.",
}


def profiles(home: Path) -> list[Path]:
    """Return the profiles of Anki's that a person has, the one used last first."""
    found = [path for folder in ANKI_FOLDERS for path in (home / folder).glob("*/collection.anki2")]
    return [path.parent for path in sorted(found, key=_age, reverse=True)]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def default_file(*, system: bool) -> Path:
    """Return where a configuration is looked for, for this user or for the system."""
    return SYSTEM_FILE if system else user_config_path("ankibak") / "config.toml"


def text(name: str, source: dict[str, Any], root: Path | None, schedule: dict[str, Any]) -> str:
    """Return a commented configuration of one source; `source` has its keys, `kind` among them."""
    kind = source["kind"]
    short = kind == "ankiweb" and name == SHORT
    table = {key: value for key, value in source.items() if not (short and key == "kind")}
    return "\n".join(
        [
            HEAD,
            *_table("storage", {"root": str(root)} if root else {}, NOTES["storage"]),
            *_table("schedule", schedule, NOTES["schedule"]),
            *_table(SHORT if short else f"sources.{name}", table, NOTES[kind]),
        ]
    )


def _table(name: str, values: dict[str, Any], note: str) -> Iterator[str]:
    if values:
        yield f"# {note}\n[{name}]\n{tomli_w.dumps(values)}"
