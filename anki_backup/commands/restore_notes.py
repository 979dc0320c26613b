"""`ankibak restore-notes`: put a part of a backup back into a profile, or an account."""

from __future__ import annotations

from typing import Annotated

import typer

from anki_backup import putback, sendback, terminal
from anki_backup.commands import Context
from anki_backup.errors import UsageError
from anki_backup.gather import Options
from anki_backup.putback import Done, Prepared, Wish
from anki_backup.repository import Repository
from anki_backup.rollback import who
from anki_backup.sources import Source


def command(
    ctx: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id or the start of one, latest, latest~2, @2026-11-01.")
    ],
    into: Annotated[str, typer.Option(metavar="SOURCE", help="The profile or account to put them into.")],
    deck: Annotated[
        str | None, typer.Option(metavar="NAME", help="The notes of a deck and those under it.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="QUERY", help="The notes that Anki's search finds in the backup.")
    ] = None,
    keep_progress: Annotated[
        bool, typer.Option("--keep-progress", help="Cards that are still there keep their scheduling.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Put notes of a backup back into a source, with their cards, scheduling and reviews.

    Only while Anki is closed; what is there now is backed up first. Into a pipe a line
    with tabs between: source, backup, safety, missing, changed, same, media, event.
    """
    context: Context = ctx.obj
    if (deck is None) == (search is None):
        raise UsageError("it takes --deck or --search, one of them", hint='For example: --search "tag:hard"')
    repository = context.repository()
    backup = context.find(repository, backup_id)
    source = context.driver(into)
    options = Options(threads=context.config.run.threads)
    wish = Wish(backup, who(), deck, search, scheduling=not keep_progress)
    saved = None
    if not source.is_live:
        saved = repository.standing_of(into) if dry_run else sendback.save(repository, source, wish, options)
    with putback.prepare(repository, source, wish, saved, dry=dry_run) as prepared:
        lines = putback.plan(into, prepared)
        done = None
        if prepared.notes.wanted and not dry_run:
            for line in lines:
                context.say(line)
            done = _do(context, repository, source, prepared, options, yes=yes)
        for warning in done.warnings if done else prepared.warnings:
            context.warn(warning)
        _print(context, into, prepared, done, lines, as_json=as_json)


def _do(
    context: Context,
    repository: Repository,
    source: Source,
    prepared: Prepared,
    options: Options,
    *,
    yes: bool,
) -> Done:
    name = source.name
    if source.is_live:
        context.confirm(f"Put them back into {name}?", yes=yes)
        return putback.perform(repository, source, prepared, options)
    context.confirm(f"Send them to the account, for all devices? Type {name} to do it:", yes=yes, word=name)
    return sendback.perform(repository, lambda: context.driver(name), source, prepared, options)


def _print(
    context: Context, source: str, prepared: Prepared, done: Done | None, lines: list[str], *, as_json: bool
) -> None:
    notes, backup = prepared.notes, prepared.wish.backup.id
    counts = {
        "missing": len(notes.missing),
        "changed": len(notes.changed),
        "same": len(notes.same),
        "media": len(prepared.media),
    }
    safety, event = (done.safety, done.event) if done else (None, None)
    if as_json:
        shown = {"source": source, "backup": backup, "safety": safety, **counts}
        more = {"notetypes": prepared.kinds, "warnings": done.warnings if done else prepared.warnings}
        terminal.print_json(shown | more | {"event": event})
    elif not terminal.is_terminal():
        terminal.print_rows([[source, backup, safety, *counts.values(), event]])
    elif done is None and notes.wanted:
        terminal.write("".join(f"{terminal.escape(line)}\n" for line in lines))
    elif not context.quiet:
        count = len(notes.wanted)
        told = f"{count} notes of {backup} were put back" if count else "all these notes are as they were"
        terminal.write(f"{source}: {told}\n")
    if done:
        way = done.safety if prepared.place.live else f"{done.safety} --push-after-rollback"
        context.say(f"what was there is backup {done.safety}; to go back: ankibak rollback {way}")
