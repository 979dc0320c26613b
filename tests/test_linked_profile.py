"""A profile whose collection lies elsewhere, as people do who keep it in a folder that is synced."""

from __future__ import annotations

from anki_backup.sources.profile import Profile
from tests.made_collections import make_changeable


def test_media_are_looked_for_beside_the_name_that_anki_opens_then_beside_the_file(tmp_path):
    profile, elsewhere = tmp_path / "User 1", tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_changeable(elsewhere / "collection.anki2")
    real = elsewhere / "collection.media"
    real.mkdir(exist_ok=True)
    profile.mkdir()
    (profile / "collection.anki2").symlink_to(elsewhere / "collection.anki2")
    for named in (profile, profile / "collection.anki2"):
        assert Profile("home", named).media == real
    (profile / "collection.media").mkdir()
    for named in (profile, profile / "collection.anki2"):
        found = Profile("home", named)
        assert (found.media, found.collection) == (
            profile / "collection.media",
            elsewhere / "collection.anki2",
        )
