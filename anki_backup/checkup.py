"""What `doctor` looks at: each thing that has to be right, how it is, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from anki_backup import gaps, library, plan, safety, units
from anki_backup.apart import check_places
from anki_backup.config import Config
from anki_backup.errors import AnkibakError, BusyError, ConfigError, RepositoryError
from anki_backup.repository import Repository

State = Literal["ok", "warning", "failed"]
SPACE = 1 << 30
MINUTE = "%Y-%m-%d %H:%M"
AHEAD = timedelta(minutes=5)
WAIT_S = 3.0


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `hint` says what to do where it is not ok."""

    name: str
    state: State
    message: str
    hint: str | None = None


def versions() -> Iterator[Check]:
    """Tell what this runs on."""
    import apsw

    from anki_backup import __version__

    told = f"ankibak {__version__}, Anki's library {library.version()}, SQLite {apsw.sqlite_lib_version()}"
    yield Check(name="versions", state="ok", message=f"{told}, Python {platform.python_version()}")


def configuration(config: Config, root: Path) -> Iterator[Check]:
    """Check that the settings fit each other and this machine."""
    try:
        check_places(config, root)
    except ConfigError as error:
        yield _failed("configuration", error)
        return
    if not config.sources:
        yield Check(
            name="configuration",
            state="failed",
            message="no source is configured",
            hint="Set one up: ankibak init",
        )
        return
    yield Check(name="configuration", state="ok", message=str(config.file or "from the environment"))


def place(root: Path) -> Iterator[Check]:
    """Check the repository's folder: there, ours, private, writable, with space left."""
    try:
        repository = Repository.open(root)
    except RepositoryError as error:
        yield _failed("repository", error)
        return
    yield Check(name="repository", state="ok", message=f"{root}, format {repository.format}")
    state = root.stat()
    if state.st_uid != os.geteuid():
        yield Check(
            name="owner",
            state="warning",
            message=f"{root} belongs to user {state.st_uid}, not to you ({os.geteuid()})",
            hint="Run as that user, or what is written here can't be read there.",
        )
    if stat.S_IMODE(state.st_mode) & 0o077:
        hint = f"chmod -R go= {root}"
        yield Check(
            name="permissions",
            state="warning",
            message=f"others may read {root}",
            hint=f"If that is not meant: {hint}",
        )
    if not os.access(root, os.W_OK):
        yield Check(
            name="space",
            state="failed",
            message=f"{root} can't be written",
            hint="Mount it writable, or mend its owner.",
        )
    else:
        yield _space(root)
    yield from _clock(repository)


def _space(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    told = f"{free / 2**30:,.1f} GiB are free"
    if free < SPACE:
        hint = "Make room, or prune: ankibak prune --dry-run"
        return Check(name="space", state="warning", message=told, hint=hint)
    return Check(name="space", state="ok", message=told)


def _clock(repository: Repository) -> Iterator[Check]:
    newest = max((backup.created_at for backup in repository.backups(limit=1)), default=None)
    now = datetime.now(UTC)
    if newest and newest > now + AHEAD:
        yield Check(
            name="clock",
            state="failed",
            message=f"it is {now:{MINUTE}} UTC here, but the newest backup is of {newest:{MINUTE}}",
            hint="Set the clock (timedatectl); nothing is pruned while it is wrong.",
        )
    else:
        yield Check(name="clock", state="ok", message=f"{now:{MINUTE}} UTC")


def source(root: Path, name: str, driver: Any, settings: Any) -> Iterator[Check]:
    """Reach a source: read a profile's state, ask an account's server one question."""
    label = f"source {name}"
    try:
        if settings.kind == "ankiweb":
            if not driver.is_logged_in and driver.provided_password() is None:
                hint = f"Exchange the password for a key: ankibak login {name}"
                yield Check(name=label, state="failed", message="is not logged in", hint=hint)
                return
            if not driver.is_logged_in:
                told = f"{settings.username}: the next run logs in, with the password that is provided"
                yield Check(name=label, state="warning", message=told, hint=f"Try it: ankibak login {name}")
                return
            with plan.held(root, driver, "doctor", WAIT_S):
                foreseen = driver.foresee()
            yield Check(name=label, state="ok", message=f"{settings.username}: {foreseen}")
        else:
            sighting = driver.look()
            told = "is open in Anki, or was not closed" if sighting.hot else "is closed"
            yield Check(name=label, state="ok", message=f"{settings.path} {told}")
    except BusyError as error:
        yield Check(name=label, state="warning", message=error.message, hint=error.hint)
    except AnkibakError as error:
        yield _failed(label, error)


def freshness(repository: Repository, config: Config) -> Check:
    """Say what `status` says."""
    verdict = safety.status(repository, config, datetime.now(UTC))
    state: State = "ok" if verdict.safe else "failed"
    hint = None if verdict.safe else "See the runs: ankibak runs"
    return Check(name="status", state=state, message=verdict.sentence, hint=hint)


def log(repository: Repository) -> Check:
    """Look whether the event log tells all that it should: it holds pins, and nothing is pruned without."""
    if trouble := gaps.trouble(repository.history):
        return Check(name="event log", state="warning", message=trouble.message, hint=trouble.hint)
    return Check(name="event log", state="ok", message="whole")


def timers(names: list[str]) -> Check:
    """Look whether each source has a timer that is on, in systemd's folder or in this user's."""
    there = {
        unit: [user for user in (True, False) if (units.folder(user=user) / unit).exists()]
        for unit in (f"ankibak@{name}.timer" for name in names)
    }
    missing = [unit for unit, users in there.items() if not users]
    off = {
        unit: users[0]
        for unit, users in there.items()
        if users and all(units.is_off(units.folder(user=user), unit) for user in users)
    }
    if missing:
        told, hint = f"systemd has no {', '.join(missing)}", "ankibak schedule install --user"
    elif off:
        commands = (units.start([unit], user=user) for unit, user in off.items())
        told, hint = f"systemd does not start {', '.join(off)}", "; ".join(map(" ".join, commands))
    else:
        return Check(name="timers", state="ok", message="every source has one that is on")
    return Check(name="timers", state="warning", message=told, hint=f"Let it run by itself: {hint}")


def _failed(name: str, error: AnkibakError) -> Check:
    return Check(name=name, state="failed", message=error.message, hint=error.hint)
