"""`ankibak schedule`: systemd units for this configuration."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from anki_backup import durable, terminal, units
from anki_backup.commands import Context
from anki_backup.errors import ConfigError, StorageError, UsageError
from anki_backup.settings import ProfileSource

HINT = "Run as root, or for your own user: ankibak schedule install --user"

app = typer.Typer(help="Install, show or remove systemd units for this configuration.")
User = Annotated[bool, typer.Option("--user", help="Your own systemd, which needs no root.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]


@app.callback()
def _schedule() -> None:
    pass


@app.command()
def install(
    ctx: typer.Context,
    user: User = False,
    dry_run: DryRun = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Only write the units there.")
    ] = None,
) -> None:
    """Write the units, show what differs from those that are there, and start the timers.

    With --dry-run it prints the units as `systemctl cat` does.
    """
    context: Context = ctx.obj
    made = wanted(context, user=user)
    folder = output or units.folder(user=user)
    if dry_run and not output:
        terminal.write("\n".join(f"# {folder / name}\n{text}" for name, text in made.items()))
        return
    stale = [name for name in ours(folder) if name not in made]
    if not user and (file := context.config.file) and units.is_hidden(file):
        context.warn(f"the units can't see {file}, they run as the user ankibak; move it, or say --user")
    changed = write(folder, made, context, dry_run=dry_run)
    if dry_run:
        return
    timers = sorted(name for name in made if name.endswith(".timer"))
    manager = units.manager(user=user)
    for name in stale:
        context.say(f"{name}: no longer configured, removed")
        if not output:
            _control([*manager, "disable", "--now", name], context, needed=False)
        (folder / name).unlink()
    if output:
        return
    if changed or stale:
        _control([*manager, "daemon-reload"], context)
    if _control(units.start(timers, user=user), context):
        show = f"ankibak schedule show{' --user' if user else ''}"
        context.say(f"{len(timers)} timers are on. See when they come next: {show}")
    if user:
        context.say("To have them run while you are logged out, once: loginctl enable-linger")
    context.say(f"For the web view: {' '.join(units.start(['ankibak-serve.socket'], user=user))}")


@app.command()
def show(
    ctx: typer.Context,
    user: User = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show whether the installed units are those of this configuration, and when timers come next."""
    context: Context = ctx.obj
    made, folder = wanted(context, user=user), units.folder(user=user)
    states = {name: _state(folder, name, made.get(name)) for name in sorted({*made, *ours(folder)})}
    if as_json:
        terminal.print_json({"units": [{"unit": name, "state": state} for name, state in states.items()]})
        return
    for name, state in states.items():
        terminal.write(f"{terminal.cell(name)}\t{state}\n")
    if terminal.is_terminal(sys.stdout):
        listing = [*units.manager(user=user), "list-timers", "--all", "--no-pager", "ankibak*"]
        _control(listing, context, needed=False)


def _state(folder: Path, name: str, text: str | None) -> str:
    there = _read(folder / name)
    if there is None:
        return "not installed"
    if text is None:
        return "not configured"
    if there != text:
        return "differs"
    return "off" if units.is_off(folder, name) else "installed"


@app.command()
def remove(
    ctx: typer.Context,
    user: User = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Stop the timers and remove the units that `schedule install` made; backups stay."""
    context: Context = ctx.obj
    folder = units.folder(user=user)
    names = ours(folder)
    for name in names:
        terminal.write(f"{terminal.cell(str(folder / name))}\n")
    if dry_run or not names:
        return
    context.confirm(f"Remove these {len(names)} units?", yes=yes)
    manager = units.manager(user=user)
    started = [name for name in names if name.endswith((".timer", ".socket"))]
    _control([*manager, "disable", "--now", *started], context, needed=False)
    for name in names:
        _refusing(folder / name, Path.unlink)
    _control([*manager, "daemon-reload"], context, needed=False)


def wanted(context: Context, *, user: bool) -> dict[str, str]:
    """Return the units for the enabled sources of this configuration."""
    config = context.config
    enabled = {name: source for name, source in config.sources.items() if source.enabled}
    if not enabled:
        raise ConfigError("no source is configured", hint="Make a configuration: ankibak init")
    given = context.repository_path or config.origin("storage.root") != "default"
    root = context.root if given or user else units.SYSTEM_ROOT
    paths = [str(source.path) for source in enabled.values() if isinstance(source, ProfileSource)]
    site = units.Site(
        program(),
        config.file.absolute() if config.file else None,
        root.absolute(),
        user=user,
        writable=[config.metrics.textfile.parent] if config.metrics.textfile else [],
        homes=any(path.startswith(f"{home}/") for path in paths for home in units.HOMES),
    )
    schedules = {name: config.schedule_of(name) for name in enabled}
    return units.render(site, schedules, config.server.listen)


def program() -> list[str]:
    """Return how a unit starts this program: by the script beside this Python, or as its module."""
    script = Path(sys.executable).with_name("ankibak")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "anki_backup"]


def ours(folder: Path) -> list[str]:
    """Return the names of the units in `folder` that `schedule install` made."""
    return sorted(path.name for path in folder.glob("ankibak*") if (_read(path) or "").startswith(units.MARK))


def write(folder: Path, made: dict[str, str], context: Context, *, dry_run: bool) -> int:
    """Write what differs, having shown the difference; return how many units that were."""
    changed = 0
    for name, text in made.items():
        path, there = folder / name, _read(folder / name)
        if there == text:
            continue
        if there is not None and not there.startswith(units.MARK):
            raise UsageError(f"{path} is not ours", hint="Move it away, or write elsewhere: -o DIR")
        changed += 1
        before = (there or "").splitlines()
        for line in difflib.unified_diff(before, text.splitlines(), str(path), str(path), lineterm=""):
            context.say(terminal.escape(line))
        if not dry_run:
            _refusing(path, partial(_replace, text))
    if not changed:
        context.say("The units are as they should be.")
    return changed


def _replace(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.chmod(0o644)
    durable.sync_file(part)
    part.rename(path)
    durable.sync_directory(path.parent)


def _refusing(path: Path, action: Callable[[Path], object]) -> None:
    try:
        action(path)
    except OSError as error:
        raise StorageError(f"can't write {path}: {(error.strerror or '').lower()}", hint=HINT) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return ""


def _control(command: list[str], context: Context, *, needed: bool = True) -> bool:
    """Run systemctl; where there is none to talk to, say what is left to type."""
    if shutil.which(command[0]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            terminal.write(done.stdout)
            return True
    if needed:
        context.warn(f"systemd did not answer; where it runs, type: {' '.join(command)}")
    return False
