"""Which places of a configuration must lie apart: sources, media folders, the repository."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from anki_backup.config import Config
from anki_backup.errors import ConfigError
from anki_backup.settings import ProfileSource


def check_places(config: Config, root: Path | None = None) -> None:
    """Refuse a source that lies inside the repository, and a repository inside a media folder."""
    root = root or config.storage.root
    for name, source in config.sources.items():
        if not isinstance(source, ProfileSource):
            continue
        single = source.path.suffix in (".anki2", ".anki21")
        folder = source.path.parent if single else source.path
        media = [folder / "collection.media", folder / "media"]
        if single:
            media.append(source.path.with_suffix(".media"))
        if source.media:
            media = [source.media]
        for place in (folder, *media):
            if _inside(place, root):
                _misplaced(f"sources.{name}: {place} lies inside the repository {root}")
        for place in media:
            if _inside(root, place):
                _misplaced(f"sources.{name}: the repository {root} lies inside the media folder {place}")


def _misplaced(message: str) -> NoReturn:
    raise ConfigError(message, hint="Give the repository a folder of its own: set storage.root.")


def _inside(place: Path, folder: Path) -> bool:
    """Whether `place` is `folder` or below it, by whatever name: a link, a bind mount, other case."""
    real = Path(os.path.realpath(place))
    if real.is_relative_to(os.path.realpath(folder)):
        return True
    for above in (real, *real.parents):
        with suppress(OSError):
            if os.path.samefile(above, folder):
                return True
    return False
