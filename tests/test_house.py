"""The house rules that a machine can read: who may import whom, how large a room grows, what it is called."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

# A room imports only rooms written before it; a new room joins in the commit that makes it.
ROOMS = """
    errors figures model values redaction listeners settings keys document environment calendars
    config apart cooldown due durable temporary locks heap deltas pages moved retention forks secrets logins
    credentials hostkeys library grafts answers mirror device sender parts zips frames pieces filenames bundle
    packages archives leaves presence words scratch paged
  | header payloads objects steady chains walk media medialist canonical messages collection pictures content
    window lookout things rows differences compare spotted events entries catalog replay history
    view standing gaps overview lookup identity baseline deposit pointer hold intent swap repository contents
    timeline lives around verify forest footing repack prune safety losses preview regain
  | sources formats vaults notifiers
  | laps gather marks attempt alarms hooks tidings metrics runs watch sides plan candidates enclosed
    past adopt singles places staging rollback push putback sendback proof setup units checkup
    rehearsal
  | signals logs terminal marked web commands completion cli
"""
LINES = [line.split() for line in ROOMS.split("|")]
ORDER = [room for line in LINES for room in line]
# Drivers see only the first line, so that the repository stays free to change.
DRIVERS = LINES[2]
# Their modules are of one shape and don't know each other; they share through `__init__`.
ONE_SHAPE = {*DRIVERS, "commands"}
# The only modules that may import `anki`: it takes 170 ms and ties us to its versions.
MAY_IMPORT_ANKI = {
    "anki_backup.device",
    "anki_backup.grafts",
    "anki_backup.library",
    "anki_backup.parts",
    "anki_backup.rehearsal",
    "anki_backup.sender",
}
# Never loaded to list backups.
HEAVY = set(
    "anki rich "
    "aiohttp fastapi flask itsdangerous jinja2 litestar pydantic starlette uvicorn "
    "apprise azure boto3 botocore google paramiko".split()
)
FORBIDDEN_NAMES = set("utils helpers common misc base core manager".split())
TOP_LEVEL = set("pyproject.toml anki_backup tests systemd docs README.md Makefile LICENSE".split())
LINES_LIMIT = 300

PACKAGE = ROOT / "anki_backup"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHON = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dotted(path: Path) -> str:
    """Return the name a module is imported by: `sources/__init__.py` is `anki_backup.sources`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """Return the room of a dotted name; the package itself has none."""
    return [*module.split("."), ""][1]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), path)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a module imports, at its top or within."""
    ours = {dotted(module) for module in MODULES}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[:-1]
            above = package[: len(package) + 1 - node.level] if node.level else ()
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for name in node.names:
                inner = f"{origin}.{name.name}"
                yield node.lineno, inner if inner in ours else origin


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a module imports from the other modules of the package."""
    for line, name in imported(path):
        if name.startswith("anki_backup."):
            yield line, name


def of_kind(rooms: set[str] | list[str]) -> list[Path]:
    return [path for path in MODULES if room(dotted(path)) in rooms]


def test_every_room_is_on_the_list_once():
    rooms = {room(dotted(path)) for path in MODULES} - {"", "__main__"}
    assert rooms - set(ORDER) == set()
    assert len(ORDER) == len(set(ORDER))


def test_a_room_imports_only_rooms_written_before_it():
    upwards = []
    for path in MODULES:
        own = room(dotted(path))
        # The package itself imports nothing; `python -m anki_backup` stands above all.
        allowed = {"": [], "__main__": ORDER}[own] if own in ("", "__main__") else ORDER[: ORDER.index(own)]
        upwards += [
            f"{relative(path)}:{line}: {name}"
            for line, name in own_imports(path)
            if room(name) != own and room(name) not in allowed
        ]
    assert upwards == []


def test_modules_of_one_shape_do_not_know_each_other():
    siblings = [
        f"{relative(path)}:{line}: {name}"
        for path in of_kind(ONE_SHAPE)
        for line, name in own_imports(path)
        if room(name) == room(dotted(path))
        and name not in (f"anki_backup.{room(dotted(path))}", dotted(path))
    ]
    assert siblings == []


def test_drivers_see_only_the_first_line():
    seen = {
        (relative(path), room(name))
        for path in of_kind(DRIVERS)
        for _, name in own_imports(path)
        if room(name) != room(dotted(path))
    }
    assert {(path, name) for path, name in seen if name not in LINES[0]} == set()


def test_only_named_modules_import_anki():
    importing = [
        f"{relative(path)}:{line}"
        for path in MODULES
        for line, name in imported(path)
        if name.split(".")[0] == "anki" and dotted(path) not in MAY_IMPORT_ANKI
    ]
    assert importing == []


def test_every_module_that_may_import_anki_does():
    using = {
        dotted(path) for path in MODULES if any(name.split(".")[0] == "anki" for _, name in imported(path))
    }
    assert MAY_IMPORT_ANKI - using == set()


def test_no_file_grows_over_its_limit():
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in PYTHON}
    assert {path: length for path, length in lengths.items() if length > LINES_LIMIT} == {}


def test_every_module_says_what_it_is_for():
    assert [relative(path) for path in PYTHON if not ast.get_docstring(tree(path))] == []


def test_no_import_brings_names_unseen():
    stars = [
        f"{relative(path)}:{node.lineno}"
        for path in PYTHON
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and any(name.name == "*" for name in node.names)
    ]
    assert stars == []


def test_every_name_says_a_subject():
    parts = {
        (relative(path), part.strip("_"))
        for path in PYTHON
        for part in path.relative_to(ROOT).with_suffix("").parts
    }
    assert {(path, part) for path, part in parts if part in FORBIDDEN_NAMES} == set()


def test_the_top_level_holds_what_was_agreed():
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert visible - TOP_LEVEL == set()


def loaded_by(*args: str) -> set[str]:
    """Run Python with `args`, to success, and return the top names of all it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {row[-1].strip().split(".")[0] for row in rows}


def test_importing_list_loads_nothing_heavy():
    names = loaded_by("-c", "import anki_backup.commands.list")
    assert "anki_backup" in names
    assert names & HEAVY == set()


def test_the_help_of_list_loads_nothing_heavy():
    assert loaded_by("-m", "anki_backup", "list", "--help") & HEAVY == set()


def test_list_loads_nothing_heavy(tmp_path):
    from anki_backup.repository import Repository

    Repository.create(tmp_path / "repository")
    root = str(tmp_path / "repository")
    assert loaded_by("-m", "anki_backup", "--repository", root, "list") & HEAVY == set()


def test_a_run_that_finds_nothing_changed_loads_no_database_of_the_index(tmp_path):
    from tests.made_collections import make_changeable

    make_changeable(tmp_path / "collection.anki2")
    config = tmp_path / "config.toml"
    config.write_text(
        '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "collection.anki2"\n'
    )
    run = ("-m", "anki_backup", "-c", str(config), "run")
    assert "peewee" in loaded_by(*run)
    assert loaded_by(*run) & {*HEAVY, "peewee"} == set()


def test_every_word_is_a_file_with_the_same_name():
    from anki_backup import cli

    commands = {path.stem.rstrip("_").replace("_", "-") for path in (PACKAGE / "commands").glob("[a-z]*.py")}
    assert commands == set(cli.COMMANDS)
