"""`ankibak show`: all that is known of one backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from msgspec import to_builtins

from anki_backup import figures, terminal
from anki_backup.commands import Context
from anki_backup.errors import DamageError, GoneError
from anki_backup.model import Backup, DeckStats, MediaFile, Skipped, file_name_text
from anki_backup.repository import Repository
from anki_backup.terminal import Cell, Column

SOME = 12
PAIR = (Column(style="dim"), Column(wraps=True))
DECKS = (Column("Cards", right=True), Column("Deck", wraps=True))
MEDIA = (Column("Size", right=True), Column("Changed"), Column("File", wraps=True))


def command(
    ctx: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id or the start of one, latest, latest~2, @2026-11-01.")
    ],
    all_decks: Annotated[bool, typer.Option("--decks", help="Every deck with its cards.")] = False,
    with_media: Annotated[bool, typer.Option("--media", help="Every media file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one backup: figures, cards per deck, metadata.

    Into a pipe a name and its value on each line, with a tab between; then,
    where asked for, lines of `deck`, id, name, cards and lines of `media`,
    name, size, mtime, sha256; lines of `skipped`, name, reason.
    """
    context: Context = ctx.obj
    repository = context.repository()
    backup = context.find(repository, backup_id)
    on_screen = terminal.is_terminal() and not as_json
    skipped = repository.manifest(backup.id).skipped
    media = repository.media(backup.id) if with_media else []
    decks, damage = _decks(repository, backup) if as_json or all_decks or on_screen else ([], None)
    if as_json:
        document = to_builtins(backup) | {"decks": decks, "skipped": to_builtins(skipped)}
        terminal.print_json(document | ({"media": [*map(_file, media)]} if with_media else {}))
    elif on_screen:
        _draw(context, backup, decks or [], media, skipped, all_decks=all_decks)
    else:
        terminal.print_rows(_lines(to_builtins(backup)))
        terminal.print_rows(["deck", deck.id, deck.name, deck.cards] for deck in decks or [])
        terminal.print_rows(["media", *_file(file).values()] for file in media)
        terminal.print_rows(["skipped", item.name, item.reason] for item in skipped)
    if damage:
        raise damage


def _decks(repository: Repository, backup: Backup) -> tuple[list[DeckStats] | None, DamageError | None]:
    """Return the decks, None where they are unknown; and what is wrong with them, to be told last."""
    try:
        return (None if backup.stats.decks is None else repository.decks(backup.id)), None
    except GoneError:
        raise
    except DamageError as error:
        return None, error


def _file(file: MediaFile) -> dict[str, Any]:
    changed_at = datetime.fromtimestamp(file.mtime_ns // 10**9, UTC)
    return {
        "name": file_name_text(file.name),
        "size": file.size,
        "mtime": figures.utc(changed_at),
        "sha256": file.sha256,
    }


def _lines(fields: dict[str, Any], before: str = "") -> Iterator[list[object]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{name}.")
        else:
            yield [before + name, value]


def _draw(
    context: Context,
    backup: Backup,
    decks: list[DeckStats],
    media: list[MediaFile],
    skipped: list[Skipped],
    *,
    all_decks: bool,
) -> None:
    now = datetime.now(UTC)
    terminal.print_table(PAIR, [*_pairs(context, backup, now), *_left_out(skipped)], context.color)
    largest = sorted(decks, key=lambda deck: (-deck.cards, deck.name))
    shown = largest if all_decks else largest[:SOME]
    terminal.write("\n")
    terminal.print_table(DECKS, ((figures.count(deck.cards), deck.name) for deck in shown), context.color)
    if len(shown) < len(decks):
        context.say(
            f"{figures.counted(len(decks) - len(shown), 'more deck')}: ankibak show {backup.id} --decks"
        )
    if media:
        terminal.write("\n")
        rows = (
            (figures.size(file.size), _changed(file, context), file_name_text(file.name)) for file in media
        )
        terminal.print_table(MEDIA, rows, context.color)


def _left_out(skipped: list[Skipped]) -> Iterator[tuple[Cell, Cell]]:
    for item in skipped[:SOME]:
        yield "left out", f"{item.name}: {item.reason}"
    if len(skipped) > SOME:
        yield "left out", f"and {figures.count(len(skipped) - SOME)} more"


def _changed(file: MediaFile, context: Context) -> str:
    return figures.local(datetime.fromtimestamp(file.mtime_ns // 10**9, UTC), context.zone)


def _pairs(context: Context, backup: Backup, now: datetime) -> Iterator[tuple[Cell, Cell]]:
    stats = backup.stats
    zone = context.zone
    yield "backup", backup.id
    yield "source", backup.source
    yield "made", f"{figures.local(backup.created_at, zone)} ({figures.ago(backup.created_at, now)})"
    yield "by", f"{backup.origin} on {backup.host}, ankibak {backup.program_version}"
    yield "previous", backup.previous or "none: the first of its source"
    nouns = ("card", "note", "deck", "notetype", "tag")
    yield "holds", ", ".join(figures.counted(getattr(stats, f"{noun}s"), noun) for noun in nouns)
    yield "reviews", figures.count(stats.revlog)
    yield "collection", f"{figures.size(backup.collection_bytes)}, schema {backup.collection_schema or '?'}"
    yield "media", f"{figures.counted(backup.media_files, 'file')}, {figures.size(backup.media_bytes)}"
    yield "stored", f"{figures.size(backup.stored_bytes)} of {figures.size(backup.size_bytes)}"
    yield "took", figures.duration(backup.duration_ms.total)
    yield "contents", backup.content_hash
    yield "sha256", f"{backup.collection_sha256} (of the collection)"
    if backup.pinned or backup.label is not None:
        yield "pinned", backup.label or "yes"
    if backup.alarm:
        change = f"{figures.count(backup.alarm.before)} to {figures.count(backup.alarm.after)}"
        text = f"{backup.alarm.kind}: from {change}, since {figures.local(backup.alarm.since, zone)}"
        yield "alarm", (text, "red")
    if backup.verified_at:
        yield "verified", figures.local(backup.verified_at, zone)
