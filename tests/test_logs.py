"""What programs read of a run: JSON lines, entries of journald, one line when nothing changed."""

from __future__ import annotations

import json
import os
import re
import socket
import sys

import pytest
from anki.collection import Collection

from anki_backup import cli, logs
from tests.homes import Home
from tests.made_collections import sql

ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "collection.anki2"
    Collection(str(path)).close()
    sql(path)
    return path


@pytest.fixture
def home(tmp_path, made):
    found = Home(tmp_path, made)
    assert cli.answer(["-c", str(found.config), "-q", "run"]) == 0
    return found


@pytest.fixture
def journald(tmp_path, monkeypatch):
    """Return a socket that is told what journald would be; stderr and stdout lead to it."""
    path = f"/tmp/ankibak-journal-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.setblocking(False)
        monkeypatch.setattr(logs, "SOCKET", path)
        monkeypatch.setattr(logs, "is_journal", lambda *_: True)
        monkeypatch.setattr("anki_backup.terminal.is_journal", lambda *_: True)
        yield server
        os.unlink(path)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def run(home, *words):
    return cli.answer(["-c", str(home.config), *words, "run"])


def test_an_unchanged_run_is_one_line_with_the_run_s_id(home, capsys):
    capsys.readouterr()
    assert run(home, "--log-format", "json") == 0
    (line,) = lines(capsys.readouterr().err)
    assert ID.fullmatch(line.pop("run")) and line.pop("time") and line.pop("duration_ms") >= 0
    assert line.pop("message").startswith("home: nothing changed")
    assert line == {
        "level": "info",
        "source": "home",
        "outcome": "skipped",
        "reason": "unchanged",
        "stored_bytes": 0,
    }


def test_every_line_of_a_process_has_the_same_id_and_systemd_s_if_there_is_one(home, capsys, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "a" * 32)
    tables = '[hooks]\nalways = ["echo", "one\\ntwo"]\nafter = ["false"]\n'
    home.config.write_text(home.config.read_text() + tables)
    capsys.readouterr()
    assert run(home, "--log-format", "json") == 3
    told = lines(capsys.readouterr().err)
    assert len(told) == 4 and {line["run"] for line in told} == {"a" * 32}
    assert [line["level"] for line in told] == ["info", "info", "warning", "info"]


def test_an_error_says_its_word_and_its_hint(home, capsys):
    home.collection.write_bytes(b"rubbish")
    capsys.readouterr()
    assert run(home, "--log-format", "json") == 7
    (line,) = lines(capsys.readouterr().err)
    assert (line["level"], line["code"]) == ("error", "source") and line["hint"] and ID.fullmatch(line["run"])


def entry(server):
    data = server.recv(1 << 16)
    fields = {}
    while data:
        name, _, rest = data.partition(b"=")
        if b"\n" in name:
            name, _, rest = data.partition(b"\n")
            length = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + length], rest[9 + length :]
        else:
            value, _, data = rest.partition(b"\n")
        fields[name.decode()] = value.decode()
    return fields


def test_journald_gets_one_entry_with_fields_and_nothing_beside_it(home, journald, capsys):
    capsys.readouterr()
    assert run(home, "--log-format", "journal") == 0
    told = entry(journald)
    assert told["MESSAGE"].startswith("home: nothing changed") and told["PRIORITY"] == "6"
    assert (told["ANKIBAK_SOURCE"], told["ANKIBAK_OUTCOME"]) == ("home", "skipped")
    assert ID.fullmatch(told["ANKIBAK_RUN"]) and told["SYSLOG_IDENTIFIER"] == "ankibak"
    assert capsys.readouterr() == ("", "")
    with pytest.raises(BlockingIOError):
        journald.recv(1)


def test_journald_gets_errors_with_their_hint(home, journald, capsys):
    home.collection.write_bytes(b"rubbish")
    assert run(home, "--log-format", "journal") == 7
    told = entry(journald)
    assert told["PRIORITY"] == "3" and "\nhint: " in told["MESSAGE"] and told["ANKIBAK_CODE"] == "source"


def test_where_journald_does_not_listen_it_gets_plain_lines_with_their_priority(home, monkeypatch, capsys):
    monkeypatch.setattr(logs, "SOCKET", "/nowhere")
    monkeypatch.setattr("anki_backup.terminal.is_journal", lambda *_: True)
    capsys.readouterr()
    assert run(home, "--log-format", "journal") == 0
    assert capsys.readouterr().err.startswith("<6>home: nothing changed")


def test_the_format_is_journald_s_where_stderr_leads_to_it(tmp_path):
    with open(tmp_path / "stream", "w") as stream:
        state = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        assert logs.natural(stream, journal) == "journal"
        assert logs.natural(sys.stdout, {}) == logs.natural(stream, {"JOURNAL_STREAM": "1:2"}) == "text"


def test_a_line_in_an_entry_stays_one():
    assert logs.encode({"A": "x\nB=y"}) == b"A\n" + (5).to_bytes(8, "little") + b"x\nB=y\n"
    assert logs.encode({"A": 1, "B": "\udc80"}) == b"A=1\nB=\\udc80\n"


def test_as_text_a_run_says_nothing_beside_its_data(home, capsys):
    capsys.readouterr()
    assert run(home) == 0
    out, err = capsys.readouterr()
    assert out.startswith("home\tskipped\t-\t0\t") and err == ""
