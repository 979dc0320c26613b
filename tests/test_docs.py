"""The docs are tested artefacts: nothing that exists goes unsaid, nothing that is said doesn't exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from anki_backup import errors
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TEXTS = sorted(
    path
    for top in (
        "anki_backup",
        "docs",
        "systemd",
        "tests",
        ".ci",
        ".github",
        "Makefile",
        "README.md",
        "pyproject.toml",
    )
    for path in ([ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*"))
    if path.is_file() and not {"__pycache__", ".ruff_cache"} & set(path.parts)
)

FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?[^)]*\)")
URL = re.compile(r"[a-z][a-z0-9+.-]*:")
# A name that the reader puts in: <name>, NAME.
PLACEHOLDER = re.compile(r"<\w+>|\b[A-Z]{2,}\b")
TYPED = re.compile(r"(?:^|[\s(`$])ankibak ((?:-\S+ )*)([a-z][a-z-]*)", re.MULTILINE)
# Written in two parts, or this file would be the first to break its own rule.
MACHINE_PATHS = re.compile(r"(?<![\w.~])/(?:wor" r"k|tmp/la" r"b)/")
PROMISES = re.compile(
    r"\b(?:TODO|FIXME|TBD)\b"
    r"|(?i:\b(?:planned|coming soon|not yet (?:implemented|supported)|in a future (?:release|version))\b)"
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def read(path: Path) -> str:
    return path.read_text("utf-8")


def prose(page: Path) -> str:
    """Return a page without its code."""
    return SPAN.sub("", FENCE.sub("", read(page)))


def sections(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each heading of a page with what stands under it, up to the next one."""
    # A comment in a shell example is no heading; blanks keep every place where it was.
    bare = FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), read(page))
    found = list(HEADING.finditer(bare))
    ends = [heading.start() for heading in found[1:]] + [len(bare)]
    for heading, end in zip(found, ends, strict=True):
        yield heading[1], read(page)[heading.end() : end]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def leads_somewhere(path: Path, link: str) -> bool:
    """Say whether a relative link on a page has a target: a file of the project, or a heading in one."""
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return (
        not anchor or target.suffix != ".md" or anchor in {slug(heading) for heading, _ in sections(target)}
    )


def page(name: str) -> Path:
    path = DOCS / name
    assert path.is_file(), f"docs/{name} is missing"
    return path


def commands() -> dict[str, str]:
    from anki_backup import cli

    return cli.COMMANDS


def exit_codes() -> set[int]:
    """Return the exit code of every error there is."""
    codes, left = set(), [errors.AnkibakError]
    while left:
        error = left.pop()
        codes.add(error.exit_code)
        left += error.__subclasses__()
    return codes


def words_explained() -> set[str]:
    """Return the commands that have a section: `run`, `ankibak run SOURCE` or plain run as its heading."""
    words = set()
    for heading, text in sections(page("COMMANDS.md")):
        for name in SPAN.findall(heading) or [heading]:
            if text.strip():
                words.add(name.removeprefix("ankibak ").split()[0])
    return words


def keys_explained() -> set[str]:
    """Return the dotted keys that CONFIG.md names: in full, or under a heading with their table."""
    keys = set()
    for heading, text in sections(page("CONFIG.md")):
        tables = [table.strip("[]") for table in SPAN.findall(heading) if table.startswith("[")]
        for name in SPAN.findall(heading + "\n" + text):
            keys |= {name, *(f"{table}.{name}" for table in tables)}
    return {PLACEHOLDER.sub("*", key) for key in keys}


def test_every_command_has_a_section():
    assert set(commands()) - words_explained() == set()


def test_every_command_that_a_page_types_exists():
    known = {*commands(), "command"}
    unknown = [
        f"{relative(path)}: ankibak {word}"
        for path in PAGES
        for code in [
            *(fence[0] for fence in FENCE.finditer(read(path))),
            *SPAN.findall(FENCE.sub("", read(path))),
        ]
        for _, word in TYPED.findall(code)
        if word not in known
    ]
    assert unknown == []


def test_every_configuration_key_is_explained():
    from anki_backup import config

    keys, explained = config.keys(), keys_explained()
    assert [key for key in keys if PLACEHOLDER.sub("*", key) not in explained] == []


def test_every_exit_code_has_a_row():
    rows = re.findall(r"^\| *`?(\d+(?:`?, *`?\d+)*)`? *\|", read(page("COMMANDS.md")), re.MULTILINE)
    explained = {int(number) for row in rows for number in re.findall(r"\d+", row)}
    assert (exit_codes() | {0, 130}) - explained == set()


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_every_link_within_the_project_leads_somewhere(path):
    links = LINK.findall(SPAN.sub("", FENCE.sub("", read(path))))
    dead = [link for link in links if not URL.match(link) and not leads_somewhere(path, link)]
    assert dead == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_a_page_promises_only_what_is_there(path):
    assert [found[0] for found in PROMISES.finditer(prose(path))] == []


def test_no_line_names_a_place_on_the_machine_where_it_was_written():
    named = []
    for path in TEXTS:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        named += [f"{relative(path)}:{n}" for n, line in enumerate(lines, 1) if MACHINE_PATHS.search(line)]
    assert named == []


def test_the_readme_and_the_pages_it_needs_are_there():
    missing = [
        name
        for name in ("COMMANDS.md", "CONFIG.md", "CONTRIBUTING.md", "CHANGELOG.md")
        if not (DOCS / name).is_file()
    ]
    assert missing == []
    assert (ROOT / "README.md").is_file()
