"""One backup: what its time went into. Before a rollback: what will happen, what devices have to choose."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from anki_backup import figures
from anki_backup.model import Durations, Step
from anki_backup.web.waterfall import waterfall
from tests.web.conftest import Served

PAGE = {"Accept": "text/html"}
BAR = re.compile(r'class="bar" x="([\d.]+)" y="0" width="([\d.]+)"')


def test_the_time_of_a_backup_is_a_waterfall_with_its_figures_beside_it(served: Served):
    backup = served.repository.backups(limit=1)[0]
    steps = [step for step in served.repository.manifest(backup.id).steps if step.ms]
    with served.client() as client:
        page = client.get(f"/backups/{backup.id}", headers=PAGE).text
    table = re.search(r'<table class="falls">.*?</table>', page, re.DOTALL)[0]
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', table)
    assert len(rows) == len(steps) > 1 and "syncing" not in table
    for row, step in zip(rows, steps, strict=True):
        assert f'<td class="num">{figures.duration(step.ms)}</td>' in row
        assert 'aria-hidden="true"' in row, "the row says it already"


def bars(manifest, *steps: tuple[str, int]) -> list[tuple[float, float]]:
    """Return where each bar begins, and how long it is."""
    falls = waterfall(structs.replace(manifest, steps=[Step(*step) for step in steps]))
    found = [BAR.search(fall.bar) for fall in falls]
    return [(float(bar[1]), float(bar[2])) for bar in found]


def test_each_bar_begins_where_the_one_before_ended_and_none_is_lost_to_the_eye(served: Served):
    manifest = served.repository.manifest(served.repository.backups(limit=1)[0].id)
    assert bars(manifest, ("look", 100), ("media", 0), ("<b>", 500)) == [(0, 100), (100, 500)]
    assert bars(manifest, ("look", 99_999), ("read", 1))[1] == (598, 2)
    assert bars(manifest, ("look", 0)) == []
    assert len(bars(manifest, *[("look", 1)] * 999)) == 24
    named = structs.replace(manifest, steps=[Step("look", 1), Step("new <b>", 2)])
    assert [fall.words for fall in waterfall(named)] == ["looking for changes", "new <b>"]


@pytest.mark.parametrize(
    ("sync", "shown"), [(None, []), (0, []), (150, [(0, 100), (100, 500)]), (950, [(0, 600)])]
)
def test_of_a_backup_that_was_not_measured_so_it_shows_what_is_known(served: Served, sync, shown):
    manifest = served.repository.manifest(served.repository.backups(limit=1)[0].id)
    assert bars(structs.replace(manifest, duration_ms=Durations(sync=sync, total=900))) == shown


def test_it_says_what_each_device_has_to_choose(serve):
    served: Served = serve()
    with served.client() as client:

        def told() -> str:
            return client.get("/backups/latest/rollback", headers={"Accept": "text/html"}).text

        assert "<b>Upload to AnkiWeb</b> to keep" in (page := told())
        assert "<b>Download from AnkiWeb</b> on each other device" in page
        # As the folder of a user of a sync server is.
        profile = served.place / "profile"
        (profile / "collection.media").rename(profile / "media")
        assert "<b>Download from AnkiWeb</b>" in (page := told())
        assert "an upload would undo" in page and "<b>Upload to AnkiWeb</b> to keep" not in page


def test_it_compares_with_what_was_gone_back_to(serve, run_ankibak):
    served: Served = serve()
    target = served.repository.backups()[3]
    ankibak = ("-c", served.place / "config.toml", "rollback", target.id, "--yes")
    assert run_ankibak(*ankibak).returncode == 0
    with served.client() as client:
        page = client.get(f"/backups/{target.id}/rollback", headers={"Accept": "text/html"}).text
    assert "is the active state already" in page and "/compare?from=" not in page
