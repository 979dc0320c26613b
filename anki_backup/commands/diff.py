"""`ankibak diff`: what changed from one backup to another, in Anki's words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from msgspec.structs import asdict

from anki_backup import figures, marked, sides, terminal
from anki_backup.commands import Context
from anki_backup.differences import CardItem, Comparison, Counts, Item, MediaItem, NoteItem, ThingItem
from anki_backup.errors import ConfigError, NotFoundError, UsageError
from anki_backup.model import Backup
from anki_backup.repository import Repository
from anki_backup.terminal import Column

KINDS = ("notes", "cards", "reviews", "decks", "options", "notetypes", "tags", "settings", "media")
TITLES = {"options": "deck options", "notetypes": "note types"}
THREE = {"added", "changed", "removed"}
COLUMNS = (
    Column(""),
    Column("Added", right=True, style="green"),
    Column("Changed", right=True, style="yellow"),
    Column("Removed", right=True, style="red"),
    Column("Of them", wraps=True),
)
SIGNS = {"added": ("+", "green"), "removed": ("-", "red")}


def command(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A [B]]", help="Two backups; `live` or SOURCE:live is the source as it is now."
        ),
    ] = None,
    notes: Annotated[bool, typer.Option("--notes", help="List what changed, not only how much.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what changed from backup A to B: notes, cards, reviews, decks, note types, media.

    Without B it is the newest backup of A's source, without A the one before it.
    Into a pipe a line for each kind, with tabs between: kind, added, changed,
    removed, others; with --notes then a line for each item: kind, change, id,
    name, what, where, and below it what changed in it.
    """
    context: Context = ctx.obj
    repository = context.repository()
    found = _compare(context, repository, ids or [], items=notes)
    if as_json:
        # Without items there is no member of that name.
        shown = sides.document(found)
        terminal.print_json(shown)
    elif terminal.is_terminal():
        _draw(context, found)
    else:
        terminal.print_rows(_counts(found))
        terminal.print_rows(line for item in found.items or [] for line in _lines(item))


def _compare(context: Context, repository: Repository, ids: list[str], *, items: bool) -> Comparison:
    if len(ids) > 2:
        raise UsageError("diff takes two backups at most", hint="Name the older one first: ankibak diff A B")
    live = [_is_live(text) for text in ids]
    if live == [True, True]:
        raise UsageError(
            "both sides are live, so there is nothing to compare",
            hint="Name a backup first: ankibak diff latest live",
        )
    if len(ids) == 2 and live[0]:
        raise UsageError(
            "only the second side can be live", hint=f"Turn them round: ankibak diff {ids[1]} {ids[0]}"
        )
    if True not in live:
        old, new = _two(context, repository, ids)
        return sides.between(repository, old, new, items=items)
    named = ids[-1].rpartition(":")[0] or None
    if len(ids) == 2:
        old = context.find(repository, ids[0])
    else:
        old = repository.standing_of(named or context.find(repository, "latest").source)
    name = named or old.source
    if name not in context.config.sources:
        raise ConfigError(
            f"source {name} is not in the configuration, so there is nothing to look at",
            hint=f"Name its place under [sources.{name}], or compare two backups.",
        )
    return sides.with_live(repository, old, context.driver(name), items=items)


def _is_live(text: str) -> bool:
    return text == sides.LIVE or text.endswith(f":{sides.LIVE}")


def _two(context: Context, repository: Repository, ids: list[str]) -> tuple[Backup, Backup]:
    """Return the two backups that a person means by none, one or two ids."""
    if len(ids) == 2:
        return context.find(repository, ids[0]), context.find(repository, ids[1])
    if ids:
        old = context.find(repository, ids[0])
        return old, repository.newest_of(old.source)
    new = context.find(repository, "latest")
    if new.previous is None:
        raise NotFoundError(
            f"{new.id} is the only backup of source {new.source}",
            hint="Compare it with now: ankibak diff live",
        )
    return context.find(repository, new.previous), new


def _counts(found: Comparison) -> Iterator[list[object]]:
    for kind in KINDS:
        counts: Counts = getattr(found, kind)
        others = ",".join(f"{name}={number}" for name, number in _others(counts))
        yield [kind, counts.added, counts.changed, counts.removed, others or None]


def _others(counts: Counts) -> list[tuple[str, int]]:
    return [(name, number) for name, number in asdict(counts).items() if number and name not in THREE]


def _lines(item: Item) -> Iterator[list[object]]:
    match item:
        case NoteItem():
            tags = [*(f"+{tag}" for tag in item.tags_added), *(f"-{tag}" for tag in item.tags_removed)]
            yield ["note", item.change, item.id, item.name, ",".join([*item.what, *tags]) or None, item.deck]
            for field in item.fields:
                yield ["field", item.change, item.id, field.name, field.before, field.after]
        case CardItem():
            yield ["card", item.change, item.id, item.name, ",".join(item.what) or None, item.deck]
            for name, (before, after) in item.values.items():
                yield ["value", item.change, item.id, name, before, after]
        case ThingItem():
            yield [item.kind, item.change, item.id, item.name, None, None]
            for part in item.parts:
                yield ["part", item.change, item.id, part.name, part.before, part.after]
        case MediaItem():
            yield ["media", item.change, item.sha256, item.name, item.before, item.size]


def _draw(context: Context, found: Comparison) -> None:
    if found.equal:
        terminal.write(f"nothing changed from {found.old} to {found.new}\n")
        return
    rows = []
    for kind in KINDS:
        counts: Counts = getattr(found, kind)
        others = ", ".join(f"{figures.count(number)} {name}" for name, number in _others(counts))
        three = (counts.added, counts.changed, counts.removed)
        if any(three) or others:
            cells = (figures.count(number) if number else "" for number in three)
            rows.append((TITLES.get(kind, kind), *cells, others))
    terminal.write(f"{found.source}: from {found.old} to {found.new}\n\n")
    terminal.print_table(COLUMNS, rows, context.color)
    if found.items is None:
        context.say(
            f"what exactly: ankibak diff {_typed(found, found.old)} {_typed(found, found.new)} --notes"
        )
        return
    colored = terminal.wants_color(sys.stdout, context.color)
    terminal.write("\n" + "".join(line + "\n" for item in found.items for line in _sentences(item, colored)))


def _typed(found: Comparison, name: str) -> str:
    return f"{found.source}:{name}" if name == sides.LIVE else name


def _sentences(item: Item, colored: bool) -> Iterator[str]:
    sign, style = SIGNS.get(item.change, ("~", "yellow"))
    kind = item.kind if isinstance(item, ThingItem) else str(item.__struct_config__.tag)
    start = terminal.paint(f"{sign} {kind}", style, colored)
    name = terminal.escape(item.name)
    match item:
        case NoteItem():
            where = ", ".join(part for part in (item.notetype, item.deck) if part)
            what = ", ".join(word for word in item.what if word not in ("fields", "tags"))
            yield f"{start} {name}" + _dim(f"  {where}  nid:{item.id}  {what}".rstrip(), colored)
            for field in item.fields:
                yield f"    {terminal.escape(field.name)}: {marked.spans(field.words, colored)}"
            tags = [*(("+", tag) for tag in item.tags_added), *(("-", tag) for tag in item.tags_removed)]
            if tags and item.change == "changed":
                yield f"    tags: {marked.signed(tags, colored)}"
        case CardItem():
            what = ", ".join(item.what)
            yield f"{start} {name}" + _dim(f"  card {item.card}, {item.deck}  cid:{item.id}  {what}", colored)
            if "moved" in item.what:
                yield f"    deck: {marked.change(item.deck_before, item.deck, colored)}"
        case ThingItem():
            yield f"{start} {name}"
            for part in item.parts:
                text = (
                    marked.spans(part.words, colored)
                    if part.words
                    else marked.change(part.before, part.after, colored)
                )
                yield f"    {terminal.escape(part.name)}: {text}"
        case MediaItem():
            before = f" (was {terminal.escape(item.before)})" if item.before else ""
            yield f"{start} {name}{before}" + _dim(f"  {figures.size(item.size)}", colored)


def _dim(text: str, colored: bool) -> str:
    return terminal.paint(terminal.escape(text), "dim", colored)
