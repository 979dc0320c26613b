"""`ankibak history`: how a note, a deck or a media file changed from backup to backup."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from msgspec import to_builtins

from anki_backup import figures, lives, marked, terminal
from anki_backup.commands import Context, known_source, looked
from anki_backup.errors import UsageError
from anki_backup.spotted import Event, Life

NOTHING = ("", "nid:", "guid:", "deck:", "media:")
STYLES = {"appeared": "green", "back": "green", "gone": "red", "changed": "yellow"}


def command(
    ctx: typer.Context,
    item: Annotated[
        str,
        typer.Argument(
            metavar="ITEM",
            help="A note's id, nid:ID, guid:GUID, deck:NAME, media:NAME, or text that only one note has.",
        ),
    ],
    source: Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show when a note, deck or media file came, how it changed, and the last backup that has it.

    Into a pipe a line for each change, with tabs between: kind, id, source,
    backup, at, change, what; below it lines of `field`, `tag` and `value`:
    backup, name, before, after.
    """
    context: Context = ctx.obj
    if item.strip() in NOTHING:
        raise UsageError("there is nothing to look for", hint="Name some text: ankibak history house")
    repository = context.repository()
    if source:
        known_source(context, repository, source)
    _, found = looked(context, repository, lambda look: lives.lives(look, item), source)
    if as_json:
        shown = [to_builtins(life.hit) | {"events": life.events} for life in found]
        terminal.print_json({"lives": shown})
    elif terminal.is_terminal():
        colored = terminal.wants_color(sys.stdout, context.color)
        terminal.write("\n".join("\n".join(_sentences(life, context, colored)) + "\n" for life in found))
    else:
        terminal.print_rows(line for life in found for event in life.events for line in _lines(life, event))


def _lines(life: Life, event: Event) -> Iterator[list[object]]:
    hit = life.hit
    what = ",".join(event.what) or None
    yield [hit.kind, hit.id, hit.source, event.backup, event.at, event.change, what]
    for field in event.fields:
        yield ["field", event.backup, field.name, field.before, field.after]
    for tag in event.tags_removed:
        yield ["tag", event.backup, "tags", tag, None]
    for tag in event.tags_added:
        yield ["tag", event.backup, "tags", None, tag]
    for name, (before, after) in event.values.items():
        yield ["value", event.backup, name, before, after]


def _sentences(life: Life, context: Context, colored: bool) -> Iterator[str]:
    hit = life.hit
    counted = figures.counted(hit.backups, "backup")
    id = f" {hit.id}" if hit.name != hit.id else ""
    yield (
        terminal.paint(f"{hit.kind}{terminal.escape(id)}", "bold", colored) + f" {terminal.escape(hit.name)}"
    )
    yield f"{hit.source}: in {counted}, first {hit.first}, last {hit.last}"
    yield ""
    for event in life.events:
        at = figures.local(event.at, context.zone)
        change = terminal.paint(event.change, STYLES[event.change], colored)
        backup = terminal.paint(event.backup, "cyan", colored)
        yield f"{backup}  {at}  {change} {', '.join(event.what)}".rstrip()
        for field in event.fields:
            yield f"    {terminal.escape(field.name)}: {marked.spans(field.words, colored)}"
        tags = [*(("+", tag) for tag in event.tags_added), *(("-", tag) for tag in event.tags_removed)]
        if tags:
            yield f"    tags: {marked.signed(tags, colored)}"
        for name, (before, after) in event.values.items():
            yield f"    {terminal.escape(name)}: {marked.change(before, after, colored)}"
    if hit.command:
        yield f"\nthe last backup that has it is {hit.last}; to get it back:"
        yield f"  {terminal.escape(hit.command)}"
