"""In which backups a note, a deck or a media file is: `find` over all of them.

Notes are followed by walking the deltas of the collections, media by walking the
lists; decks stand in every backup's `stats.json`. The repository is only read, and
nothing is written anywhere but in the temporary folder, for very large collections.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

from anki_backup import standing
from anki_backup.compare import excerpt, plain
from anki_backup.errors import DamageError, NotFoundError, SourceError
from anki_backup.lookout import Lookout
from anki_backup.medialist import unpack_list
from anki_backup.model import Backup, BackupManifest, MediaFile, file_name_text
from anki_backup.presence import Presence, Seen
from anki_backup.repository import Repository
from anki_backup.scratch import Scratch
from anki_backup.spotted import Hit, Kind, way_back
from anki_backup.steady import layout, steadily
from anki_backup.walk import Walk

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
Decks = dict[str, dict[int, tuple[str, int]]]
NAME_LENGTH = 80
T = TypeVar("T")


class Look:
    """One look at all backups, oldest first; what can't be read is in `damaged`, by backup."""

    def __init__(
        self, repository: Repository, source: str | None = None, progress: Progress | None = None
    ) -> None:
        self.repository = repository
        self.backups = repository.backups(source)[::-1]
        self.progress = progress or (lambda title, total: nullcontext(lambda count: None))
        self.damaged: dict[str, str] = {}
        self._manifests: list[BackupManifest] | None = None
        newest = {name: backups[-1].id for name, backups in self.of_sources().items()}
        self._standing = standing.left(repository.history, newest)

    @property
    def manifests(self) -> list[BackupManifest]:
        """The manifests of those that can be read."""
        if self._manifests is None:
            self._manifests = []
            for backup in self.backups:
                try:
                    self._manifests.append(self.repository.manifest(backup.id))
                except DamageError as error:
                    self.damaged[backup.id] = error.message
        return self._manifests

    def of_sources(self) -> dict[str, list[Backup]]:
        """Return the backups of each source, oldest first."""
        found: defaultdict[str, list[Backup]] = defaultdict(list)
        for backup in self.backups:
            found[backup.source].append(backup)
        return dict(found)

    def now(self, backups: Sequence[Backup]) -> int:
        """Return which of a source's backups, oldest first, it was last known to be; the last if in doubt."""
        left = self._standing[backups[0].source]
        return next((n for n, backup in enumerate(backups) if backup.id == left), len(backups) - 1)

    def lose(self, walk: Walk, objects: Iterable[tuple[str, str | None]]) -> None:
        """Note which backups stand on what a walk could not read."""
        for backup, name in objects:
            if name in walk.damaged:
                self.damaged[backup] = walk.damaged[name]


def looked(
    repository: Repository,
    work: Callable[[Look], T],
    source: str | None = None,
    progress: Progress | None = None,
) -> tuple[Look, T]:
    """Return a look and what `work` found in it; where a prune changed things beside it, of a look anew."""

    def once() -> tuple[Look, T]:
        look = Look(repository, source, progress)
        return look, work(look)

    errors = (DamageError, NotFoundError)
    look, found = steadily(once, partial(layout, repository.root), errors, lambda pair: bool(pair[0].damaged))
    there = set(repository.history.ids()) if look.damaged else set()
    look.damaged = {backup: why for backup, why in look.damaged.items() if backup in there}
    return look, found


def find(look: Look, text: str, kinds: Collection[Kind] = ("note", "deck", "media")) -> list[Hit]:
    """Return every note, deck and media file of any backup in which `text` is found.

    A note is found by its id, its guid, or text in its fields or tags, without regard
    to case or markup; decks and media by their names. Those that their source lacks now,
    as far as is known, come first, the longest seen of them last.
    """
    wanted = folded(text)
    hits: list[Hit] = []
    if "note" in kinds:
        hits += _notes(look, text, wanted)
    if "deck" in kinds:
        hits += _decks(look, wanted)
    if "media" in kinds:
        hits += _media(look, text, wanted)
    return sorted(hits, key=lambda hit: (hit.present, hit.kind != "deck", hit.kind, hit.last_at, hit.id))


def folded(text: str) -> str:
    """Return text so that what a person takes for the same is the same."""
    return unicodedata.normalize("NFC", text).casefold()


def note_matcher(text: str, wanted: str) -> Callable[[int, str, str, str], bool]:
    """Return what tells whether a note is meant: by id, guid, or text in fields or tags."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

    def matches(note: int, guid: str, tags: str, fields: str) -> bool:
        if note == number or guid == text:
            return True
        whole = folded(f"{fields}\x1f{tags}")
        # Only what has markup or entities can hold the text across them.
        return wanted in whole or (("<" in whole or "&" in whole) and wanted in folded(plain(whole)))

    return matches


def _notes(look: Look, text: str, wanted: str) -> Iterator[Hit]:
    names: dict[int, str] = {}
    lookout = Lookout(note_matcher(text, wanted), lambda note, fields: names.update({note: excerpt(fields)}))
    walk = Walk(look.repository.store, [backup.collection_sha256 for backup in look.backups])
    presence: Presence[int] = Presence()
    places: dict[str, int] = {}
    latest = {backups[look.now(backups)].collection_sha256 for backups in look.of_sources().values()}
    there: dict[str, set[int]] = {}
    with look.progress("reading notes", len(walk)) as advance:
        for version in walk.versions():
            places[version.name] = presence.steps
            try:
                presence.step(lookout.see(version))
            except (SourceError, DamageError) as error:  # of a newer schema, or no collection at all
                walk.damaged[version.name] = error.message
                presence.step(set())
            if version.name in latest:
                there[version.name] = lookout.all_notes()
            advance(1)
    look.lose(walk, ((backup.id, backup.collection_sha256) for backup in look.backups))
    for backups in look.of_sources().values():
        steps = [places.get(backup.collection_sha256) for backup in backups]
        now = look.now(backups)
        present, all_notes = presence.at(steps[now]), there.get(backups[now].collection_sha256, set())
        for note, seen in presence.seen(steps).items():
            still = note in all_notes
            yield hit("note", str(note), names.get(note, ""), backups, seen, note in present, still)


def _decks(look: Look, wanted: str) -> Iterator[Hit]:
    decks = decks_of(look)
    for backups in look.of_sources().values():
        found: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for place, backup in enumerate(backups):
            for deck, (name, _) in decks.get(backup.id, {}).items():
                if wanted in folded(name) or wanted == str(deck):
                    found[deck, name].append(place)
        now = look.now(backups)
        still = decks.get(backups[now].id, {})
        for (deck, name), places in found.items():
            seen, present = Seen.at(places), now in places
            yield hit("deck", str(deck), name, backups, seen, present, deck in still, decks)


def decks_of(look: Look) -> Decks:
    """Return of each backup its decks by id: the name, and the cards whose home it is."""
    found: Decks = {}
    known: dict[str, dict[int, tuple[str, int]]] = {}
    for manifest in look.manifests:
        if manifest.stats_sha256 not in known:
            try:
                decks = look.repository.decks(manifest.id)
            except DamageError as error:
                look.damaged[manifest.id] = error.message
                continue
            known[manifest.stats_sha256] = {deck.id: (deck.name, deck.cards) for deck in decks}
        found[manifest.id] = known[manifest.stats_sha256]
    return found


def _media(look: Look, text: str, wanted: str) -> Iterator[Hit]:
    files = media_of(look, text, lambda name: wanted in folded(name))
    for backups in look.of_sources().values():
        found: defaultdict[bytes, list[int]] = defaultdict(list)
        now = look.now(backups)
        for place, backup in enumerate(backups):
            for name in files.get(backup.id, {}):
                found[name].append(place)
        for name, places in found.items():
            shown = file_name_text(name)
            yield hit("media", shown, shown, backups, Seen.at(places), now in places, False)


def media_of(look: Look, text: str, matches: Callable[[str], bool]) -> dict[str, dict[bytes, MediaFile]]:
    """Return of each backup its media files whose name matches; `text` is in all such names."""
    lists = {manifest.id: manifest.media_list for manifest in look.manifests}
    walk = Walk(look.repository.store, list(dict.fromkeys(name for name in lists.values() if name)))
    needle = json.dumps(text)[1:-1].lower().encode() if text.isascii() else None
    found: dict[str, dict[bytes, MediaFile]] = {}
    with look.progress("reading lists of media", len(walk)) as advance:
        for version in walk.versions():
            try:
                files = unpack_list(_lines(version.content, needle))
            except DamageError as error:
                walk.damaged[version.name] = error.message
                files = []
            found[version.name] = {file.name: file for file in files if matches(file_name_text(file.name))}
            advance(1)
    look.lose(walk, lists.items())
    return {
        backup: found[name] for backup, name in lists.items() if name in found and name not in walk.damaged
    }


def _lines(content: Scratch, needle: bytes | None) -> bytes:
    """Return the lines of a list of media that may be meant; those of ASCII are found without parsing all."""
    data = bytes(content.read_at(0, content.size))
    if not needle:
        return data
    lower, lines, at = data.lower(), [], 0
    while (at := lower.find(needle, at)) >= 0:
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
        lines.append(data[start:end])
        at = end or len(data)
    return b"".join(lines)


def hit(
    kind: Kind,
    id: str,
    name: str,
    backups: Sequence[Backup],
    seen: Seen,
    present: bool,
    still: bool,
    decks: Decks | None = None,
) -> Hit:
    """Return what was seen of a thing; `still` says that it is there, though not as it was.

    Of a deck, `decks` tells whether the last backup that has it has a card in it or
    below it; without one there is nothing to put back.
    """
    first, last = backups[seen.first], backups[seen.last]
    meant = id if kind == "note" else name
    had = (decks or {}).get(last.id, {}).values()
    is_empty = kind == "deck" and not any(cards for deck, cards in had if f"{deck}::".startswith(f"{name}::"))
    return Hit(
        kind=kind,
        id=id,
        name=name,
        source=last.source,
        first=first.id,
        first_at=first.created_at,
        last=last.id,
        last_at=last.created_at,
        backups=seen.backups,
        present=present,
        gone=None if present else "changed" if still else "deleted",
        command=None if present or is_empty else way_back(kind, meant, last.id, last.source),
    )
