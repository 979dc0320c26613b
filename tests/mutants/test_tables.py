"""The tables of breakages speak of the program as it is now."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.mutants import lost
from tests.mutants.equivalent import ANY, EQUIVALENT, Equivalent
from tests.mutants.generated import Change
from tests.mutants.table import MUTANTS


def test_what_is_to_be_broken_is_there_once():
    assert [mutant.name for mutant in lost(MUTANTS)] == []


def test_what_is_called_equivalent_stands_in_its_room():
    def stands(entry: Equivalent) -> bool:
        room = ROOT / "anki_backup" / (entry.place.partition(".")[0] + ".py")
        return entry.before in " ".join(room.read_text().split())

    assert [entry for entry in EQUIVALENT if not stands(entry)] == []
    assert len(set(EQUIVALENT)) == len(EQUIVALENT)


def test_only_the_change_that_is_meant_is_equivalent():
    one = Equivalent("pages.encode", "stored = 0", "stored = 1", "")
    every = Equivalent("pages.encode", "stored = 0", ANY, "")
    assert one.covers("pages.encode", "stored = 0", "stored = 1")
    assert every.covers("pages.encode", "stored = 0", "stored = None")
    for other in (("pages.other", "stored = 0"), ("pages.encode", "stored = 9")):
        assert not one.covers(*other, "stored = 1") and not every.covers(*other, "stored = 1")
    assert not one.covers("pages.encode", "stored = 0", "stored = None")


def test_a_change_is_placed_by_room_class_and_function():
    places = {
        "anki_backup.durable.x__syncfs__mutmut_7": "durable._syncfs",
        "anki_backup.pages.x_encode__mutmut_12": "pages.encode",
        "anki_backup.objects.xǁObjectStoreǁ__init____mutmut_3": "objects.ObjectStore.__init__",
        "anki_backup.payloads.xǁ_Localǁ__init____mutmut_3": "payloads._Local.__init__",
        "anki_backup.objects.xǁObjectStoreǁ_make_folder__mutmut_3": "objects.ObjectStore._make_folder",
    }
    assert {name: Change(name, "").place for name in places} == places
