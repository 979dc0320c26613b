"""A month of an account's life, unattended: what breaks, who hears of it, and what is left to do by hand.

The clock is ours; the account, its sync server, the devices and those who are told are real.
"""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from anki_backup import cli, durable
from anki_backup.repository import Repository
from tests.sync_server import PASSWORD, USER, Client, SyncServer
from tests.test_notifiers import Monitor

FIRST = datetime(2031, 3, 3, tzinfo=UTC)  # a Monday
EVERY = timedelta(hours=8)
CONFIG = """
[storage]
root = "backups"
[schedule]
cron = "0 */8 * * *"
timezone = "UTC"
[sources.home]
kind = "ankiweb"
username = "{user}"
endpoint = "{server}"
password_file = "password"
retries = 0
timeout = "5s"
[notify]
after_failures = 4
[ping]
url = "{monitor}/check"
[apprise]
url = "{people}/people"
"""


class Month:
    """A machine that backs up every eight hours, and a person who is told when something happens."""

    def __init__(self, folder, server, monitor):
        self.folder, self.server, self.monitor = folder, server, monitor
        self.now = FIRST
        self.file = folder / "config.toml"
        people = monitor.url.replace("http", "json")
        self.file.write_text(CONFIG.format(user=USER, server=server.url, monitor=monitor.url, people=people))
        self.file.chmod(0o600)
        self.password(PASSWORD)
        self.heard, self.written = [], []

    @property
    def repository(self):
        return Repository.open(self.folder / "backups")

    def password(self, text):
        path = self.folder / "password"
        path.write_text(text + "\n")
        path.chmod(0o600)

    def ask(self, *words):
        """Type a command at this moment; return its exit code."""
        with time_machine.travel(self.now, tick=False):
            return cli.answer(["-c", str(self.file), *words])

    def day(self, number, hours=(0, 8, 16)):
        """Let a day go by; return the exit codes of its runs."""
        codes = []
        for hour in hours:
            self.now = FIRST + timedelta(days=number - 1, hours=hour)
            codes.append(self.ask("-q", "run"))
            self._listen(number)
        return codes

    def _listen(self, number):
        for path, body in self.monitor.taken():
            self.written.append(body)
            if path == "/people":
                self.heard.append((number, json.loads(body)["title"].partition(": ")[2]))

    def told(self):
        """Return what people heard since they were last asked."""
        heard, self.heard = self.heard, []
        return heard

    def status(self, capsys):
        capsys.readouterr()
        code = self.ask("status", "--json")
        return code, json.loads(capsys.readouterr().out)["sentence"]


@pytest.fixture
def monitor():
    found = Monitor()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def month(tmp_path, monitor):
    with SyncServer(tmp_path / "server") as server:
        yield Month(tmp_path, server, monitor)


def phone(month, password=PASSWORD):
    return Client(month.folder / "phone", month.server.url, USER, password)


@pytest.mark.slow
def test_a_month_in_which_everything_breaks_once(month, capsys, monkeypatch):
    with phone(month) as device:
        for number in range(60):
            device.add(f"question {number}", f"answer {number}", "Español")
        device.upload()

    # Two good days: a backup where something changed, and nobody is bothered.
    assert month.day(1) == [0, 0, 0]
    with phone(month) as device:
        device.sync()
        device.study(5, deck="Español")
        device.sync()
    assert month.day(2) == [0, 0, 0]
    assert [run.outcome for run in month.repository.runs()[:6]] == [
        *("skipped", "skipped", "created"),
        *("skipped", "skipped", "created"),
    ]
    assert month.told() == []
    assert month.status(capsys) == (
        0,
        "The cards are safe: home was unchanged just now; its newest backup is from 16 h ago with 60 cards.",
    )

    # Day 3: the password is changed on the server. One message; the old one is not tried again and again.
    month.server.users = {USER: "another one"}
    month.server.restart()
    assert month.day(3) == [7, 7, 7]
    assert month.told() == [(3, "the backup of home failed")]
    code, sentence = month.status(capsys)
    assert code == 0 and "safe" in sentence  # for a day, what there is is fresh enough
    assert month.day(4, (0, 8)) == [7, 7]
    assert month.told() == [(4, "the backup of home is still failing, 4 times in a row")]
    code, sentence = month.status(capsys)
    assert code == 1
    assert sentence.startswith("The cards are NOT safe: home had no successful run since 40 h ago")
    assert "(allowed: 26 h); its last run failed: " in sentence
    # The person reads it and puts the new password into its file.
    month.password("another one")
    assert month.day(4, (16,)) == [0]
    assert month.told() == [(4, "the backup of home works again")]
    assert month.status(capsys)[0] == 0

    # A week is over: how it went.
    for number in range(5, 9):
        assert month.day(number) == [0, 0, 0]
    assert month.told() == [(8, "the cards are safe")]

    # Day 9: the disk is full. What was there stays; the message is told once, though it can't be noted.
    kept = [backup.id for backup in month.repository.backups()]
    with monkeypatch.context() as full:

        def no_space(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(durable, "write_fully", no_space)
        assert month.day(9) == [8, 8, 8]
    assert [backup.id for backup in month.repository.backups()] == kept
    assert month.told() == [(9, "the backup of home failed")]
    assert month.day(10) == [0, 0, 0]
    assert month.told() == [(10, "the backup of home works again")]
    assert month.day(11) == [0, 0, 0]

    # Days 12 and 13: the server is down.
    month.server.stop()
    assert month.day(12) == [7, 7, 7] and month.day(13) == [7, 7, 7]
    assert month.told() == [
        (12, "the backup of home failed"),
        (13, "the backup of home is still failing, 4 times in a row"),
    ]
    assert month.status(capsys)[0] == 1
    month.server.start()
    assert month.day(14) == [0, 0, 0]
    assert month.told() == [(14, "the backup of home works again")]
    for number in range(15, 20):
        assert month.day(number) == [0, 0, 0]
    assert month.told() == [(15, "the cards are safe")]

    # Day 20: somebody empties the account. Nothing is stored, what there is is pinned, and it is said once.
    with phone(month, "another one") as device:
        device.sync()
        cards = device.col.card_count()
    with Client(month.folder / "empty", month.server.url, USER, "another one") as blank:
        blank.upload()
    kept = [backup.id for backup in month.repository.backups()]
    assert month.day(20) == [4, 4, 4]
    newest, *others = month.repository.backups()
    assert [newest.id, *(backup.id for backup in others)] == kept
    assert (newest.pinned, newest.alarm.kind, newest.alarm.before) == (True, "empty", cards)
    assert month.told() == [(20, "ALARM: home shrank")]
    code, sentence = month.status(capsys)
    assert code == 1 and f"the account of home was emptied after backup {newest.id}" in sentence

    # Day 21: the phone still has everything, and gives it back. The alarm stays until a person ends it.
    with phone(month, "another one") as device:
        device.upload()
    assert month.day(21) == [0, 0, 0]
    assert month.told() == [(21, "the backup of home works again")]
    assert month.status(capsys)[0] == 1
    assert month.ask("acknowledge", newest.id) == 0
    assert month.status(capsys)[0] == 0
    assert month.day(22) == [0, 0, 0] and month.day(23) == [0, 0, 0] and month.day(24) == [0, 0, 0]
    assert month.told() == [(22, "the cards are safe")]

    # Day 25: the machine sleeps through the night. When it wakes nothing is wrong, and it catches up.
    assert month.day(25) == [0, 0, 0]
    month.now = FIRST + timedelta(days=25, hours=11)
    code, sentence = month.status(capsys)
    assert code == 0 and "home was unchanged 19 h ago" in sentence
    assert month.day(26, (11, 16)) == [0, 0]
    assert month.told() == []
    for number in range(27, 31):
        assert month.day(number) == [0, 0, 0]
    assert month.told() == [(29, "the cards are safe")]

    # What the month left: every backup whole, one pinned, no alarm, and not a word too many.
    backups = month.repository.backups()
    assert [backup.pinned for backup in backups].count(True) == 1
    assert not any(backup.alarm for backup in backups)
    assert month.ask("-q", "verify", "--read-data") == 0
    # And no secret went anywhere.
    state = month.folder / "backups" / "state"
    month.written += [path.read_text() for path in (state / "events.jsonl", *state.glob("told/*"))]
    month.written += capsys.readouterr()
    assert not any(secret in text for text in month.written for secret in (PASSWORD, "another one"))
