"""What the commands that look at a repository print: lines, documents, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anki_backup import cli, figures
from anki_backup.commands import Context, export, moment
from anki_backup.model import BackupManifest, BackupStats, CaptureFacts, DeckStats, Durations
from anki_backup.repository import Repository

EVIL = "Lang::\x1b[31mred\u202e\t[bold]"
FIRST = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)
BACKUP_FIELDS = set(
    "id source sequence origin created_at previous content_hash collection_sha256 size_bytes "
    "collection_bytes media_bytes media_files stored_bytes stats source_revision duration_ms anki_version "
    "program_version host collection_schema pinned label alarm verified_at".split()
)
RUN_FIELDS = set("source started_at outcome reason backup error stored_bytes duration_ms".split())

Answer = Callable[..., tuple[int, str, str]]


def add(repository: Repository, source: str, created: datetime, cards: int | None) -> str:
    """Commit a backup that has everything but contents; return its id."""
    name, sequence = repository.next_place(created)
    manifest = BackupManifest(
        format=1,
        repository=repository.id,
        id=name,
        source=source,
        sequence=sequence,
        origin="run",
        created_at=created,
        content_hash="v1:" + "a" * 64,
        collection_sha256="b" * 64,
        collection_bytes=4096,
        collection_schema=18,
        media_list=None,
        media_bytes=0,
        media_files=0,
        stored_bytes=0,
        stats=BackupStats(cards=cards, notes=2, decks=2, revlog=5),
        stats_sha256="",
        duration_ms=Durations(total=1200),
        program_version="0.1.0",
        host="here",
        capture=CaptureFacts(path="/x"),
    )
    decks = [DeckStats(id=1, name="Default", cards=0), DeckStats(id=2, name=EVIL, cards=3)]
    repository.commit(manifest, decks)
    run = {"source": source, "started_at": created.isoformat(), "duration_ms": 7, "stored_bytes": 9}
    number = repository.record("run_started", source=source)
    repository.record("run", run=number, outcome="created", backup=name, **run)
    return name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with sixty backups of `home`, an hour apart, then two of `work`."""
    path = tmp_path_factory.mktemp("commands") / "repository"
    repository = Repository.create(path)
    with repository.writing("test"):
        ids = [add(repository, "home", FIRST + timedelta(hours=hour), hour) for hour in range(60)]
        ids += [add(repository, "work", FIRST + timedelta(days=hour), None) for hour in (5, 6)]
        repository.record("pin", backup=ids[-1], label="before, the\x1b exam")
        alarm = {"kind": "notes", "before": 9, "after": 2, "since": FIRST.isoformat()}
        repository.record("alarm", backup=ids[-1], alarm=alarm)
        failed = {"outcome": "failed", "error": {"code": "source", "message": "gone\x1b", "hint": None}}
        repository.record("run", run=9999, source="work", started_at=FIRST.isoformat(), **failed)
    return path


@pytest.fixture
def answer(root: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return a function that answers a command line about that repository."""

    def ask(*args: str) -> tuple[int, str, str]:
        code = cli.answer([*args, "--repository", str(root)])
        return code, *capsys.readouterr()

    return ask


def lines(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_list_prints_the_columns_of_the_contract_newest_first(answer: Answer) -> None:
    code, stdout, stderr = answer("list")
    rows = lines(stdout)
    assert (code, stderr, len(rows)) == (0, "", 50)
    assert rows[0][:3] == ["2026-11-07T22-30-00Z", "work", "2026-11-07T22:30:00Z"]
    assert rows[0][3] == "4096" and int(rows[0][4]) > 0
    assert rows[0][5:] == ["-", "2", "2", "5", r"pinned,alarm,label=before, the\x1b exam"]
    assert rows[1][9:] == ["-"]
    assert rows[2][:2] == ["2026-11-04T09-30-00Z", "home"]


def test_list_is_narrowed_by_source_time_and_number(answer: Answer) -> None:
    assert len(lines(answer("list", "--all")[1])) == 62
    assert [row[1] for row in lines(answer("list", "--source", "work")[1])] == ["work", "work"]
    assert len(lines(answer("list", "--limit", "3")[1])) == 3
    assert len(lines(answer("list", "--since", "2026-11-04T08:30Z")[1])) == 4
    assert answer("list", "--since", "2030-01-01") == (0, "", "")


def test_list_as_json_has_every_field_of_a_backup(answer: Answer) -> None:
    document = json.loads(answer("list", "--json", "--limit", "2")[1])
    assert list(document) == ["schema", "backups"]
    newest, before = document["backups"]
    assert set(newest) >= BACKUP_FIELDS
    assert (newest["created_at"], newest["previous"]) == ("2026-11-07T22:30:00Z", before["id"])
    assert newest["stats"]["cards"] is None
    assert (newest["pinned"], newest["label"]) == (True, "before, the\x1b exam")
    assert set(newest["alarm"]) == {"kind", "before", "after", "since", "deck"}


@pytest.mark.parametrize("command", ["list", "runs"])
def test_a_source_that_nobody_knows_is_an_error(answer: Answer, command: str) -> None:
    code, stdout, stderr = answer(command, "--source", "wrk")
    message = "ankibak: there is no source 'wrk'\nhint: These are known: home, work.\n"
    assert (code, stdout, stderr) == (5, "", message)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "", "99999999999999d"])
def test_a_time_that_is_none_is_a_usage_error(answer: Answer, text: str) -> None:
    assert answer("list", "--since", text)[0] == 2


def test_show_prints_names_values_and_decks(answer: Answer) -> None:
    code, stdout, stderr = answer("show", "home:latest", "--decks")
    rows = lines(stdout)
    assert (code, stderr, rows[0]) == (0, "", ["id", "2026-11-04T09-30-00Z"])
    assert ["stats.cards", "59"] in rows
    assert rows[-1] == ["deck", "2", r"Lang::\x1b[31mred\u202e\t[bold]", "3"]
    assert "deck" not in [row[0] for row in lines(answer("show", "latest")[1])]


def test_show_as_json_is_the_backup_with_its_decks(answer: Answer) -> None:
    document = json.loads(answer("show", "latest", "--json")[1])
    assert next(iter(document)) == "schema"
    assert set(document) >= BACKUP_FIELDS | {"schema", "decks"}
    assert document["decks"][1] == {"id": 2, "name": EVIL, "cards": 3}
    assert "media" not in document
    assert json.loads(answer("show", "latest", "--json", "--media")[1])["media"] == []


def test_a_backup_that_is_not_there_is_an_error(answer: Answer) -> None:
    code, stdout, stderr = answer("show", "1999", "--json")
    assert (code, stdout, json.loads(stderr)["error"]["code"]) == (5, "", "not_found")


def test_runs_print_what_happened_and_why(answer: Answer) -> None:
    code, stdout, stderr = answer("runs", "--source", "work")
    rows = lines(stdout)
    assert (code, stderr, len(rows)) == (0, "", 3)
    assert ["2026-11-01T22:30:00Z", "work", "failed", "-", "-", "0", "0", "source", "1", "-"] in rows
    created = ["2026-11-07T22:30:00Z", "work", "created", "-", "2026-11-07T22-30-00Z", "9", "7", "-", "1"]
    assert [*created, "-"] in rows
    document = json.loads(answer("runs", "--json", "--all")[1])
    assert list(document) == ["schema", "results"]
    assert len(document["results"]) == 63
    assert all(set(run) >= RUN_FIELDS for run in document["results"])


def test_the_catalog_is_rebuilt_and_says_how_much_it_holds(answer: Answer) -> None:
    assert answer("catalog", "rebuild") == (0, "62\n", "")
    assert json.loads(answer("catalog", "rebuild", "--json")[1]) == {"schema": 1, "backups": 62}


def test_damage_is_printed_and_ends_with_its_code(answer: Answer) -> None:
    code, stdout, stderr = answer("verify", "latest")
    assert code == 6
    assert [row[0] for row in lines(stdout)] == ["2026-11-07T22-30-00Z"]
    assert stderr.startswith("ankibak: there is damage in ")
    code, stdout, stderr = answer("verify", "latest", "home:latest", "--json")
    document = json.loads(stdout)
    assert (code, list(document), document["checked"]) == (6, ["schema", "checked", "findings"], 2)
    assert {frozenset(item) for item in document["findings"]} == {
        frozenset({"backup", "object", "kind", "message"})
    }
    assert json.loads(stderr)["error"]["code"] == "damaged"


def test_a_folder_without_a_repository_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.answer(["list", "--repository", str(tmp_path)]) == 10
    assert "ankibak: there is no repository in " in capsys.readouterr().err


def test_a_broken_configuration_does_not_hide_a_repository_that_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "config.toml"
    broken.write_text("nonsense = [")
    args = ["-c", str(broken), "--repository", str(root)]
    assert cli.answer(["list", "--since", "2026-11-01", *args]) == 0
    assert cli.answer(["show", "@2026-11-03", *args]) == 0
    assert cli.answer(["list", "-c", str(broken)]) == 2
    capsys.readouterr()


def test_dates_are_those_of_the_configured_zone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[schedule]\ntimezone = "Asia/Tokyo"\n')
    context = Context(config_path=file)
    assert figures.utc(context.since("2026-11-20") or FIRST) == "2026-11-19T15:00:00Z"
    assert moment("2026-11-20T00:00Z", context.zone) == datetime(2026, 11, 20, tzinfo=UTC)
    ago = datetime.now(UTC) - (context.since("1d") or FIRST)
    assert abs(ago - timedelta(days=1)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("output", "word"),
    [
        (None, "colpkg"),
        ("-", "colpkg"),
        ("x.anki2", "anki2"),
        ("x", "colpkg"),
        ("x.tar.zst", "tar.zst"),
        ("new/", "dir"),
        (".", "dir"),
        ("x.dir", "dir"),
    ],
)
def test_the_format_is_the_one_that_the_path_asks_for(output: str | None, word: str) -> None:
    assert export.guess(output) == word


def test_an_export_has_a_name_by_itself(root: Path, tmp_path: Path) -> None:
    backup = Repository.open(root).find("latest")
    name = "work-2026-11-07T22-30-00Z"
    places: list[tuple[Any, str, Path]] = [
        (None, "anki2", Path(f"{name}.anki2")),
        (None, "dir", Path(name)),
        (str(tmp_path), "anki2", tmp_path / f"{name}.anki2"),
        (str(tmp_path), "dir", tmp_path),
        ("x", "anki2", Path("x")),
        (".", "dir", Path.cwd()),
    ]
    for output, word, place in places:
        assert export.place(output, word, backup) == place


@pytest.mark.parametrize(
    "args", [("--format", "dir", "-o", "-"), ("--format", "rar"), ("-o", "-", "--json"), ("--format", "")]
)
def test_an_export_that_makes_no_sense_is_a_usage_error(answer: Answer, args: tuple[str, ...]) -> None:
    assert answer("export", "latest", *args)[:2] == (2, "")
