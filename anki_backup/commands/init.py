"""`ankibak init`: from nothing to the first backup."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from platformdirs import user_data_path

from anki_backup import durable, figures, setup, terminal
from anki_backup.apart import check_places
from anki_backup.commands import Context
from anki_backup.errors import ConfigError, SourceError, UsageError
from anki_backup.model import SOURCE_PATTERN

HOURLY, DAILY = "0 * * * *", "30 3 * * *"
TERMS = """\
AnkiWeb is run by Anki's author for everybody, and free. Its terms speak of approved clients; this
program talks to it only through Anki's own unmodified library, and asks little: one small request
when nothing changed. Nobody can promise that this is welcome. Rarer is kinder: once a day is enough
for most people. A sync server of your own has no such limits.
"""


def command(
    ctx: typer.Context,
    profile: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Back up this profile or collection.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Back up this account, by its name or address.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="The account's sync server; AnkiWeb unless told.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where the account's password is, mode 0600.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="SOURCE", help="What to call the source.")] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to keep backups; the default place unless told.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="LINE", help="When timers run; every hour unless told.")
    ] = None,
    system: Annotated[bool, typer.Option("--system", help="For the whole machine, in /etc/ankibak.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Don't make the first backup now.")] = False,
) -> None:
    """Ask what to back up, try it, write the configuration, and make the first backup.

    With --profile or --account nothing is asked but, at a terminal, an account's
    password. An existing configuration is never written over, and where the repository
    holds backups already, nothing is run.
    """
    context: Context = ctx.obj
    file = (context.config_path or setup.default_file(system=system)).absolute()
    if file.exists():
        raise ConfigError(
            f"{file} is there already", hint="Edit it, or write another one: ankibak -c PATH init"
        )
    if profile and account:
        raise UsageError("a source is a profile or an account", hint="Add the other one to the file later.")
    root = context.repository_path or root or (setup.SYSTEM_ROOT if system else None)
    asking = not (profile or account)
    if asking:
        profile, account, endpoint = _ask()
        root = root or _ask_place()
    source, name = _source(profile, account, endpoint, password_file, name)
    schedule: dict[str, Any] = {"cron": cron or HOURLY}
    if account and not endpoint:
        schedule["jitter"] = setup.ANKIWEB_JITTER
        context.say(TERMS)
        if asking and not cron:
            schedule["cron"] = _ask_how_often()
    text = setup.text(name, source, root.absolute() if root else None, schedule)
    _write(file, text, name, context)
    context.say(f"wrote {file}")
    words = [] if file == setup.default_file(system=False) else ["-c", str(file)]
    if not (no_run or _is_known(Context(file), name, context)):
        _type([*words, "run"])
    _tell_what_is_next(context, words, system=system)


def _source(
    profile: Path | None, account: str | None, endpoint: str | None, password: Path | None, name: str | None
) -> tuple[dict[str, Any], str]:
    """Return the table of a source, and its name."""
    name = name or ("desktop" if profile else "home" if endpoint else "ankiweb")
    if not SOURCE_PATTERN.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a source", hint="Small letters, digits, - and _.")
    if profile:
        return {"kind": "profile", "path": str(profile.absolute())}, name
    given = {"username": account, "endpoint": endpoint}
    given["password_file"] = str(password.absolute()) if password else None
    return {"kind": "ankiweb"} | {key: value for key, value in given.items() if value}, name


def _write(file: Path, text: str, name: str, context: Context) -> None:
    """Write the configuration once its source was tried; what fails leaves none behind."""
    for folder in reversed([file.parent, *file.parent.parents]):
        if not folder.is_dir():
            durable.make_directory(folder)
    part = file.with_name(f"{file.name}{durable.PART}")
    part.unlink(missing_ok=True)
    durable.write_new(part, text.encode())
    try:
        _try(Context(part, quiet=context.quiet, color=context.color, log_format=context.log_format), name)
        durable.publish_synced(part, file)
    except ConfigError as error:
        # Nobody has seen the file that is to be, so its lines would say nothing.
        error.message = re.sub(rf"^{re.escape(str(part))}(, line \d+)?: ", "", error.message)
        raise
    finally:
        part.unlink(missing_ok=True)


def _try(context: Context, name: str) -> None:
    """Reach the source, the profile's state or the account, and make the repository where there is none."""
    from anki_backup.collection import MAGIC, NOT_ANKI
    from anki_backup.repository import Repository

    check_places(context.config, context.root)
    driver: Any = context.driver(name)
    if context.config.sources[name].kind == "profile":
        driver.look()
        with open(driver.collection, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise SourceError(f"{driver.given} is no collection of Anki's", hint=NOT_ANKI)
        context.made_repository()
        return
    from anki_backup import credentials

    settings: Any = context.config.sources[name]
    password = driver.provided_password() or credentials.ask(name, settings.username)
    if password is None:
        raise UsageError(
            f"there is no password for {settings.username}, and nobody to ask",
            hint="Give --password-file, or run this at a terminal.",
        )
    Repository.create(context.root)
    driver.login(password)
    context.say(f"{name}: logged in; the key is kept, the password is not")


def _ask() -> tuple[Path | None, str | None, str | None]:
    """Ask at the terminal what to back up; UsageError where nobody can answer."""
    if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stderr)):
        raise UsageError(
            "there is no terminal to ask on", hint="Say what to back up: --profile PATH or --account NAME"
        )
    found = setup.profiles(Path.home())
    choices = [*map(str, found), "another profile or collection", "an account on AnkiWeb"]
    choices.append("an account on a sync server of your own")
    lines = [f"  {number}  {terminal.escape(choice)}" for number, choice in enumerate(choices, 1)]
    answer = _question("\n".join(["What is to be backed up?", *lines, f"1-{len(choices)}"]), "1")
    if not answer.isdecimal() or not 1 <= int(answer) <= len(choices):
        raise UsageError(f"{answer!r} is none of 1 to {len(choices)}")
    chosen = int(answer) - 1
    if chosen < len(found):
        return found[chosen], None, None
    if chosen == len(found):
        return _path(_question("Its path")), None, None
    account = _question("The account's name or address")
    return None, account, _question("The server's URL") if chosen == len(choices) - 1 else None


def _path(answer: str) -> Path:
    return Path(os.path.expanduser(answer))


def _ask_place() -> Path | None:
    """Ask where backups are to be kept; None where the environment tells."""
    if os.environ.get("ANKIBAK_STORAGE__ROOT"):
        return None
    usual = str(user_data_path("ankibak"))
    return _path(_question("Where are backups to be kept? Best on another disk.", usual))


def _ask_how_often() -> str:
    answer = _question("How often? 1 every hour, 2 once a day, at 3:30", "1")
    if answer not in ("1", "2"):
        raise UsageError(f"{answer!r} is neither 1 nor 2")
    return HOURLY if answer == "1" else DAILY


def _is_known(made: Context, name: str, context: Context) -> bool:
    """Say whether the repository holds backups already: what the source is now may be all that was lost.

    Then a person has to say what is to come next, and is told so.
    """
    backups = made.repository().backups()
    if not backups:
        return False
    context.say(f"{made.root} holds {figures.counted(len(backups), 'backup')} already, so nothing was run")
    if name in (sources := sorted({backup.source for backup in backups})):
        context.say(f"to go back to the newest: ankibak rollback {name}:latest; to go on: ankibak run")
    else:
        context.say(f"they are of {', '.join(sources)}: to go on with one, name it so in {made.config_path}")
    return True


def _question(text: str, default: str = "") -> str:
    sys.stderr.write(f"{text}{f' [{default}]' if default else ''}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip() or default
    if not answer:
        raise UsageError("nothing was said, nothing was done")
    return answer


def _type(words: list[str]) -> None:
    """Run a command of this program as a person would; its failure is ours."""
    import subprocess

    done = subprocess.run([sys.executable, "-m", "anki_backup", *words], check=False, env=os.environ)
    if done.returncode:
        # Of one that a signal ended a shell would say 128 and the signal's number.
        raise typer.Exit(done.returncode if done.returncode > 0 else 128 - done.returncode)


def _tell_what_is_next(context: Context, words: list[str], *, system: bool) -> None:
    ankibak = shlex.join(["ankibak", *words])
    context.say("Next:")
    commands = (
        (f"schedule install{'' if system else ' --user'}", "let it run by itself"),
        ("list", "what there is"),
        ("status", "are the cards safe?"),
        ("verify --restore", "prove that it can be restored"),
    )
    width = max(len(command) for command, _ in commands)
    for command, meaning in commands:
        context.say(f"  {ankibak} {command.ljust(width)}  {meaning}")
