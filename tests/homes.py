"""A profile and a repository that a test can run, change and look into."""

from __future__ import annotations

import shutil

from anki_backup import runs
from anki_backup.gather import Options
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.verify import verify
from tests.made_collections import sql


class Home:
    """A profile and a repository. Each run opens the repository anew, as a process would."""

    def __init__(self, folder, made):
        self.folder, self.root = folder / "User 1", folder / "repository"
        self.collection, self.cache = self.folder / "collection.anki2", self.root / "cache" / "home"
        (self.folder / "collection.media").mkdir(parents=True)
        (self.folder / "collection.media" / "cat.jpg").write_bytes(b"a picture")
        shutil.copy(made, self.collection)
        self.config = folder / "config.toml"
        tables = '[storage]\nroot = "repository"\n[sources.home]\nkind = "profile"\npath = "User 1"\n'
        self.config.write_text(tables)

    @property
    def repository(self):
        return Repository.create(self.root)

    def run(self, *statements, **options):
        if statements:
            sql(self.collection, *statements)
        wanted = Options(**{"threads": 1, **options})
        return runs.back_up(self.repository, Profile("home", self.folder), wanted)

    def given_back(self, backup):
        path = self.folder.parent / "back.anki2"
        self.repository.restore_collection(backup.id, path)
        return path.read_bytes()

    def objects(self):
        return {path: path.stat().st_size for path in self.root.glob("objects/*/*")}

    def is_sound(self):
        return verify(self.repository, [], read_data=True).findings == []
