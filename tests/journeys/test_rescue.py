"""The runbook, disaster by disaster: each test is a story, and types what docs/ROLLBACK.md says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from anki.collection import Collection

from tests.conftest import ROOT
from tests.runbook import Follower, headings
from tests.sync_server import PASSWORD, USER, Client, SyncServer

DESKTOP = '[storage]\nroot = "backups"\n[sources.desktop]\nkind = "profile"\npath = "User 1"\n'
ON_A_DAY = """import sys; from datetime import UTC, datetime, timedelta
from anki_backup import attempt, cli
attempt.now = lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(days={days})
sys.argv = ["ankibak", "run"]; sys.exit(cli.main())"""
VERBS, WORDS = "Español::Verbos", "日本語"


class Desktop:
    """A person's profile, and what happens to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "User 1"
        self.folder.mkdir()
        self.media = self.folder / "collection.media"
        with self.opened() as collection:
            for number in range(60):
                for deck in (VERBS, WORDS):
                    self.add(collection, deck, f"{deck} {number} <img src=cat.jpg>")
            collection.media.write_data("cat.jpg", b"a cat")
            collection.media.write_data("dog.jpg", b"a dog")
        (folder / "config.toml").write_text(DESKTOP)

    def opened(self):
        return Opened(self.folder / "collection.anki2")

    @staticmethod
    def add(collection: Collection, deck: str, front: str) -> None:
        note = collection.new_note(collection.models.by_name("Basic"))
        note["Front"], note["Back"] = front, "the back"
        collection.add_note(note, collection.decks.id(deck))

    def study(self, answers: int) -> None:
        with self.opened() as collection:
            collection.decks.set_current(collection.decks.id(WORDS))
            for _ in range(answers):
                card = collection.sched.getCard()
                card.start_timer()
                collection.sched.answerCard(card, 3)

    def count(self, search: str) -> int:
        with self.opened() as collection:
            return len(collection.find_notes(search))

    def reviews(self) -> int:
        with self.opened() as collection:
            return collection.db.scalar("SELECT count() FROM revlog")


class Opened:
    """A collection, closed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self.collection = Collection(str(path))

    def __enter__(self) -> Collection:
        return self.collection

    def __exit__(self, *_: object) -> None:
        self.collection.close()


@pytest.fixture
def environment(tmp_path):
    return {
        "ANKIBAK_CONFIG": str(tmp_path / "config.toml"),
        "ANKIBAK_SECURITY__ROLLBACK_COOLDOWN": "0s",
    }


@pytest.fixture
def page(tmp_path, environment):
    return Follower(tmp_path, environment)


@pytest.fixture
def desktop(tmp_path):
    return Desktop(tmp_path)


@pytest.fixture
def run(page):
    """Back up as of some days ago."""

    def run(days: float = 0, code: int = 0) -> None:
        words = [sys.executable, "-c", ON_A_DAY.format(days=days)]
        done = subprocess.run(
            words, cwd=page.folder, env=page.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr

    return run


def write_account(folder: Path, server: SyncServer) -> None:
    """Write a configuration of one account, the password in it."""
    (folder / "config.toml").write_text(
        '[storage]\nroot = "backups"\n[sources.home]\nkind = "ankiweb"\n'
        f'username = "{USER}"\nendpoint = "{server.url}"\npassword = "{PASSWORD}"\n'
    )
    (folder / "config.toml").chmod(0o600)


def test_the_wrong_button_on_the_phone(tmp_path, environment, run):
    """Ann finds an old phone in a drawer, syncs, is asked, and taps "Upload". Everything since May is gone.

    Her tablet had learned three cards that it never synced.
    """
    with SyncServer(tmp_path / "server") as server:
        write_account(tmp_path, server)
        page = Follower(tmp_path, {k: v for k, v in environment.items() if "SOURCES" not in k or "HOME" in k})
        with (
            Client(tmp_path / "phone", server.url) as phone,
            Client(tmp_path / "tablet", server.url) as tablet,
        ):
            for number in range(25):
                phone.add(f"question {number}", "answer", "Español")
            phone.picture("cat.jpg", b"a cat")
            phone.upload()
            tablet.sync()
            run(days=1)
            with Client(tmp_path / "old", server.url) as old:
                old.add("a card of last May")
                old.upload()
            tablet.study(3, deck="Español")
            page.follow("The wrong button on the phone")
            for device in (phone, tablet):
                device.download()
                assert device.col.note_count() == 25
            assert tablet.col.db.scalar("SELECT count() FROM revlog") == 0  # as the page says
            assert (Path(phone.col.media.dir()) / "cat.jpg").read_bytes() == b"a cat"


def test_the_deck_deleted_three_weeks_ago(desktop, run, page):
    """Ben tidies up and deletes a deck; he notices three weeks and many reviews later."""
    run(days=22)
    with desktop.opened() as collection:
        collection.decks.remove([collection.decks.id(VERBS)])
    run(days=21, code=4)  # an alarm, which he does not read
    desktop.study(10)
    run(days=2)
    page.follow("A deck is gone")
    assert (desktop.count(f"deck:{VERBS}"), desktop.reviews()) == (60, 10)
    assert (page.folder / "verbos.apkg").exists()


def test_a_find_and_replace_gone_wrong(desktop, run, page):
    """Cleo replaces "a" by nothing in all fields, and studies before she sees it."""
    run(days=1)
    with desktop.opened() as collection:
        collection.find_and_replace(
            note_ids=collection.find_notes(""), search="a", replacement="", regex=False
        )
    desktop.study(5)
    page.follow("Notes are damaged")
    assert (desktop.count("Back:*back"), desktop.reviews()) == (120, 5)


def test_the_pictures_that_vanished(desktop, run, page):
    """Dora's cleaning tool finds that `collection.media` is large."""
    run(days=1)
    for path in desktop.media.iterdir():
        path.unlink()
    page.follow("Pictures are gone")
    assert {path.name: path.read_bytes() for path in desktop.media.iterdir()} == {
        "cat.jpg": b"a cat",
        "dog.jpg": b"a dog",
    }
    assert (page.folder / "pictures" / "cat.jpg").read_bytes() == b"a cat"


def test_the_account_that_was_emptied(tmp_path, environment, run):
    """Emil's server gets a new disk; the account is there again, and empty."""
    with SyncServer(tmp_path / "server") as server:
        write_account(tmp_path, server)
        with Client(tmp_path / "phone", server.url) as phone:
            for number in range(25):
                phone.add(f"question {number}")
            phone.picture("cat.jpg", b"a cat")
            phone.upload()
            run(days=1)
            server.stop()
            shutil.rmtree(server.folder)
            server.start()
            Follower(tmp_path, environment).follow("The account is empty")
        with Client(tmp_path / "new phone", server.url) as new:
            new.sync()
            assert new.col.note_count() == 25
            assert (Path(new.col.media.dir()) / "cat.jpg").read_bytes() == b"a cat"


def test_the_dead_laptop(desktop, run, tmp_path, monkeypatch):
    """Fay's laptop is at the bottom of a lake. The repository was on another disk."""
    desktop.study(10)
    run(days=1)
    before = desktop.reviews()
    shutil.rmtree(desktop.folder)
    # A new machine: Anki was started once, and there is no configuration.
    (tmp_path / "config.toml").unlink()
    monkeypatch.delenv("ANKIBAK_CONFIG", raising=False)
    desktop.folder.mkdir()
    with desktop.opened():
        pass
    Follower(tmp_path, {"ANKIBAK_SECURITY__ROLLBACK_COOLDOWN": "0s"}).follow("The machine is lost")
    assert (desktop.count(""), desktop.reviews(), before) == (120, 10, 10)
    assert (desktop.media / "cat.jpg").read_bytes() == b"a cat"
    assert (tmp_path / "everything.colpkg").stat().st_size > 1000


def test_the_disk_that_went_bad(desktop, run, page, tmp_path):
    """Gil's disk has flipped bits in the object of a picture, and in the index."""
    from anki_backup.repository import Repository

    run(days=2)
    (desktop.media / "new.jpg").write_bytes(b"a new picture")
    run(days=1)
    repository = Repository.open(tmp_path / "backups")
    picture = next(f for f in repository.media(repository.find("latest").id) if f.name == b"new.jpg")
    path = repository.store.path(picture.sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (tmp_path / "backups" / "state" / "metadata.db").write_bytes(b"not an index any more")
    page.follow("The repository is damaged")
    assert (desktop.media / "new.jpg").read_bytes() == b"a new picture"


def test_rollback_and_undo(desktop, run, page):
    """Hal goes back a day too far, and then forth again."""
    run(days=2)
    desktop.study(5)
    run(days=1)
    desktop.study(3)
    page.follow("Undo a rollback")
    assert desktop.reviews() == 8


def test_every_section_with_commands_is_followed_by_a_test():
    text = Path(__file__).read_text("utf-8")
    assert [heading for heading in headings() if f'"{heading}"' not in text] == []
    assert ROOT.is_dir()
