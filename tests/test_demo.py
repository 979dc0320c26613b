"""`ankibak demo`, as a stranger types it."""

import pytest


@pytest.mark.slow
def test_the_demo_plays_to_its_end_and_leaves_nothing(run_ankibak, tmp_path):
    done = run_ankibak("demo", env={"TMPDIR": str(tmp_path)}, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes = [line.split("\t")[1] for line in done.stdout.splitlines() if line.startswith("phone\t")]
    assert outcomes[:5] == ["created", "skipped", "created", "created", "created"]
    assert "All 680 notes are on the phone again." in done.stdout
    assert not list(tmp_path.glob("ankibak-*"))


def test_a_folder_with_something_in_it_is_refused(run_ankibak, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    done = run_ankibak("demo", "--keep", folder)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["mine"]
