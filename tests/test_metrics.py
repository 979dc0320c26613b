"""Figures for Prometheus: named, typed, true, and written whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from anki_backup import cli, metrics
from anki_backup.config import load
from anki_backup.errors import StorageError
from tests.conftest import ROOT
from tests.test_safety import NOW, Place

MONITORING = ROOT / "docs" / "monitoring"
LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? ([0-9.e+-]+|NaN)')
USED = re.compile(r"\bankibak_[a-z_]+\b")


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    first = found.backup(50)
    found.ran(30)
    found.ran(20, "failed", error={"code": "source", "message": "gone"})
    found.backup(2, cards=1234)
    found.ran(1)
    found.record("proof", backup=first)
    return found


def figures(place):
    text = metrics.text(place.repository, load(place.file, {}), NOW)
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = LINE.fullmatch(line).groups()
            found[name + (f"{{{labels}}}" if labels else "")] = float(value)
    return found


def test_every_figure_says_what_is_so(place):
    found = figures(place)
    home = '{source="home"}'
    assert found["ankibak_safe"] == 1 and found["ankibak_repository_backups"] == 2
    assert found["ankibak_cards" + home] == 1234 and found["ankibak_reviews" + home] == 5
    assert found["ankibak_last_success_timestamp_seconds" + home] == NOW.timestamp() - 3600
    assert found["ankibak_allowed_age_seconds" + home] == 26 * 3600
    assert found["ankibak_verified_timestamp_seconds"] == NOW.timestamp()
    assert found['ankibak_last_run_outcome{source="home",outcome="skipped"}'] == 1
    runs = {key.split('"')[3]: value for key, value in found.items() if key.startswith("ankibak_runs_total")}
    assert runs == {"created": 2, "failed": 1, "interrupted": 0, "skipped": 2}
    assert found["ankibak_added_bytes_total" + home] == 18
    place.alarm(place.repository.backups()[0].id)
    assert figures(place)["ankibak_alarms" + home] == 1 and figures(place)["ankibak_safe"] == 0


def test_the_figures_are_the_same_with_a_catalog_that_lags_and_without_one(place):
    lagging = figures(place)
    with place.repository.writing("test"):
        place.repository.index()
    assert figures(place) == lagging
    place.repository.history.catalog_path.unlink()
    assert figures(place) == lagging


def test_folding_old_runs_lets_no_counter_fall(place):
    for hours in range(24 * 50, 24 * 40, -1):
        place.ran(hours)
    before = figures(place)
    with place.repository.writing("test"):
        from anki_backup import events

        log = place.repository.history.log
        assert events.fold(log, datetime(2027, 3, 1, tzinfo=UTC))
        place.repository.rebuild_catalog()
    assert {k: v for k, v in figures(place).items() if "total" in k} == {
        k: v for k, v in before.items() if "total" in k
    }


def test_every_name_is_told_with_its_help_and_type_and_labels_are_escaped(place):
    text = metrics.text(place.repository, load(place.file, {}), NOW)
    told = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", text, re.MULTILINE))
    assert told <= set(metrics.NAMES) and set(metrics.NAMES) - told <= {"ankibak_next_run_timestamp_seconds"}
    odd = [metrics.Figure("ankibak_cards", {"source": 'a"b\\c\nd'}, 1)]
    assert metrics.render(odd).splitlines()[-1] == 'ankibak_cards{source="a\\"b\\\\c\\nd"} 1'


def test_each_run_writes_the_textfile_whole_and_readable(place, tmp_path, capsys):
    folder = tmp_path / "collector"
    folder.mkdir()
    place.file.write_text(place.file.read_text() + f'[metrics]\ntextfile = "{folder}/ankibak.prom"\n')
    assert cli.answer(["-c", str(place.file), "run"]) == 7
    (file,) = folder.iterdir()
    assert file.name == "ankibak.prom" and file.stat().st_mode & 0o777 == 0o644
    assert 'ankibak_last_run_outcome{source="home",outcome="failed"} 1' in file.read_text()
    shutil.rmtree(folder)
    capsys.readouterr()
    assert cli.answer(["-c", str(place.file), "run"]) == 7
    with pytest.raises(StorageError):
        metrics.write(folder / "x.prom", "")


def promtool(*args):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return program, *args


def checked(*args, **options):
    done = subprocess.run(promtool(*args), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_itself_reads_the_figures(place):
    checked("check", "metrics", input=metrics.text(place.repository, load(place.file, {}), NOW))


def test_the_alert_rules_are_right_and_fire_when_they_should():
    checked("check", "rules", str(MONITORING / "alerts.yml"))
    checked("test", "rules", str(ROOT / "tests" / "alerts_test.yml"), cwd=ROOT / "tests")


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_what_watches_uses_only_names_that_there_are(name):
    used = set(USED.findall((MONITORING / name).read_text()))
    assert used and used - set(metrics.NAMES) == set()


def test_the_dashboard_is_one_that_grafana_can_import():
    board = json.loads((MONITORING / "grafana.json").read_text())
    assert board["uid"] == "ankibak" and board["schemaVersion"] >= 39 and board["title"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) > 5
    cells = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not taken & cells
        cells |= taken
        assert panel["title"] and all(target["expr"] for target in panel["targets"])
        assert panel["datasource"]["uid"] == "${datasource}"
    assert {item["name"] for item in board["templating"]["list"]} == {"datasource", "source"}
