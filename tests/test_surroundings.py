"""What a command was given and where it runs."""

from __future__ import annotations

import os

from anki_backup import cli


def test_a_hint_names_the_configuration_and_the_repository_that_were_given(run_ankibak, tmp_path):
    """It can be typed as it stands."""
    (tmp_path / "a b.toml").write_text("# nothing\n")
    done = run_ankibak("-c", tmp_path / "a b.toml", "--repository", tmp_path, "list")
    given = f"ankibak -c '{tmp_path}/a b.toml' --repository {tmp_path} run"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        10,
        f"hint: Make the first backup, which makes it: {given}",
    )


def test_a_temporary_folder_that_is_not_there_is_done_without(monkeypatch, tmp_path, capsys):
    """As Python does; Anki's library and other programs would fail."""
    for folder, kept in ((tmp_path / "nowhere", None), (tmp_path, str(tmp_path))):
        monkeypatch.setenv("TMPDIR", str(folder))
        assert cli.answer(["--version"]) == 0
        assert os.environ.get("TMPDIR") == kept
