"""Variables that override the file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from anki_backup.config import load
from anki_backup.environment import variable
from anki_backup.keys import NAME, inner, known, tables
from anki_backup.settings import KINDS, Retention
from anki_backup.values import plain

PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'
ACCOUNT = '[ankiweb]\nusername = "me"\n'


def test_the_environment_goes_over_the_file(read):
    found = read(
        '[storage]\nroot = "/r"\n[run]\nthreads = 4\n' + PROFILE,
        ANKIBAK_STORAGE__ROOT="/e",
        ANKIBAK_RUN__THREADS="1",
        ANKIBAK_SECURITY__PUBLIC_READ="1",
        ANKIBAK_SECURITY__AUTH_ENABLED="False",
        ANKIBAK_SOURCES__HOME__PATH="/q",
        ANKIBAK_SOURCES__HOME__RETENTION__DAILY="7",
        ANKIBAK_SOURCES__HOME__RETENTION__YEARLY="all",
        ANKIBAK_SCHEDULE__JITTER="1m",
    )
    assert found.storage.root == Path("/e")
    assert found.run.threads == 1
    assert (found.security.public_read, found.security.auth_enabled) == (True, False)
    assert found.sources["home"].path == Path("/q")
    assert found.sources["home"].retention == Retention(daily=7, yearly="all")
    assert found.schedule.jitter == timedelta(minutes=1)


def test_every_value_knows_where_it_came_from(read):
    found = read("[run]\nthreads = 4\n" + PROFILE, ANKIBAK_SOURCES__HOME__PATH="/q")
    assert found.origin("run.threads") == "file"
    assert found.origin("run.hot_tries") == "default"
    assert found.origin("sources.home.kind") == "file"
    assert found.origin("sources.home.path") == "environment ANKIBAK_SOURCES__HOME__PATH"


def test_a_source_can_come_from_the_environment_alone():
    environ = {"ANKIBAK_SOURCES__BOX__PATH": "/p", "ANKIBAK_SOURCES__BOX__KIND": "profile"}
    assert load(None, environ).sources["box"].path == Path("/p")
    environ = {
        "ANKIBAK_ANKIWEB__USERNAME": "me",
        "ANKIBAK_ANKIWEB__PASSWORD_COMMAND": '["pass", "show"]',
        "ANKIBAK_SOURCES__ANKIWEB__PASSWORD": "true",
    }
    found = load(None, environ)
    assert found.sources["ankiweb"].password_command == ["pass", "show"]
    assert found.sources["ankiweb"].password.reveal() == "true"
    assert found.origin("sources.ankiweb.username") == "environment ANKIBAK_ANKIWEB__USERNAME"
    assert load(None, {"ANKIBAK_ANKIWEB__USERNAME": "123"}).sources["ankiweb"].username == "123"


def test_a_source_with_a_hyphen_is_reached_by_an_underscore(read):
    found = read(PROFILE.replace("home", "my-box"), ANKIBAK_SOURCES__MY_BOX__PATH="/q")
    assert found.sources["my-box"].path == Path("/q")


def test_only_names_with_two_underscores_are_keys(read):
    assert read(PROFILE, ANKIBAK_THREADS="x", ANKIBAK_DATA="y", OTHER__KEY="z").sources["home"].path == Path(
        "/p"
    )


def test_an_empty_by_variablesays_nothing(read):
    found = read('[storage]\nroot = "/r"\n', ANKIBAK_STORAGE__ROOT="", ANKIBAK_ANKIWEB__USERNAME="")
    assert (found.storage.root, found.sources) == (Path("/r"), {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ANKIBAK_STORAGE__ROT", "ANKIBAK_STORAGE__ROOT"),
        ("ANKIBAK__STORAGE__ROOT", "ANKIBAK_STORAGE__ROOT"),
        ("ANKIBAK_SOURCES__HOEM__PATH", "ANKIBAK_SOURCES__HOME__PATH"),
        ("ANKIBAK_SOURCES__HOME__PTAH", "ANKIBAK_SOURCES__HOME__PATH"),
        ("ANKIBAK_SOURCES__HOME__RETENTION", "ANKIBAK_SOURCES__HOME__RETENTION__"),
        ("ANKIBAK_SOURCES__HOME", "ANKIBAK_SOURCES__HOME__"),
        ("ANKIBAK_RETENTION__DAILY__X", "ANKIBAK_RETENTION__DAILY"),
        ("ANKIBAK_STORAGE__", "ANKIBAK_STORAGE__ROOT"),
        ("ANKIBAK___", ""),
    ],
)
def test_an_unknown_by_variableis_named_with_the_nearest(refused, name, nearest):
    said = refused(PROFILE, **{name: "1"})
    assert said.startswith(f"{name} in the environment is an unknown key")
    assert nearest in said


def test_a_wrong_value_of_a_by_variableis_told_by_its_name(refused):
    assert refused(PROFILE, ANKIBAK_RUN__THREADS="many") == (
        'ANKIBAK_RUN__THREADS expects a whole number from 0 to 1000, not "many"'
    )
    assert "ANKIBAK_SECURITY__PUBLIC_READ expects true" in refused(
        PROFILE, ANKIBAK_SECURITY__PUBLIC_READ="maybe"
    )
    assert "is not a list as in TOML" in refused(ACCOUNT, ANKIBAK_ANKIWEB__PASSWORD_COMMAND="[pass")


def test_a_mistake_in_the_file_is_told_as_such_whatever_the_environment_says(refused):
    assert refused("sources = 3\n", ANKIBAK_ANKIWEB__USERNAME="x").startswith("FILE, line 1: sources is not")
    assert refused("storage = 3\n", ANKIBAK_STORAGE__ROOT="x").startswith("FILE, line 1: storage is not")
    for text in ("[sources]\nhome = 3\n", '[sources.home]\nkind = "profil"\n'):
        assert refused(text, ANKIBAK_SOURCES__HOME__PATH="/q").startswith("FILE, line 2: sources.home")


@pytest.mark.parametrize(
    ("path", "table", "key"),
    [(path, table, key) for path, table in tables() for key in known(table).values() if not inner(key.type)],
)
def test_every_key_can_be_given_by_the_environment(path, table, key):
    kind = getattr(table, "kind", "profile")
    given = {
        f"sources.x.{name}": needed.example for name, needed in known(KINDS[kind]).items() if needed.required
    }
    dotted = ".".join((*path, key.name)).replace(NAME, "x")
    given |= {"sources.x.kind": kind, dotted: plain(key.example)}
    environ = {variable(name): str(value) for name, value in given.items()}
    assert load(None, environ).origin(dotted) == f"environment {variable(dotted)}"


def test_the_kind_of_a_source_can_be_given_by_the_environment(read):
    found = read("[sources.home]\npath = '/p'\n", ANKIBAK_SOURCES__HOME__KIND="profile")
    assert found.origin("sources.home.kind") == "environment ANKIBAK_SOURCES__HOME__KIND"
