"""Repository and sources that lie inside one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from anki_backup.apart import check_places
from anki_backup.config import Config
from anki_backup.errors import ConfigError
from anki_backup.settings import ProfileSource, Storage

PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'


@pytest.fixture
def places(tmp_path):
    """Return a function that checks a repository against a profile with a media folder."""
    (tmp_path / "User 1/collection.media").mkdir(parents=True)
    (tmp_path / "User 1/collection.anki2").touch()
    (tmp_path / "repo").mkdir()

    def places(root, path="User 1", media=None):
        source = ProfileSource(path=tmp_path / path, media=tmp_path / media if media else None)
        check_places(Config(storage=Storage(root=tmp_path / root), sources={"home": source}))

    return places


@pytest.mark.parametrize(
    ("root", "path", "media"),
    [
        ("User 1/collection.media", "User 1", None),
        ("User 1/collection.media/repo", "User 1", None),
        ("User 1/collection.media/repo", "User 1/collection.anki2", None),
        ("User 1/x/../collection.media/a/b", "User 1", None),
        ("User 1", "User 1", None),
        ("User 1", "User 1/collection.anki2", None),
        (".", "User 1", None),
        ("repo", "repo/active/home", None),
        ("repo", "repo/collection.anki2", None),
        ("repo", "User 1", "repo/media"),
        ("media/repo", "User 1", "media"),
        ("sync/me/media/repo", "sync/me", None),
        ("box/deck.media/repo", "box/deck.anki2", None),
    ],
)
def test_a_repository_and_a_source_inside_one_another_are_refused(places, root, path, media):
    with pytest.raises(ConfigError, match=r"sources\.home: .* lies inside the") as caught:
        places(root, path, media)
    assert caught.value.exit_code == 2


def test_a_link_does_not_hide_that_one_lies_in_the_other(places, tmp_path):
    (tmp_path / "elsewhere").symlink_to("User 1/collection.media")
    with pytest.raises(ConfigError, match="lies inside the media folder"):
        places("elsewhere/repo")
    (tmp_path / "User 2").mkdir()
    (tmp_path / "User 2/collection.media").symlink_to(tmp_path / "repo")
    with pytest.raises(ConfigError, match="lies inside the repository"):
        places("repo", "User 2")


@pytest.mark.parametrize(
    "root", ["repo", "User 1-backups", "User 1/backups/ankibak", "User 1/collection.media2"]
)
def test_places_beside_one_another_are_fine(places, root):
    places(root)


def test_a_repository_given_otherwise_is_checked_in_place_of_the_configured_one(read, tmp_path):
    found = read(PROFILE)
    check_places(found)
    with pytest.raises(ConfigError):
        check_places(found, Path("/p/collection.media/repo"))
