"""A profile and a configuration, with the program typed as a person does, and what may happen to it."""

from __future__ import annotations

import hashlib
import json
import shutil

from anki.collection import Collection

from anki_backup import content
from anki_backup.repository import Repository
from anki_backup.verify import verify
from tests.made_collections import sql

SIDE = ("-wal", "-shm", "-journal")


class Home:
    """A profile, its configuration, and the program typed as a person does."""

    def __init__(self, folder, run_ankibak):
        self.root, self.profile = folder / "repository", folder / "User 1"
        self.collection, self.media = self.profile / "collection.anki2", self.profile / "collection.media"
        self.config = folder / "config.toml"
        self.config.write_text(
            '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "User 1"\n'
        )
        self._run = run_ankibak

    @classmethod
    def with_history(cls, folder, run_ankibak, made):
        """Three backups of a collection, the second one pinned, of which retention would keep one."""
        home = cls(folder, run_ankibak)
        home.profile.mkdir()
        shutil.copy(made, home.collection)
        home.config.write_text(home.config.read_text() + "[retention]\nlast = 1\n")
        for _ in range(2):
            home.type("run", "--force")
        home.type("pin", "latest", "--label", "before the exam")
        home.type("run", "--force")
        return home

    @property
    def log(self):
        return self.root / "state" / "events.jsonl"

    def listed(self):
        """Return all backups, newest first."""
        return json.loads(self.type("list", "--json"))["backups"]

    def finding(self):
        """Return the one thing that `verify` finds."""
        self.type("verify", code=6)
        (found,) = verify(Repository.open(self.root), [], False).findings
        return found.message

    def type(self, *words, code=0, stdout=False):
        """Type a command, which has to end with a code; return what it printed, stderr where it failed."""
        done = self._run("-c", self.config, *words)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stderr if code and not stdout else done.stdout

    @staticmethod
    def change_note(path):
        """Make a collection another one."""
        sql(path, "update notes set flds = 'changed' where id = (select min(id) from notes)")

    def back_up(self):
        told = json.loads(self.type("run", "--json"))["results"][0]
        assert told["outcome"] == "created", told
        return told["backup"]["id"]

    def roll_back(self, *words):
        return json.loads(self.type("rollback", *words, "--yes", "--json"))

    def content(self):
        """What is there now, as its content hash tells."""
        files = [
            (path.name.encode(), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(self.media.iterdir(), key=lambda path: path.name.encode())
        ]
        return content.content_hash(self.collection, content.media_section(files))

    def hash_of(self, backup):
        return json.loads(self.type("show", backup, "--json"))["content_hash"]

    def notes(self):
        collection = Collection(str(self.collection))
        try:
            return collection.note_count()
        finally:
            collection.close()

    def pointer(self):
        return Repository.open(self.root).pointers()["home"]

    def leftovers(self):
        """What only a rollback that is under way needs, and what would spoil a collection."""
        beside = {path.name for path in self.profile.iterdir() if path.name.endswith(SIDE)}
        places = [*self.profile.iterdir(), *(self.root / "state").iterdir(), *(self.root / "cache").iterdir()]
        return beside | {path.name for path in places if "rollback" in path.name}


def change(home, number=1):
    """Lose notes, mend one, add one, change, remove and add media."""
    collection = Collection(str(home.collection))
    notes = collection.find_notes("")
    collection.remove_notes(notes[:3])
    note = collection.get_note(notes[5])
    note["Front"] = f"changed {number}"
    collection.update_note(note)
    note = collection.new_note(collection.models.by_name("Basic"))
    note["Front"] = f"new {number}"
    collection.add_note(note, collection.decks.id(f"New deck {number}"))
    collection.close()
    (home.media / "cat.jpg").write_bytes(b"another cat %d" % number)
    (home.media / "gone.jpg").unlink(missing_ok=True)
    (home.media / f"new{number}.jpg").write_bytes(b"new")
