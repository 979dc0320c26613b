"""Secrets: who may read the file that holds one, and that nothing shows it."""

from __future__ import annotations

import json

import pytest

from anki_backup.config import load
from anki_backup.errors import ConfigError
from anki_backup.values import Secret

MARKER = "correct-horse-battery"
ACCOUNT = '[ankiweb]\nusername = "me"\n'


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
@pytest.mark.parametrize("environ", [{}, {"ANKIBAK_ANKIWEB__PASSWORD": "other"}])
def test_a_password_in_a_file_that_others_can_read_is_refused(write, mode, environ):
    file = write(ACCOUNT + f'password = "{MARKER}"\n', mode)
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    assert (
        caught.value.message
        == f"{file}, line 3: ankiweb.password is a secret, in a file that others can read"
    )
    assert caught.value.hint == f"Type: chmod 600 '{file}'"


def test_a_private_file_may_hold_a_password_and_a_public_one_anything_else(read):
    assert read(ACCOUNT + f'password = "{MARKER}"\n').sources["ankiweb"].password.reveal() == MARKER
    assert (
        read(ACCOUNT + 'password_command = "pass show anki"\n', mode=0o644).sources["ankiweb"].password
        is None
    )


def test_a_secret_shows_itself_nowhere(read):
    found = read(ACCOUNT + f'password = "{MARKER}"\n')
    secret = found.sources["ankiweb"].password
    assert isinstance(secret, Secret)
    for text in (
        repr(found),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        json.dumps([secret], default=str),
        repr([secret]),
    ):
        assert MARKER not in text
        assert "********" in text


@pytest.mark.parametrize(
    "text",
    [
        f'password = ["{MARKER}"]\n',
        f"password = {{ {MARKER} = 1 }}\n",
        f'password = "{MARKER}"\npassword = "x"\n',
        f'password = "{MARKER}\n',
        f'password = "{MARKER}"\nusrname = "x"\n',
        f'password = "{MARKER}\\q"\n',
        f"password = {MARKER}\n",
    ],
)
def test_no_complaint_shows_a_secret(write, text):
    with pytest.raises(ConfigError) as caught:
        load(write(ACCOUNT + text), {})
    error = caught.value
    while error is not None:
        assert MARKER not in f"{error} {getattr(error, 'hint', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
