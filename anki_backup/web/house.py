"""All that one server has: the desk, the paper, the jobs, the downloads, the logins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import tzinfo
from pathlib import Path
from typing import Any

from litestar import Request

from anki_backup import metrics, overview, safety
from anki_backup.config import Config
from anki_backup.errors import UsageError
from anki_backup.logins import Logins
from anki_backup.overview import Overview
from anki_backup.safety import Safety
from anki_backup.web import desk
from anki_backup.web.comparing import Comparing
from anki_backup.web.desk import Desk
from anki_backup.web.downloads import Hall
from anki_backup.web.gate import Who
from anki_backup.web.jobs import Jobs
from anki_backup.web.limits import Limit
from anki_backup.web.paper import Paper
from anki_backup.web.reading import Reading
from anki_backup.web.seeking import Seeking

MOST = 500


class House:
    """What the handlers work with."""

    def __init__(self, root: Path, config: Config, zone: tzinfo | None) -> None:
        self.config = config
        self.desk = Desk(root, config, zone)
        self.paper = Paper(zone)
        self.jobs = Jobs(root, config.file)
        self.hall = Hall(config.file)
        self.comparing = Comparing(self.desk.repository)
        self.reading = Reading(self.desk.repository, config.schedule.timezone)
        self.seeking = Seeking(root)
        self.logins = Logins(root)
        # One after the other: each takes 32 MB, and nobody needs to have logged in yet.
        self.hashing = ThreadPoolExecutor(1, "login")
        self.guesses = Limit(5, 12)
        self.all_guesses = Limit(30, 2)

    def stale(self) -> bool:
        """Say whether a source had no successful run for longer than it may."""
        verdict = self.safety()
        ages = {name: safety.allowed_age(self.config, name, desk.now()) for name in self.config.sources}
        return any(
            source.age_s is None or source.age_s > ages[source.source].total_seconds()
            for source in verdict.sources
            if source.source in ages and self.config.sources[source.source].enabled
        )

    def overview(self) -> Overview:
        """Return the figures of the whole repository."""
        enabled = [name for name, source in self.config.sources.items() if source.enabled]
        return self.desk.remembered("overview", lambda: overview.look(self.desk.repository.history, enabled))

    def metrics(self) -> str:
        """Return all figures as Prometheus reads them."""
        counted = self.desk.remembered("counters", lambda: metrics.counters(self.desk.repository))
        return metrics.told(self.config, self.overview(), self.safety(), counted, desk.now())

    def safety(self) -> Safety:
        """Return the verdict; the desk's thread only."""
        return safety.verdict(self.desk.repository.id, self.overview(), self.config, desk.now())


def of(request: Request[Any, Any, Any]) -> House:
    """Return the house that a request came to."""
    house: House = request.app.state.house
    return house


def asker(request: Request[Any, Any, Any]) -> Who:
    """Return who asks."""
    who: Who = request.scope["state"]["who"]
    return who


def whole(text: str | None, name: str, default: int, most: int = MOST) -> int:
    """Return a number from a query; UsageError where it is none, or out of reach."""
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 1 <= int(text) <= most:
        raise UsageError(f"{name} is no number from 1 to {most}")
    return int(text)
