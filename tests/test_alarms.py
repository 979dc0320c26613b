"""The shrink alarm: it rises for what was lost, and for nothing that ten years of study do."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from anki.collection import Collection
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import alarms, cli, runs
from anki_backup.alarms import Figures, judge
from anki_backup.errors import EmptiedError
from anki_backup.gather import Options
from anki_backup.model import Alarm, DeckStats
from anki_backup.settings import Alarms
from anki_backup.sources.profile import Profile
from tests.homes import Home
from tests.made_collections import sql

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS = Alarms()
WIPE = ("DELETE FROM cards WHERE id % 7", "DELETE FROM notes WHERE id % 7")


def figures(cards, notes=None, media=0, **decks):
    stats = [
        DeckStats(id=number, name=name.replace("__", "::"), cards=count)
        for number, (name, count) in enumerate(decks.items(), 1)
    ]
    return Figures(cards, cards if notes is None else notes, media, stats)


def kind(before, after, limits=LIMITS):
    alarm = judge(before, after, limits, NOW)
    return alarm and alarm.kind


def test_cards_or_notes_that_fall_by_more_than_their_share_are_an_alarm():
    assert judge(figures(1000), figures(700), LIMITS, NOW) == Alarm(
        kind="cards", before=1000, after=700, since=NOW
    )
    assert kind(figures(1000), figures(800)) is None
    assert kind(figures(1000), figures(799)) == "cards"
    assert kind(figures(1000, notes=500), figures(1000, notes=390)) == "notes"
    assert kind(figures(1000), figures(799), Alarms(shrink_percent=30)) is None


def test_a_small_collection_may_lose_what_little_it_has_but_not_all_of_it():
    assert kind(figures(60), figures(15)) is None
    assert kind(figures(60), figures(0)) == "cards"
    assert kind(figures(9), figures(0)) is None


def test_a_large_deck_that_goes_with_its_cards_is_an_alarm():
    before = figures(5000, French=600, Law=4400)
    alarm = judge(before, figures(4400, French=0, Law=4400), LIMITS, NOW)
    assert alarm == Alarm(kind="deck", before=600, after=0, since=NOW, deck="French")
    assert kind(before, figures(4400, French=0, Law=4400)) == "deck"
    assert kind(before, figures(4410, French=10, Law=4400)) is None
    assert kind(before, figures(4400, Law=4400), Alarms(deck_cards=0)) is None


def test_a_tree_of_small_decks_is_a_large_one():
    before = figures(5000, Med=0, Med__Heart=120, Med__Lung=130, Law=4750)
    alarm = judge(before, figures(4750, Med=0, Law=4750), LIMITS, NOW)
    assert alarm is not None and (alarm.kind, alarm.deck, alarm.before) == ("deck", "Med", 250)


def test_renaming_moving_and_merging_decks_lose_nothing():
    before = figures(5000, French=600, Law=4400)
    assert kind(before, figures(5000, Français=600, Law=4400)) is None
    assert kind(before, figures(5000, Languages__French=600, Law=4400)) is None
    merged = Figures(5000, 5000, 0, [DeckStats(id=2, name="Law", cards=5000)])
    assert kind(before, merged) is None


def test_media_that_vanish_are_an_alarm_and_tidying_up_is_none():
    assert kind(figures(900, media=400), figures(900, media=0)) == "media"
    assert kind(figures(900, media=400), figures(900, media=280)) is None
    assert kind(figures(900, media=40), figures(900, media=12)) is None


def test_what_is_not_known_is_never_an_alarm():
    assert kind(figures(1000, French=900), figures(None)) is None
    assert kind(figures(None), figures(0)) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5))
def test_what_grows_is_never_an_alarm(cards, more, media):
    assert kind(figures(cards, media=media, A=cards), figures(cards + more, media=media, A=cards)) is None


class Student:
    """Ten years of somebody's cards: how many are in which deck, and how many files they use."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.decks = {1: ["Default", 0]}
        self.number, self.media, self.notes_share = 1, 0, self.rng.uniform(0.5, 1)

    def figures(self):
        decks = [DeckStats(id=number, name=name, cards=count) for number, (name, count) in self.decks.items()]
        cards = sum(deck.cards for deck in decks)
        return Figures(cards, round(cards * self.notes_share), self.media, decks)

    def day(self):
        rng = self.rng
        if rng.random() < 0.15:  # a holiday, an illness
            return
        deck = rng.choice(list(self.decks.values()))
        added = rng.choice((0, 0, 5, 20, 60))
        deck[1] += added
        self.media += added // 3
        if rng.random() < 0.01:  # a shared deck
            self.number += 1
            self.decks[self.number] = [f"Shared {self.number}::Part", rng.randrange(50, 4000)]
            self.media += rng.randrange(0, 3000)
        if rng.random() < 0.1:  # leeches, duplicates, cards that are known by heart
            deck[1] -= min(deck[1], rng.randrange(1, 15))
        if rng.random() < 0.01:  # an afternoon of tidying up
            for one in self.decks.values():
                one[1] -= int(one[1] * rng.uniform(0, 0.1))
        if rng.random() < 0.01:  # Tools > Check Media, delete unused
            self.media -= int(self.media * rng.uniform(0, 0.4))
        if rng.random() < 0.01:  # a new order of things
            deck[0] = f"Renamed {rng.randrange(10**6)}::{deck[0]}"
        if rng.random() < 0.01 and len(self.decks) > 2:  # two decks become one
            one, other = rng.sample(sorted(self.decks), 2)
            self.decks[other][1] += self.decks.pop(one)[1]
        small = [number for number, deck in self.decks.items() if 0 < deck[1] < 40 and number > 1]
        if rng.random() < 0.02 and small:  # a deck that was tried out
            del self.decks[rng.choice(small)]


@pytest.mark.parametrize("seed", range(8))
def test_ten_years_of_ordinary_study_give_no_alarm(seed):
    student = Student(seed)
    before = student.figures()
    for day in range(3650):
        student.day()
        after = student.figures()
        assert judge(before, after, LIMITS, NOW) is None, (day, before, after)
        before = after
    assert before.cards > 1000


@pytest.fixture
def home(tmp_path, made):
    return Home(tmp_path, made)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "collection.anki2"
    col = Collection(str(path))
    for number in range(120):
        note = col.new_note(col.models.by_name("Basic"))
        note.fields = [f"front {number}", "back"]
        col.add_note(note, col.decks.id("French" if number % 2 else "Law"))
    col.close()
    sql(path)
    return path


def events(home, *kinds):
    lines = home.repository.history.log.read_text().splitlines()
    return [line for line in lines if any(f'"event":"{kind}"' in line for kind in kinds)]


def test_what_shrank_is_stored_and_marked_and_the_one_before_is_pinned(home):
    first = home.run().backup
    result = home.run(*WIPE)
    assert result.run.outcome == "created" and result.backup.alarm.kind == "cards"
    assert result.alarmed.id == result.backup.id
    second, before = home.repository.backups()
    assert second.alarm == result.backup.alarm and second.alarm.before == 120
    assert (before.id, before.pinned, before.label) == (first.id, True, f"before the alarm of {second.id}")
    assert home.run().alarmed is None


def test_run_exits_with_4_and_status_with_1_until_the_alarm_is_acknowledged(home, capsys):
    def ask(*words):
        return cli.answer(["-c", str(home.config), *words])

    assert ask("run") == 0
    sql(home.collection, *WIPE)
    assert ask("run") == 4
    shrunk = home.repository.backups()[0].id
    assert "ALARM: the cards of home fell from 120 to" in capsys.readouterr().err
    assert ask("run") == 0 and ask("status") == 1
    assert ask("acknowledge", "latest") == 0
    assert capsys.readouterr().out.splitlines()[-1] == shrunk
    assert ask("status") == 0 and home.repository.find(shrunk).alarm is None
    assert home.repository.backups()[1].pinned
    assert ask("acknowledge", shrunk) == 0 and len(events(home, "acknowledge")) == 1
    assert ask("acknowledge", "1999") == 5


def test_an_alarm_comes_before_what_else_went_wrong(home):
    ordinary, failed = home.run(), home.run()._replace(error=EmptiedError("x"))
    from anki_backup.commands.run import exit_code

    alarmed = ordinary._replace(alarmed=ordinary.backup)
    incomplete = ordinary._replace(incomplete=True)
    assert exit_code([ordinary]) == 0
    assert exit_code([alarmed, incomplete, ordinary]) == 4
    assert exit_code([failed, ordinary]) == 4


@pytest.mark.parametrize("between", [False, True], ids=["at once", "after a proof"])
def test_a_run_that_died_before_it_could_judge_is_judged_by_the_next(between, home, monkeypatch):
    home.run()
    with monkeypatch.context() as patch:
        patch.setattr(alarms, "look", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            home.run(*WIPE)
    assert home.repository.backups()[0].alarm is None
    if between:
        with home.repository.writing("verify"):
            home.repository.record("proof", backup=home.repository.backups()[0].id)
    result = home.run()
    assert result.run.outcome == "skipped" and result.alarmed.alarm.kind == "cards"
    assert home.repository.backups()[0].alarm and home.repository.backups()[1].pinned
    assert home.run().alarmed is None
    assert len(events(home, "alarm")) == 1


def test_what_a_person_acknowledged_is_not_judged_again_after_a_crash(home):
    home.run()
    shrunk = home.run(*WIPE).backup.id
    with home.repository.writing("test"):
        home.repository.record("acknowledge", backup=shrunk)
        home.repository.record("run_started", source="home")
    assert home.run().alarmed is None


def test_after_a_rollback_the_next_backup_is_compared_with_what_was_gone_back_to(home):
    small = home.run().backup
    sql(
        home.collection,
        "INSERT INTO notes SELECT id + 1000000000, 'x' || id, mid, mod, usn, tags, flds, sfld, csum,"
        " flags, data FROM notes",
    )
    grown = home.run().backup
    assert grown.stats.notes == 240
    with home.repository.writing("test"):
        went = {"from": grown.id, "to": small.id, "outcome": "done", "live": True}
        home.repository.record("rollback", source="home", **went)
    result = home.run("DELETE FROM notes WHERE guid LIKE 'x%'", "UPDATE notes SET flds = 'e' || flds")
    assert result.run.outcome == "created" and result.alarmed is None
    assert home.run(*WIPE).alarmed


class Emptied(Profile):
    """An account that has nothing left."""

    def look(self):
        raise EmptiedError("the account is empty")


def emptied(home):
    return runs.back_up(home.repository, Emptied("home", home.folder), Options())


def test_an_emptied_account_stores_nothing_and_pins_the_newest_backup(home):
    kept = home.run().backup
    for _ in range(3):
        result = emptied(home)
        assert (result.run.outcome, result.error.exit_code, result.alarmed.id) == ("failed", 4, kept.id)
    (backup,) = home.repository.backups()
    assert (backup.alarm.kind, backup.alarm.before, backup.alarm.after) == ("empty", 120, 0)
    assert backup.pinned and len(events(home, "alarm", "pin")) == 2


def test_an_account_that_was_meant_to_be_empty_is_nothing_new(home):
    kept = home.run().backup
    emptied(home)
    with home.repository.writing("test"):
        home.repository.record("acknowledge", backup=kept.id)
    result = emptied(home)
    assert (result.run.outcome, result.run.reason, result.error) == ("skipped", "the account is empty", None)
    assert home.repository.backups()[0].alarm is None


def test_an_account_that_never_held_anything_is_no_alarm(home):
    assert emptied(home).run.reason == "the account is empty" and home.repository.backups() == []
