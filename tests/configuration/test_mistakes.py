"""How a mistake in the file is told: its line, what is expected, the nearest key."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anki_backup.config import Config, load
from anki_backup.errors import ConfigError

PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'
ACCOUNT = '[ankiweb]\nusername = "me"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '\n[storage]\nrot = "/r"\n',
            "FILE, line 3: storage.rot is an unknown key: did you mean storage.root?",
        ),
        ("[storge]\n", "FILE, line 1: storge is an unknown key: did you mean storage?"),
        ("[source.home]\n", "FILE, line 1: source is an unknown key: did you mean sources?"),
        (
            "[retention]\nkeep_daily = -1\n",
            "retention.keep_daily is an unknown key: did you mean retention.daily?",
        ),
        ("[storage]\ndaily = 3\n", "storage.daily is an unknown key: did you mean retention.daily?"),
        ("[Storage]\n", "Storage is an unknown key: did you mean storage?"),
        (
            PROFILE + "PATH = 3\n",
            "line 4: sources.home.PATH is an unknown key: did you mean sources.home.path?",
        ),
        (
            PROFILE + "[sources.home.schedule]\ncorn = ''",
            "line 5: sources.home.schedule.corn is an unknown key",
        ),
        (
            ACCOUNT + "usrname = 3\n",
            "line 3: ankiweb.usrname is an unknown key: did you mean ankiweb.username?",
        ),
        ("[server]\nxyzzy = 1\n", "FILE, line 2: server.xyzzy is an unknown key"),
    ],
)
def test_an_unknown_key_is_told_its_line_and_the_nearest_key(refused, text, said):
    assert said in refused(text)


def test_a_key_like_no_other_is_told_those_that_are_known_there(write):
    with pytest.raises(ConfigError) as caught:
        load(write("[security]\nxyzzy = 1\n"), {})
    assert caught.value.hint == "Known here: auth_enabled, public_read, rollback_cooldown."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[storage]\nroot = 3\n", "FILE, line 2: storage.root expects a path, not 3"),
        ('[storage]\nroot = ""\n', 'storage.root expects a path, not ""'),
        ('[storage]\nroot = "a\\u0000b"\n', "storage.root expects a path"),
        ("[storage]\nretention_days = 0\n", "expects a whole number of days, 1 or more, not 0"),
        ("[storage]\nretention_days = 999999999\n", "expects a whole number of days"),
        ("[retention]\ndaily = -1\n", 'retention.daily expects a whole number, 0 or more, or "all", not -1'),
        ('[retention]\ndaily = "some"\n', 'or "all", not "some"'),
        ("[retention]\ndaily = true\n", "not true"),
        ("[retention]\ndaily = 1.5\n", "not 1.5"),
        ('[retention]\nwithin = "2"\n', "retention.within expects a duration with a unit"),
        ("[schedule]\njitter = 2\n", 'expects a duration such as "48h", not 2'),
        ('[schedule]\ncron = "* * *"\n', "expects the five fields of a cron line"),
        ('[schedule]\ncron = "0 * * * *\\n"\n', "expects the five fields of a cron line"),
        ('[schedule]\ncalendar = "daily\\nExecStart=x"\n', "expects one line of text"),
        ('[schedule]\ncalendar = "daily\\n"\n', "expects one line of text"),
        ('[security]\nauth_enabled = "yes"\n', 'security.auth_enabled expects true or false, not "yes"'),
        ("[security]\nauth_enabled = 1\n", "expects true or false, not 1"),
        ("[run]\nthreads = -1\n", "expects a whole number from 0 to 1000, not -1"),
        ("[run]\nthreads = 99999999999999999999999\n", "expects a whole number"),
        ("[run]\nhot_tries = 0\n", "expects a whole number from 1 to 1000, not 0"),
        ("[server]\nlisten = 2026-01-01\n", "server.listen expects HOST:PORT, with a port from 0 to 65535,"),
        ('[server]\nlisten = "127.0.0.1:99999"\n', 'or unix:/path, not "127.0.0.1:99999"'),
        ('[server]\nlisten = "127.0.0.1:65536"\n', "with a port from 0 to 65535"),
        ('[server]\nlisten = "8088"\n', "with a port from 0 to 65535"),
        ('[server]\nlisten = "unix:"\n', "or unix:/path"),
        ('[server]\nlisten = "127.0.0.1:8088\\n"\n', "with a port from 0 to 65535"),
        ("storage = 3\n", "FILE, line 1: storage is not a table: write [storage]"),
        ("[[sources]]\n", "sources is not a table"),
        ('[sources]\nhome = "profile"\n', "sources.home is not a table: write [sources.home]"),
        (PROFILE + "schedule = 3\n", "sources.home.schedule is not a table"),
        (ACCOUNT + "password_command = []\n", "ankiweb has an empty password_command"),
        (ACCOUNT + "password_command = [1]\n", "ankiweb.password_command expects a list of texts"),
    ],
)
def test_a_wrong_value_is_told_what_is_expected(refused, text, said):
    assert said in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run]\nthreads = 1\nthreads = 2", "FILE, line 3: this key was set before"),
        ("[run]\n[storage]\n[run]\n", "FILE, line 3: this table stands there before"),
        ("[run]\nthreads = \n", "FILE, line 2: invalid value"),
        ("threads: 3\n", "FILE, line 1: expected '='"),
        ("a = " + "[" * 100_000, "FILE: nested too deeply"),
        ("a = " + "9" * 5000, "FILE: exceeds the limit"),
        ("a = 2026-02-31\n", "FILE, line 1: invalid date"),
        (b"[storage]\nroot = '/caf\xe9'\n", "FILE, line 2: not UTF-8"),
        (b"\0" * 512, "FILE, line 1: invalid statement"),
        (b"#" * 300_000, "FILE is larger than any configuration"),
        ("", "FILE is empty"),
        (" \n\n", "FILE is empty"),
    ],
)
def test_a_file_that_is_no_toml_is_told_the_line(refused, text, said):
    assert refused(text).startswith(said)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read):
    assert read(b"\xef\xbb\xbf[run]\r\nthreads = 3\r\n").run.threads == 3


def test_comments_alone_are_a_configuration(read):
    assert read("# nothing is configured here\n").sources == {}


def test_a_line_is_found_behind_values_of_several_lines(refused):
    text = (
        "[ankiweb]\nusername = 'me'\npassword_command = [\n  # why\n  'a',\n"
        "  'b',\n]\nendpoint = '''\nx = 1\n'''\n\n# so\nx = 1\n"
    )
    assert refused(text).startswith("FILE, line 13: ankiweb.x is an unknown key")


@given(st.text(max_size=60) | st.binary(max_size=60))
@example("[sources.home]\nkind = 'ankiweb'")
def test_no_file_whatsoever_gives_anything_but_a_config_or_a_complaint(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("any") / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load(file, {}), Config)
    except ConfigError as error:
        assert str(file) in error.message
