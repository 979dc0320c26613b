"""Where an export is never written, and which endings name no format."""

from __future__ import annotations

import pytest


@pytest.fixture
def files(typed):
    """Return every file of the repository, the profile and the configuration with its bytes."""
    typed.media.mkdir()
    (typed.media / "cat.jpg").write_bytes(b"a cat")
    typed.type("run", "--force")
    return lambda: {path: path.read_bytes() for path in typed.root.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("{collection}", "is what source"),
        ("{media}/cat.jpg", "is what source"),
        ("{media}/new.anki2", "is what source"),
        ("{root}/repository.json", "is in the repository"),
        ("{root}/new.anki2", "is in the repository"),
        ("{config}", "is the configuration"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--media", "cat.jpg"]])
def test_nothing_of_ours_is_replaced(typed, files, target, told, words):
    before = files()
    named = {"collection": typed.collection, "media": typed.media, "root": typed.root, "config": typed.config}
    words = [*words] if words else ["--format", "anki2"]
    said = typed.type("export", "latest", *words, "-o", target.format(**named), "--overwrite", code=2)
    assert told in said and "Traceback" not in said
    assert files() == before


@pytest.mark.parametrize("name", ["q.tar.gz", "q.tar", "q.anki21", "q.rar"])
def test_an_ending_that_no_format_has_is_refused(typed, tmp_path, name):
    assert "no format has the ending" in typed.type("export", "latest", "-o", tmp_path / name, code=2)
    assert not (tmp_path / name).exists()
    typed.type("export", "latest", "-o", tmp_path / name, "--format", "zip")
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("word", ["", " ", "media:", "guid: "])
def test_a_history_of_nothing_is_refused(typed, word):
    assert "there is nothing to look for" in typed.type("history", word, code=2)
