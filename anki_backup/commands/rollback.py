"""`ankibak rollback`: make a backup the active state of its source, or go back to what was before."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from msgspec import structs

from anki_backup import figures, push, rollback, terminal
from anki_backup.commands import INCOMPLETE, Context
from anki_backup.errors import BusyError, NotFoundError, UsageError
from anki_backup.gather import Options
from anki_backup.losses import Change
from anki_backup.model import Backup
from anki_backup.places import Place
from anki_backup.repository import Repository
from anki_backup.rollback import Done, Prepared, Wish
from anki_backup.sources import Source

AFTERWARDS = (
    'the next sync of Anki asks which side is to win: "Upload to AnkiWeb" keeps this state',
    'after that choose "Download from AnkiWeb" (in AnkiDroid: "AnkiWeb") on each other device:'
    " what it has not synced is lost there",
)


def command(
    ctx: typer.Context,
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The backup to go back to; with --undo, the source."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to what was before the last one.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    exact_media: Annotated[
        bool, typer.Option("--exact-media", help="Also remove media that the backup doesn't have.")
    ] = False,
    push_after: Annotated[
        bool, typer.Option("--push-after-rollback", help="Then replace the account itself, for all devices.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make a backup the active state of its source; what is there now is backed up first.

    Into a pipe a line with tabs between: source, from, to, safety, pushed, event. With
    --dry-run a line for each kind of thing: what, lost, regained, changed.
    """
    context: Context = ctx.obj
    repository = context.repository()
    target = _target(context, repository, wanted, undo=undo)
    source = _source(context, target)
    wish = Wish(target, rollback.who(), exact_media, undo, push_after)
    if not (undo or dry_run):
        _cool_down(context, repository, wish)
    options = Options(threads=context.config.run.threads, alarms=context.config.alarms)
    saved = None
    if push_after:
        if source.is_live:
            raise UsageError(
                f"{source.name} is no account, so there is nothing to push to",
                hint='Roll back without it; at the next sync of Anki choose "Upload to AnkiWeb".',
            )
        saved = None if dry_run else push.save(repository, source, target, options)
        account = saved.safety if saved else repository.standing_of(source.name)
        wish = wish._replace(account=account)
    with rollback.prepare(repository, source, wish, dry=dry_run) as prepared:
        if dry_run:
            _print_plan(context, prepared, as_json=as_json)
            return
        _tell_plan(context, prepared)
        _ask(context, prepared, yes=yes)
        done = rollback.perform(repository, source, prepared, options)
    if saved:
        done = _push(context, repository, source, wish, saved, options, done)
    for warning in done.warnings:
        context.warn(warning)
    _print(context, done, prepared.place, as_json=as_json)
    if saved and len(done.warnings):
        raise typer.Exit(INCOMPLETE)


def _push(
    context: Context,
    repository: Repository,
    source: Source,
    wish: Wish,
    saved: push.Saved,
    options: Options,
    done: Done,
) -> Done:
    """Replace the account by what was just rolled back to; return what came of both."""
    number, warnings = push.push(
        repository, lambda: context.driver(source.name), source, wish, saved, options
    )
    safety = saved.safety.id if saved.safety else None
    intent = structs.replace(done.settled.intent, pushed=True, before=safety, safety=safety)
    return Done(done.settled._replace(intent=intent, event=number), [*done.warnings, *warnings])


def _target(context: Context, repository: Repository, wanted: str | None, *, undo: bool) -> Backup:
    if undo:
        return rollback.undoing(repository, wanted.rstrip(":") if wanted else None)
    if wanted is None:
        raise UsageError("no backup was named", hint="Choose one: ankibak list; or: ankibak rollback --undo")
    known = {backup.source for backup in repository.backups()}
    if len(known) > 1 and wanted.startswith(("latest", "@")):
        raise UsageError(
            f"{wanted} may mean any of {len(known)} sources",
            hint=f"Put its name in front: ankibak rollback {min(known)}:{wanted}",
        )
    return context.find(repository, wanted)


def _source(context: Context, target: Backup) -> Source:
    try:
        return context.driver(target.source)
    except NotFoundError as error:
        raise NotFoundError(
            f"source {target.source} is not configured, so there is nowhere to go back to",
            hint=f"Configure it, or write the backup to a folder: ankibak export {target.id} -o FOLDER/",
        ) from error


def _cool_down(context: Context, repository: Repository, wish: Wish) -> None:
    source, least = wish.target.source, context.config.security.rollback_cooldown
    left = rollback.cooldown(repository, wish, least, datetime.now(UTC))
    if left:
        last = repository.last_rollback(source) or {}
        push_too = " --push-after-rollback" if last.get("live") and last.get("pushed") else ""
        wait = figures.duration(round(left.total_seconds() * 1000))
        raise BusyError(
            f"{source} was rolled back a moment ago; the next rollback can be in {wait}",
            hint=f"To go back to what was before: ankibak rollback --undo {source}{push_too}"
            " (how long is security.rollback_cooldown)",
        )


def _ask(context: Context, prepared: Prepared, *, yes: bool) -> None:
    name = prepared.wish.target.source
    if prepared.wish.pushed:
        context.confirm(f"Replace the account? Type {name} to do it:", yes=yes, word=name)
    else:
        context.confirm(f"Roll {name} back?", yes=yes)


def plan(prepared: Prepared) -> list[str]:
    """Return the plan in sentences: figures first, then names."""
    target = prepared.wish.target
    where = "" if prepared.place.live else ", a copy beside your account, which stays as it is"
    if prepared.wish.pushed:
        where = ", and then your account itself, for all your devices"
    lines = [
        f"backup {target.id} of {target.source} becomes {prepared.place.collection}{where}",
        "it was read through, opened and found to be what was backed up",
    ]
    if prepared.unreadable:
        lines += [f"what is there now can't be read and so not be backed up: {prepared.unreadable}"]
        lines += ["its files will be kept in a folder beside it"]
    elif prepared.losses is None:
        lines += ["nothing is there now that could be lost"]
    elif prepared.losses.nothing:
        lines += ["nothing that was looked at would change"]
    else:
        lines += [_sentence(noun, change) for noun, change in prepared.losses.rows() if change != Change()]
    if prepared.wish.pushed:
        lines += ["let no device sync until this is done; what it has not synced by then is lost there"]
        lines += [f"then {push.OTHERS[0]}"]
    if prepared.place.server:
        lines += ["media of a sync server stay as they are: devices would not be told of new ones"]
    return lines


def _sentence(noun: str, change: Change) -> str:
    parts = []
    told = (("lost", change.lost, change.lost_names), ("back", change.regained, change.regained_names))
    for word, number, names in told:
        if number:
            some = ", ".join(names) + (", …" if len(names) < number else "") if names else ""
            parts.append(f"{figures.count(number)} {word}" + (f" ({some})" if some else ""))
    if change.changed:
        parts.append(f"{figures.count(change.changed)} become what they were")
    return f"{noun}: {'; '.join(parts)}"


def _tell_plan(context: Context, prepared: Prepared) -> None:
    for line in plan(prepared):
        context.say(line)


def _print_plan(context: Context, prepared: Prepared, *, as_json: bool) -> None:
    target = prepared.wish.target
    rows = prepared.losses.rows() if prepared.losses else []
    if as_json:
        shown: dict[str, Any] = {"event": None, "from": None, "to": target.id, "safety": None}
        shown |= {"pushed": False, "source": target.source, "plan": dict(rows)}
        terminal.print_json(shown | {"unreadable": prepared.unreadable})
    elif terminal.is_terminal():
        terminal.write("".join(f"{terminal.escape(line)}\n" for line in plan(prepared)))
    else:
        terminal.print_rows([noun, each.lost, each.regained, each.changed] for noun, each in rows)


def _print(context: Context, done: Done, place: Place, *, as_json: bool) -> None:
    intent = done.settled.intent
    if as_json:
        terminal.print_json(
            {
                "event": done.settled.event,
                "from": intent.before,
                "to": intent.to,
                "safety": intent.safety,
                "pushed": intent.pushed,
                "source": intent.source,
                "path": intent.collection,
                "warnings": done.warnings,
            }
        )
    elif not terminal.is_terminal():
        fields = [intent.source, intent.before, intent.to, intent.safety, intent.pushed, done.settled.event]
        terminal.print_rows([fields])
    elif not context.quiet:
        terminal.write(f"{intent.source}: rolled back to {intent.to}\n")
    for line in _advice(done, place):
        context.say(line)


def _advice(done: Done, place: Place) -> list[str]:
    """Say what a person should know now, and do next."""
    intent = done.settled.intent
    lines = []
    if intent.safety:
        again = " --push-after-rollback" if intent.pushed else ""
        lines.append(f"what was there is backup {intent.safety}; to go back: ankibak rollback --undo{again}")
    elif intent.kept and os.path.isdir(intent.kept):
        lines.append(f"the files that were there are in {intent.kept}")
    if intent.pushed:
        lines += ["the account was read back: it is what the backup was", *push.OTHERS]
    elif place.server:
        lines += push.OTHERS
    elif place.live:
        lines += AFTERWARDS
    else:
        lines.append(f"open it with: anki -b {os.path.dirname(intent.collection)}")
    return lines
