"""What the content hash promises: it stands still over bookkeeping and moves with content."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from anki.collection import Collection

from anki_backup import content
from anki_backup.errors import SourceError
from tests.collection_changes import BOOKKEEPING, CONTENT
from tests.hash_by_the_book import by_the_book
from tests.made_collections import make_changeable, sql

REAL = """
    initial_version_2_12_1 ki-broken_media_links ki-collection ki-commas ki-deleted
    ki-duplicated_subdeck_after ki-duplicated_subdeck_before ki-edited ki-empty ki-html ki-linebreaks
    ki-media ki-multideck ki-original ki-split ki-symlinks ki-tiny_korean mediacheck schema16 schema250
""".split()
# A promise of v1: if this has to change, every backup would look changed.
KNOWN = "v1:b80d478a539d048d4cbd34ef2ee891858795b23bcd7b5bf0f293a087feae5a40"
MEDIA = [(b"b.png", "1" * 64), (b"a\xff.mp3", "2" * 64)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_changeable(tmp_path_factory.mktemp("base") / "collection.anki2")


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(base, tmp_path / "collection.anki2"))


def hashed(path: Path) -> str:
    return content.content_hash(path, content.media_section(MEDIA))


def parts_that_differ(one: Path, other: Path) -> list[str]:
    first, second = (content.sections(path, content.media_section(MEDIA)) for path in (one, other))
    return [label for label in first if first[label] != second[label]]


@pytest.mark.parametrize("change", BOOKKEEPING)
def test_the_hash_stands_still_over(change: str, base: Path, copy: Path) -> None:
    before = copy.read_bytes()
    BOOKKEEPING[change](copy)
    assert copy.read_bytes() != before or change == "open and close"
    assert parts_that_differ(base, copy) == []
    assert hashed(copy) == hashed(base)


@pytest.mark.parametrize("change", CONTENT)
def test_the_hash_moves_with(change: str, base: Path, copy: Path) -> None:
    act, parts = CONTENT[change]
    act(copy)
    assert set(parts_that_differ(base, copy)) == parts
    assert hashed(copy) != hashed(base)
    assert hashed(copy) == by_the_book(copy, MEDIA)


def test_the_hash_moves_with_media_and_not_with_their_order(base: Path) -> None:
    before = hashed(base)
    assert content.content_hash(base, content.media_section(reversed(MEDIA))) == before
    others: list[list[tuple[bytes, str]]] = [
        [],
        MEDIA[:1],
        [*MEDIA, (b"new", "3" * 64)],
        [(b"renamed", MEDIA[0][1]), MEDIA[1]],
        [(MEDIA[0][0], "4" * 64), MEDIA[1]],
        [(MEDIA[0][0], MEDIA[1][1]), (MEDIA[1][0], MEDIA[0][1])],
    ]
    hashes = {content.content_hash(base, content.media_section(media)) for media in others}
    assert len(hashes) == len(others)
    assert before not in hashes


def test_the_hash_is_what_the_specification_says(base: Path) -> None:
    assert re.fullmatch("v1:[0-9a-f]{64}", hashed(base))
    assert hashed(base) == by_the_book(base, MEDIA)


@pytest.mark.parametrize("name", REAL)
def test_the_hash_of_real_collections_is_what_the_specification_says(name: str, data_dir: Path) -> None:
    path = data_dir / f"{name}.anki2"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the real files")
    assert hashed(path) == by_the_book(path, MEDIA)


def test_the_hash_of_a_known_collection_never_changes(data_dir: Path) -> None:
    path = data_dir / "ki-original.anki2"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the real files")
    assert hashed(path) == KNOWN


def test_the_oldest_schema_is_hashed_with_the_same_masks(base: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.anki2"
    shutil.copy(base, old)
    col = Collection(str(old))
    col.close(downgrade=True)
    sql(old)
    assert hashed(old) == by_the_book(old, MEDIA)
    same = Path(shutil.copy(old, tmp_path / "same.anki2"))
    sql(
        same,
        "UPDATE col SET conf = json_set(conf, '$.curDeck', 1, '$.nextPos', 99, '$.collapseTags', 1)",
        "UPDATE col SET decks = json_set(decks, '$.1.collapsed', json('true'), '$.1.newToday', json('[9,9]'),"
        " '$.1.usn', 9, '$.1.mod', 9, '$.1.null', null)",
        "UPDATE col SET dconf = json_set(dconf, '$.1.usn', 9), tags = replace(tags, ':0', ':7')",
    )
    assert same.read_bytes() != old.read_bytes()
    assert hashed(same) == hashed(old)
    for number, change in enumerate(
        [
            "UPDATE col SET conf = json_set(conf, '$.collapseTime', 99)",
            "UPDATE col SET decks = json_set(decks, '$.1.name', 'x')",
            "UPDATE col SET dconf = json_set(dconf, '$.1.new.perDay', 99)",
            "UPDATE col SET models = replace(models, 'Front', 'Font')",
            "UPDATE col SET tags = '{\"x\": 0}'",
        ]
    ):
        other = Path(shutil.copy(old, tmp_path / f"{number}.anki2"))
        sql(other, change)
        assert parts_that_differ(old, other) == ["col"]


def test_a_newer_schema_is_hashed_byte_by_byte(copy: Path) -> None:
    sql(copy, "UPDATE col SET ver = 19")
    before = hashed(copy)
    assert before == by_the_book(copy, MEDIA)
    sql(copy, "UPDATE notes SET usn = 99")
    assert hashed(copy) != before


def test_what_does_not_parse_is_hashed_as_it_is(copy: Path) -> None:
    seen = set()
    for junk in ("x''", "x'ff'", "x'7b'", "x'f80f7b7d'", "'[1e999]'", "'" + "[" * 5000 + "'", "NULL", "1.5"):
        sql(copy, "PRAGMA ignore_check_constraints=1", f"UPDATE notetypes SET config = coalesce({junk}, 7)")
        seen.add(hashed(copy))
    assert len(seen) == 8


def test_a_name_that_is_no_utf8_is_hashed(copy: Path) -> None:
    before = hashed(copy)
    copy.write_bytes(
        copy.read_bytes().replace(b"Filtered", b"\xffiltered").replace(b"f11\x1f", b"\xfe11\x1f")
    )
    assert hashed(copy) != before


def test_a_table_that_breaks_off_is_damage_and_no_other_hash(copy: Path) -> None:
    db = sqlite3.connect(copy)
    db.executemany(
        "INSERT INTO revlog VALUES (?, 1, 0, 1, 1, 1, 2500, 9, 0)", [(1000 + n,) for n in range(5000)]
    )
    db.commit()
    size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    sql(copy)
    data = bytearray(copy.read_bytes())
    # A leaf of revlog: a page of rows of a table (13), full of rows that look alike.
    leaves = [
        at for at in range(size, len(data), size) if data[at] == 13 and data[at + 3 : at + 5] > b"\0\x80"
    ]
    data[leaves[len(leaves) // 2]] = 0
    copy.write_bytes(data)
    with pytest.raises(SourceError, match="not every row of revlog can be read"):
        hashed(copy)
