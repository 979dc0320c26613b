"""Who is told what, and when: a monitor of every run, people of what changed, and nobody twice."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from anki.collection import Collection
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import cli
from anki_backup.errors import NotifierError
from anki_backup.listeners import AppriseService, PingService
from anki_backup.notifiers import Message, apprise, ping
from anki_backup.tidings import Told, due, learnt
from anki_backup.values import Secret, duration
from tests.homes import Home
from tests.made_collections import sql

CALL = Message("start", "home", "a title", "a body, ü")


class Monitor:
    """An HTTP server on loopback that remembers what it was sent, and answers what it is told to."""

    def __init__(self):
        self.calls, self.code = [], 200
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                monitor.calls.append((self.path, body))
                self.send_response(monitor.code)
                if monitor.code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def paths(self):
        return [path for path, _ in self.calls]

    def taken(self):
        calls, self.calls[:] = list(self.calls), []
        return calls


@pytest.fixture
def monitor():
    found = Monitor()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "collection.anki2"
    col = Collection(str(path))
    for number in range(120):
        note = col.new_note(col.models.by_name("Basic"))
        note.fields = [f"front {number}", "back"]
        col.add_note(note, 1)
    col.close()
    sql(path)
    return path


@pytest.fixture
def home(tmp_path, made):
    found = Home(tmp_path, made)
    found.config.chmod(0o600)
    return found


def configure(home, text):
    home.config.write_text(home.config.read_text() + text)


def run(home, *words):
    return cli.answer(["-c", str(home.config), *(words or ("run",))])


def pinger(url, timeout="10s"):
    return ping.make(PingService(url=Secret(url), timeout=duration(timeout)))


def test_a_monitor_hears_of_the_start_and_the_end_of_every_run(home, monitor):
    configure(home, f'[ping]\nurl = "{monitor.url}/abc/{{source}}?create=1"\n')
    assert run(home) == 0 and run(home) == 0
    assert monitor.paths == ["/abc/home/start?create=1", "/abc/home?create=1"] * 2
    assert "home: created in" in monitor.calls[1][1] and "home: skipped in" in monitor.calls[3][1]
    monitor.taken()
    home.collection.write_bytes(b"rubbish")
    assert run(home) == 7
    assert monitor.paths == ["/abc/home/start?create=1", "/abc/home/fail?create=1"]
    assert home.repository.runs()[0].error.message in monitor.calls[1][1]


def test_a_monitor_that_is_gone_makes_a_good_run_incomplete_and_a_bad_one_no_worse(home, monitor, capsys):
    monitor.code = 500
    configure(home, f'[ping]\nurl = "{monitor.url}/5ecretpart123"\n')
    assert run(home) == 3 and len(home.repository.backups()) == 1
    stderr = capsys.readouterr().err
    assert stderr.count("warning: home: ping: the monitor was not told: it answered 500") == 1
    assert len(monitor.calls) == 4 and "5ecret" not in stderr
    home.collection.write_bytes(b"rubbish")
    assert run(home) == 7


@pytest.mark.parametrize(("code", "words", "calls"), [(404, "answered 404", 1), (302, "answered 302", 1)])
def test_a_wrong_address_is_told_without_being_shown(code, words, calls, monitor):
    monitor.code = code
    with pytest.raises(NotifierError, match=words) as raised:
        pinger(monitor.url + "/secret").tell(CALL)
    assert "secret" not in str(raised.value) and len(monitor.calls) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/secret", "ftp://h/secret", "http://[::1", "nonsense"])
def test_what_can_not_be_reached_is_an_error_of_ours(url):
    with pytest.raises(NotifierError) as raised:
        pinger(url).tell(CALL)
    assert "secret" not in str(raised.value)


def people(monitor):
    """Return the table of a configuration by which Apprise posts to the monitor."""
    return f'[apprise]\nurl = "{monitor.url.replace("http", "json")}/"\n'


def heard(monitor):
    return [(told["title"].partition(": ")[2], told["message"]) for told in map(json.loads, bodies(monitor))]


def bodies(monitor):
    return [body for _, body in monitor.taken()]


def test_people_hear_of_the_first_failure_of_many_and_of_its_end(home, monitor):
    configure(home, people(monitor) + "[notify]\nafter_failures = 3\n")
    assert run(home) == 0 and monitor.calls == []
    good = home.collection.read_bytes()
    home.collection.write_bytes(b"rubbish")
    titles = []
    for _ in range(6):
        assert run(home) == 7
        titles += [title for title, _ in heard(monitor)]
    assert titles == ["the backup of home failed", "the backup of home is still failing, 3 times in a row"]
    home.collection.write_bytes(good)
    assert run(home) == 0 and run(home) == 0
    ((title, body),) = heard(monitor)
    assert title == "the backup of home works again" and "The cards are safe" in body


def test_what_could_not_be_told_is_told_by_the_next_run(home, monitor):
    configure(home, people(monitor))
    run(home)
    home.collection.write_bytes(b"rubbish")
    monitor.code = 503
    assert run(home) == 7
    monitor.taken()
    monitor.code = 200
    assert run(home) == 7 and run(home) == 7
    assert [title for title, _ in heard(monitor)] == ["the backup of home failed"]


def test_an_alarm_is_told_once(home, monitor):
    configure(home, people(monitor) + f'[ping]\nurl = "{monitor.url}/ping"\n')
    run(home)
    monitor.taken()
    sql(home.collection, "DELETE FROM cards WHERE id % 7")
    assert run(home) == 4
    calls = monitor.taken()
    assert [path for path, _ in calls] == ["/ping/start", "/ping/fail", "/"]
    told = json.loads(calls[2][1])
    assert told["type"] == "warning" and "ankibak acknowledge" in told["message"]
    assert run(home) == 0
    assert [path for path, _ in monitor.taken()] == ["/ping/start", "/ping"]


def test_notify_test_tells_everybody_and_says_who_did_not_hear(home, monitor, capsys):
    assert run(home, "notify", "test") == 2
    capsys.readouterr()
    configure(home, people(monitor) + '[ping]\nurl = "http://127.0.0.1:9/5ecretpart123"\n')
    assert run(home, "notify", "test") == 3
    out, err = capsys.readouterr()
    assert [line.split("\t")[:2] for line in out.splitlines()] == [["ping", "no"], ["apprise", "yes"]]
    assert "5ecret" not in out + err and [title for title, _ in heard(monitor)] == ["a test"]
    assert run(home, "notify", "test", "--json") == 3
    document = json.loads(capsys.readouterr().out)
    assert [item["told"] for item in document["notifiers"]] == [False, True]


def test_a_unit_that_failed_without_a_word_is_told_and_one_that_spoke_is_not(home, monitor, monkeypatch):
    assert run(home, "notify", "failure", "ankibak@home.service") == 0  # nobody to tell
    configure(home, f'{people(monitor)}[ping]\nurl = "{monitor.url}/{{source}}"\n')
    for status in ("3", "4", "7", "8"):
        monkeypatch.setenv("MONITOR_EXIT_CODE", "exited")
        monkeypatch.setenv("MONITOR_EXIT_STATUS", status)
        assert run(home, "notify", "failure", "ankibak@home.service") == 0
    assert monitor.paths == []
    assert run(home, "notify", "failure", "ankibak-verify.service") == 0
    assert monitor.paths == ["/ankibak/fail", "/"]
    monkeypatch.setenv("MONITOR_EXIT_CODE", "killed")
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "oom-kill")
    monitor.taken()
    assert run(home, "notify", "failure", "ankibak@home.service") == 0
    assert monitor.paths == ["/home/fail", "/"]
    assert all("oom-kill" in body and "journalctl" in body for body in bodies(monitor))


def test_secrets_of_notifiers_want_a_file_of_their_own(home, monitor, capsys):
    configure(home, people(monitor))
    home.config.chmod(0o644)
    assert run(home) == 2 and "apprise.url is a secret" in capsys.readouterr().err
    home.config.chmod(0o600)
    assert run(home, "config", "show") == 0
    assert 'url = "********"' in capsys.readouterr().out


def test_apprise_says_what_it_does_not_understand_and_reads_files(tmp_path, monitor):
    with pytest.raises(NotifierError, match="nothing that Apprise understands"):
        apprise.make(AppriseService(url=Secret("nonsense://x"))).tell(CALL)
    file = tmp_path / "people"
    with pytest.raises(NotifierError, match="no address"):
        apprise.make(AppriseService(file=file)).tell(CALL)
    file.write_text(monitor.url.replace("http", "json") + "/\n")
    apprise.make(AppriseService(file=file)).tell(CALL)
    assert len(monitor.calls) == 1


def test_a_digest_comes_once_a_week(home, monitor, monkeypatch):
    configure(home, people(monitor))
    digest = home.root / "state" / "digest.json"
    run(home)
    assert monitor.calls == []
    digest.write_text(json.dumps({"at": (datetime.now(UTC) - timedelta(days=8)).isoformat()}))
    assert run(home) == 0 and run(home) == 0
    ((title, body),) = heard(monitor)
    assert title == "the cards are safe"
    assert "home: 1 new backups, 1 times unchanged" in body and "1 backups in the repository" in body


OUTCOMES = st.lists(st.tuples(st.booleans(), st.sampled_from([None, None, "a", "b"])), max_size=30)


@given(OUTCOMES, st.integers(0, 5))
def test_whatever_happens_people_know_the_state_and_hear_nothing_twice(runs, after):
    told, failures, alarms = Told(), 0, []
    for failed, alarmed in runs:
        failures = failures + 1 if failed else 0
        kinds = due(told, failed, alarmed, failures, after)
        for kind in kinds:
            told = learnt(told, kind, failed, alarmed)
        assert due(told, failed, alarmed, failures, after) in ([], ["still"])
        assert (told.state == "fine") is (not failed)
        assert len(kinds) <= 2 and not {"failed", "recovered"} <= set(kinds)
        alarms += [alarmed] if "alarm" in kinds else []
    assert all(one != other for one, other in itertools.pairwise(alarms))
