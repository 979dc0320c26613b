"""`find` and `history`: where a note, a deck, a file was, how it changed, and how to get it back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from anki.collection import Collection

from anki_backup import lives, rows, timeline
from anki_backup.errors import NotFoundError
from anki_backup.model import Backup
from anki_backup.presence import Presence
from anki_backup.spotted import Life
from tests.made_collections import make_varied, sql
from tests.test_diff import Place

STORY = "a note is written, studied, spoilt, thrown away, and wanted again"


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_varied(tmp_path_factory.mktemp("varied") / "collection.anki2")


class Told:
    """The place of a story, its backups, and the note that it is about."""

    def __init__(self, folder: Path, varied: Path) -> None:
        self.place = Place(folder, varied)
        self.backups: list[Backup] = [self.place.back_up()]
        self.note = 0
        for step in (self.written, self.studied, self.spoilt, self.moved, self.thrown_away):
            self.place.change(step)
            self.backups.append(self.place.back_up())

    def written(self, col: Collection) -> None:
        note = col.new_note(col.models.by_name("Basic"))
        note.fields = ["the <b>ca</b>pital of Åländ &amp; more", "Mariehamn"]
        note.tags = ["isle"]
        col.add_note(note, col.decks.id("Geography"))
        self.note, self.guid = note.id, note.guid
        (self.place.media / "map.png").write_bytes(b"first")

    def studied(self, col: Collection) -> None:
        col.decks.set_current(col.decks.id("Geography"))
        card = col.sched.getCard()
        card.start_timer()
        col.sched.answerCard(card, 3)
        (self.place.media / "map.png").write_bytes(b"second")

    def spoilt(self, col: Collection) -> None:
        note = col.get_note(self.note)
        note["Back"] = "Merryhem"
        note.tags = ["isle", "leech"]
        col.update_note(note)
        (self.place.media / "map.png").unlink()

    def moved(self, col: Collection) -> None:
        cards = col.get_note(self.note).card_ids()
        col.set_deck(cards, col.decks.id("Empty"))
        col.sched.suspend_cards(cards)
        col.decks.remove([col.decks.id("Geography")])

    def thrown_away(self, col: Collection) -> None:
        col.remove_notes([self.note])

    def look(self) -> timeline.Look:
        return timeline.Look(self.place.repository)

    def life(self, item: str) -> Life:
        (life,) = lives.lives(self.look(), item)
        return life


@pytest.fixture(scope="module")
def told(varied: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(tmp_path_factory.mktemp("told"), varied)


@pytest.mark.parametrize("text", ["CAPITAL of ålÄND & more", "leech", "{note}", "{guid}"])
def test_a_note_is_found_by_text_tag_id_and_guid(text, told):
    found = timeline.find(told.look(), text.format(note=told.note, guid=told.guid))
    # Its deck may have been made in the same millisecond, and then has the same id.
    (hit,) = [each for each in found if each.kind == "note"]
    first = 3 if text == "leech" else 1
    assert (hit.kind, hit.id, hit.source) == ("note", str(told.note), "desktop")
    assert (hit.first, hit.last, hit.backups) == (told.backups[first].id, told.backups[4].id, 5 - first)
    assert (hit.present, hit.gone) == (False, "deleted")
    assert hit.command == f"ankibak restore-notes {hit.last} --search nid:{told.note} --into desktop"


def test_text_that_was_changed_is_told_apart_from_a_note_that_was_deleted(told, tmp_path, varied):
    place = Place(tmp_path, varied)
    place.back_up()
    sql(place.path, "UPDATE notes SET flds = replace(flds, 'front 3 ', 'other'), mod = mod + 1")
    place.back_up()
    (hit,) = timeline.find(timeline.Look(place.repository), "front 3 ü")
    assert (hit.backups, hit.present, hit.gone) == (1, False, "changed")


def test_decks_and_files_are_found_by_their_names(told):
    hits = {hit.kind: hit for hit in timeline.find(told.look(), "geogr")}
    assert (
        hits["deck"].command == f"ankibak restore-notes {told.backups[3].id} --deck Geography --into desktop"
    )
    assert (hits["deck"].first, hits["deck"].backups) == (told.backups[1].id, 3)
    (file,) = timeline.find(told.look(), "MAP.")
    assert (file.kind, file.first, file.last) == ("media", told.backups[1].id, told.backups[2].id)
    assert file.command == f"ankibak export {told.backups[2].id} --media map.png"


def test_an_empty_deck_is_not_put_back(varied, tmp_path, run_ankibak):
    place = Place(tmp_path, varied)
    place.change(lambda col: [col.decks.id(name) for name in ("Bare", "Full")])
    place.change(lambda col: col.set_deck(col.find_cards("")[:1], col.decks.id("Full::below")))
    place.back_up()
    place.change(lambda col: col.decks.remove([col.decks.id(name) for name in ("Bare", "Full")]))
    place.back_up()
    hits = {
        name: timeline.find(timeline.Look(place.repository), name, ["deck"])[0] for name in ("bare", "full")
    }
    assert (hits["bare"].gone, hits["bare"].command) == ("deleted", None)
    assert hits["full"].name == "Full" and hits["full"].command
    assert run_ankibak("-c", place.config, *hits["full"].command.split()[1:], "--yes").returncode == 0
    told = json.loads(run_ankibak("-c", place.config, "history", "deck:Bare", "--json").stdout)
    assert [life["command"] for life in told["lives"]] == [None]


def test_what_is_gone_comes_first(told):
    hits = timeline.find(told.look(), "e")
    assert [hit.present for hit in hits] == sorted(hit.present for hit in hits)
    assert len(hits) > 10


def test_the_history_of_a_note_tells_fields_tags_and_scheduling(told):
    for item in (str(told.note), f"nid:{told.note}", f"guid:{told.guid}", "of Åländ"):
        life = told.life(item)
        assert [event.change for event in life.events] == [
            "appeared",
            "changed",
            "changed",
            "changed",
            "gone",
        ]
        assert [event.backup for event in life.events] == [backup.id for backup in told.backups[1:]]
    _, studied, spoilt, moved, _ = life.events
    assert studied.what == ["reviewed"]
    assert studied.values["card 1: reps"] == [0, 1]
    assert spoilt.what == ["fields", "tags"]
    assert [(field.name, field.before, field.after) for field in spoilt.fields] == [
        ("Back", "Mariehamn", "Merryhem")
    ]
    assert (spoilt.tags_added, spoilt.tags_removed) == (["leech"], [])
    assert {"moved", "suspended"} <= set(moved.what)
    assert moved.values["card 1: deck"] == ["Geography", "Empty"]
    assert life.hit.last == told.backups[4].id


def test_the_history_of_a_deck_and_a_file(told):
    deck = told.life("deck:Geography")
    assert [event.change for event in deck.events] == ["appeared", "gone"]
    file = told.life("map.png")
    assert [(event.change, event.what) for event in file.events] == [
        ("appeared", []),
        ("changed", ["size", "sha256"]),
        ("gone", []),
    ]
    assert file.events[1].values["size"] == [5, 6]


def test_what_nothing_or_too_much_has_is_told_apart(told):
    with pytest.raises(NotFoundError, match="none of 6 backups"):
        told.life("no such thing")
    with pytest.raises(NotFoundError, match="notes, nid:"):
        told.life("front")


def test_the_words_on_the_command_line(told, run_ankibak):
    ankibak = ("--repository", told.place.root)
    done = run_ankibak(*ankibak, "find", "mariehamn")
    fields = done.stdout.rstrip("\n").split("\t")
    assert fields[:4] == ["note", str(told.note), "desktop", told.backups[1].id]
    assert fields[4:7] == [told.backups[2].id, "2", "no"]
    assert fields[-2:] == [
        "deleted",
        f"ankibak restore-notes {fields[4]} --search nid:{told.note} --into desktop",
    ]
    found = json.loads(run_ankibak(*ankibak, "find", "mariehamn", "--json").stdout)
    assert (found["schema"], found["found"], found["hits"][0]["present"]) == (1, 1, False)
    nothing = run_ankibak(*ankibak, "find", "no such thing")
    assert (nothing.returncode, nothing.stdout) == (5, "")
    assert "none of 6 backups" in nothing.stderr
    told_lines = run_ankibak(*ankibak, "history", str(told.note)).stdout.splitlines()
    assert [line.split("\t")[5] for line in told_lines if line.startswith("note")] == [
        *("appeared", "changed", "changed", "changed", "gone")
    ]
    assert f"field\t{told.backups[3].id}\tBack\tMariehamn\tMerryhem" in told_lines
    life = json.loads(run_ankibak(*ankibak, "history", "map.png", "--json").stdout)["lives"][0]
    assert (life["kind"], life["events"][0]["change"]) == ("media", "appeared")
    assert run_ankibak(*ankibak, "history", "nid:5").returncode == 5
    assert run_ankibak(*ankibak, "find", " ").returncode == 2
    assert run_ankibak(*ankibak, "find", "x", "--source", "nobody").returncode == 5


def test_the_command_that_is_printed_gets_the_note_back(told, run_ankibak, tmp_path):
    place = told.place
    config = shutil.copy(place.config, tmp_path / "config.toml")
    hit = timeline.find(told.look(), "mariehamn")[0]
    assert hit.command is not None
    profile = shutil.copytree(place.profile, tmp_path / "profile")
    text = config.read_text().replace(str(place.profile), str(profile))
    repository = shutil.copytree(place.root, tmp_path / "repository")
    config.write_text(text.replace(str(place.root), str(repository)))
    done = run_ankibak("-c", config, *hit.command.split()[1:], "--yes")
    assert done.returncode == 0, done.stderr
    col = Collection(str(profile / "collection.anki2"))
    assert col.get_note(told.note)["Back"] == "Mariehamn"
    col.close()


def test_hostile_names_cannot_steer_a_terminal(tmp_path, varied, run_ankibak):
    place = Place(tmp_path, varied)
    name = b"evil\x1b[31m\xff.png"
    (place.media / name.decode("utf-8", "surrogateescape")).write_bytes(b"x")
    sql(
        place.path,
        "UPDATE notes SET flds = 'evil \x1b[2J \u202e' || char(0) || flds, mod = mod + 1 WHERE id % 2",
    )
    place.back_up()
    done = run_ankibak("--repository", place.root, "find", "evil", "--all")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout and "\x00" not in done.stdout
    assert "evil\\x1b[31m\\udcff.png" in done.stdout


def test_damage_costs_only_the_backups_that_stand_on_it(varied, tmp_path, run_ankibak):
    told = Told(tmp_path, varied)
    name = told.backups[3].collection_sha256
    path = told.place.root / "objects" / name[:2] / name[2:]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = run_ankibak("--repository", told.place.root, "history", str(told.note))
    assert done.returncode == 0
    assert "could not be read" in done.stderr
    assert [line.split("\t")[5] for line in done.stdout.splitlines() if line[:4] == "note"] == [
        "appeared",
        "changed",
    ]


def test_presence_is_that_of_counting_each_backup():
    presence: Presence[str] = Presence()
    there = [{"a"}, {"a", "b"}, {"b"}, set(), {"b", "c"}]
    for each in there:
        presence.step(set(each))
    steps = [0, 1, None, 3, 2, 4, 4]
    for name, seen in presence.seen(steps).items():
        places = [place for place, step in enumerate(steps) if step is not None and name in there[step]]
        assert tuple(seen) == (places[0], places[-1], len(places))
    assert presence.at(4) == {"b", "c"} and presence.at(None) == set()


def test_a_buried_card_counts_as_where_it_comes_back_to():
    states: list[dict[str, Any]] = [
        {"queue": -2, "type": 1, "due": 2_000_000_000},
        {"queue": -3, "type": 1, "due": 5},
    ]
    card = rows.Card(*(0,) * 16, "")
    assert [rows.unburied(card._replace(**state)).queue for state in states] == [1, 3]
