"""`ankibak run`: a backup of each source, where something changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

import typer
from msgspec import to_builtins

from anki_backup import figures, logs, prune, runs, safety, signals, terminal, watch
from anki_backup.apart import check_places
from anki_backup.commands import Context
from anki_backup.errors import AnkibakError, BusyError, ConfigError, DamageError, Terminated, UsageError
from anki_backup.gather import Options, Progress
from anki_backup.model import Backup, Run, now
from anki_backup.repository import Repository
from anki_backup.retention import DEFAULT
from anki_backup.runs import Result
from anki_backup.sources import Source
from anki_backup.values import duration


def command(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Only these; all enabled ones when none is named."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make a backup even if nothing changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every media file again.")] = False,
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="Wait so long for the lock, or for Anki to close.")
    ] = "0s",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Back up each source; a backup is made only where something changed.

    Into a pipe a line for each source, with tabs between: source, outcome, backup,
    stored_bytes, duration_ms, reason.
    """
    context: Context = ctx.obj
    chosen = choose(context, names or [])
    check_places(context.config, context.root)
    config = context.config
    options = Options(force, rehash, _seconds(wait), config.run.threads, _progress(context), config.alarms)
    drivers = [context.driver(name, rehash=rehash) for name in chosen]
    if dry_run:
        from anki_backup import plan

        results = [plan.plan(context.root, driver, options) for driver in drivers]
    else:
        repository = context.made_repository()
        due = _due(context, repository, chosen)
        results = [_run(context, repository, driver, options) for driver in drivers]
        results = _pruned(context, repository, results, due)
    for result in results:
        _tell(context, result)
    _print(context, results, as_json=as_json)
    if code := exit_code(results):
        raise typer.Exit(code)


def _due(context: Context, repository: Repository, chosen: list[str]) -> list[str]:
    """Return the sources whose backups are to be pruned if this run of them goes well."""
    if not context.config.run.prune:
        return []
    try:
        return [name for name in chosen if prune.due(repository, name, now(), context.zone)]
    except DamageError:  # of the log: each run will tell
        return []


def _pruned(context: Context, repository: Repository, results: list[Result], due: list[str]) -> list[Result]:
    """Prune the sources whose run was good in every way; what goes wrong is told with the last of them."""
    good = {
        result.run.source
        for result in results
        if result.run.source in due and not (result.error or result.incomplete or result.alarmed)
    }
    if not good:
        return results
    policy = context.config.retention_of
    rules = prune.Rules(lambda source: policy(source) or DEFAULT, now, context.zone, good, reasons=False)
    try:
        plan = prune.plan(repository, rules)
        done, warnings = prune.perform(repository, plan, rules)
    except BusyError:
        return results
    except Terminated:
        raise
    except AnkibakError as error:
        done, warnings = None, [f"nothing was pruned: {error.message}"]
    if done and done.goes and context.verbose:
        context.say(f"pruned {figures.counted(len(done.goes), 'backup')}, {figures.size(done.freed_bytes)}")
    if not warnings:
        return results
    last = max(at for at, result in enumerate(results) if result.run.source in good)
    told = results[last]._replace(warnings=(*results[last].warnings, *warnings), incomplete=True)
    return [*results[:last], told, *results[last + 1 :]]


def choose(context: Context, names: list[str]) -> list[str]:
    """Return the sources to back up, in the order of the configuration; NotFoundError for an unknown one."""
    configured = context.config.sources
    if not configured:
        raise ConfigError(
            "no source is configured",
            hint="Set one up: ankibak init",
        )
    for name in names:
        context.config.source(name)
    return list(dict.fromkeys(names)) or [name for name, source in configured.items() if source.enabled]


def exit_code(results: list[Result]) -> int:
    """Return one code for all: theirs if all ended alike, else 4 for an alarm, 3 if some are fine, else 1."""
    codes = {_code(result) for result in results}
    if len(codes) <= 1:
        return codes.pop() if codes else 0
    return 4 if 4 in codes else 3 if codes & {0, 3} else 1


def _code(result: Result) -> int:
    if result.error:
        return result.error.exit_code
    return 4 if result.alarmed else 3 if result.incomplete else 0


def _seconds(text: str) -> float:
    try:
        return duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--wait {text} is no duration", hint="Write it so: 30s, 15m, 1h.") from error


def _run(context: Context, repository: Repository, source: Source, options: Options) -> Result:
    """Back up one source; what keeps it from beginning stops only this one."""
    signals.tell_systemd(f"STATUS=backing up {source.name}")
    try:
        result = watch.back_up(repository, source, options, context.config, context.say)
        signals.tell_systemd(f"STATUS={source.name}: {result.run.outcome}")
        return result
    except Terminated:
        raise
    except (AnkibakError, OSError) as error:
        return runs.refused(source.name, error)


def _progress(context: Context) -> Progress:
    def progress(title: str, total: int) -> AbstractContextManager[Callable[[int], object]]:
        return terminal.progress(title, total or None, quiet=context.quiet, color=context.color)

    return progress


def _tell(context: Context, result: Result) -> None:
    for warning in result.warnings:
        context.warn(f"{result.run.source}: {warning}")
    if result.alarmed:
        context.warn(f"ALARM: {safety.alarm_sentence(result.alarmed)}")


def _print(context: Context, results: list[Result], *, as_json: bool) -> None:
    if as_json:
        shown = [to_builtins(each.run) | {"backup": _made(context, each)} for each in results]
        terminal.print_json({"results": shown})
        if len(results) == 1 and results[0].error:
            raise results[0].error
        return
    if len(results) == 1 and results[0].error:
        raise results[0].error
    for result in results:
        if result.error:
            context.tell(f"{result.run.source}: {result.error.message}", "error", result.error.hint)
        elif context.log_format != "text":
            _log(context, result)
    if logs.is_journal(sys.stdout):
        return  # it has the line already
    if not terminal.is_terminal():
        terminal.print_rows(_fields(result.run) for result in results)
    elif not context.quiet:
        for result in results:
            terminal.write(_sentence(result) + "\n")


def _made(context: Context, result: Result) -> Backup | None:
    """Return the backup of a run as everybody gets to see it: with the one before it."""
    return context.repository().find(result.backup.id) if result.backup else None


def _log(context: Context, result: Result) -> None:
    """Put the one line into the log that programs read of a run which did not fail."""
    run = result.run
    told = {name: getattr(run, name) for name in ("source", "outcome", "reason", "backup", "duration_ms")}
    if not context.quiet:
        context.tell(_sentence(result), "info", **told, stored_bytes=run.stored_bytes)


def _fields(run: Run) -> list[object]:
    return [run.source, run.outcome, run.backup, run.stored_bytes, run.duration_ms, run.reason]


def _sentence(result: Result) -> str:
    """Say in words what came of a run."""
    run, backup = result.run, result.backup
    took = figures.duration(run.duration_ms)
    if backup:
        counted = "" if backup.stats.cards is None else f", {backup.stats.cards:,} cards"
        stored = figures.size(run.stored_bytes)
        return f"{run.source}: backed up as {backup.id}{counted}; {stored} stored in {took}"
    if run.outcome == "failed":
        return f"{run.source}: failed"
    if run.outcome == "planned":
        return f"{run.source}: would be backed up ({run.reason})"
    return f"{run.source}: nothing changed ({took})"
