"""Small things of the pages: what is quoted, who can log in where, what tells two backups apart."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from anki_backup import config, runs, safety
from anki_backup.gather import Options
from anki_backup.model import Run
from anki_backup.repository import Repository
from anki_backup.sources.profile import Profile
from anki_backup.web.home import cautions
from tests.web.conftest import Served, csrf
from tests.web.lively import after

PAGE = {"Accept": "text/html"}


def test_an_error_page_leaves_the_letters_of_what_it_quotes(served: Served):
    with served.client() as client:
        shown = client.get("/backups/2020-01-01T00-00-00Z", headers=PAGE)
    assert shown.status_code == 404 and "There is no backup 2020-01-01T00-00-00Z." in shown.text


def test_who_only_reads_finds_the_way_to_log_in_and_no_undo(serve):
    served: Served = serve(settings="[security]\npublic_read = true\n")
    backup = served.repository.backups()[1]
    with served.repository.writing("test"):
        told = {"source": "desktop", "to": backup.id, "safety": backup.id}
        served.repository.record("rollback", before=backup.id, live=True, undo=False, **told)
    path = f"/backups/{backup.id}/rollback?wait=no"
    with served.client(None) as client:
        for each in ("/", "/runs"):
            assert f'href="/login?next={each.replace("/", "%2F")}"' in client.get(each, headers=PAGE).text
        shown = client.get(path, headers=PAGE).text
        assert "was rolled back a moment ago" in shown and "/undo" not in shown and "to undo it" in shown
    with served.browser() as client:
        assert "/login?" not in client.get("/", headers=PAGE).text
        shown = client.get(path, headers=PAGE)
        assert 'action="/undo"' in shown.text and csrf(shown)


def test_backups_of_one_minute_can_be_told_apart_in_the_list_to_compare(serve):
    served: Served = serve()
    three = [after(served.place, "UPDATE notes SET flds = flds || ' x' WHERE id % 2") for _ in range(3)]
    with served.client() as client:
        options = re.findall(r"<option[^>]*>(.*?)</option>", client.get("/compare", headers=PAGE).text)
    assert len(set(options)) == len(options) / 2, "each stands in both lists"
    assert any(backup.id in option for backup in three for option in options), "a minute ends in one place"


def test_a_run_that_raised_an_alarm_is_a_warning_also_when_that_was_meant(serve):
    served: Served = serve()
    before = shown(served, "/runs").count("An alarm was raised")
    backup = after(served.place, "DELETE FROM cards WHERE id % 5 < 3")
    assert backup.alarm or served.repository.find(backup.id).alarm
    for _ in range(2):
        page = shown(served, "/runs")
        assert page.count("An alarm was raised") == before + 1
        assert re.search(rf'dot r-warning"></i><a href="/backups/{backup.id}"', page)
        assert all(re.search(r"alarm or interrupted <b>", each) for each in (page, shown(served, "/")))
        with served.repository.writing("test"):
            served.repository.record("acknowledge", backup=backup.id)


def test_home_turns_amber_when_the_last_run_failed_and_says_what_to_do(serve):
    served: Served = serve()
    with served.repository.writing("test"):
        for backup in served.repository.backups():
            if backup.alarm:
                served.repository.record("acknowledge", backup=backup.id)
    assert 'class="verdict safe"' in shown(served, "/")
    error = {"code": "source", "message": "the <server> is away", "hint": None}
    with served.repository.writing("test"):
        now = datetime.now(UTC).replace(microsecond=0)
        told = {"source": "desktop", "started_at": now, "outcome": "failed", "error": error}
        served.repository.record("run", run=9_000_000, **told)
    page = shown(served, "/")
    assert 'class="verdict careful"' in page and "The cards are safe" in page
    assert "But the last run of desktop failed: the &lt;server&gt; is away." in page
    assert 'class="button care" href="/runs?outcome=failed"' in page


def test_an_incomplete_run_is_a_warning_in_the_strip_and_among_the_runs_and_turns_home_amber(serve):
    served: Served = serve()
    assert "/runs?outcome=warning" not in shown(served, "/") and "Incomplete" not in shown(served, "/runs")
    before = int(re.search(r"alarm or interrupted <b>(\d+)", shown(served, "/"))[1])
    shutil.rmtree(served.place / "profile" / "collection.media")
    media = f"{served.place / 'profile' / 'collection.media'}"
    # The first of them has nothing to save but that the media are gone, the second nothing at all.
    made, unchanged = (again(served) for _ in range(2))
    assert [(run.outcome, bool(run.warning)) for run in (made, unchanged)] == [
        ("created", True),
        ("skipped", True),
    ]
    page = shown(served, "/runs")
    assert page.count(f"Incomplete: the media folder {media} is missing") == 2
    assert re.search(rf'dot r-warning"></i><a href="/backups/{made.backup}"', page)
    assert 'dot r-warning"></i>unchanged' in page, "it is not folded with those that left nothing out"
    assert page.count("r-warning") > shown(served, "/runs?outcome=skipped").count("r-warning")
    assert "Incomplete" in (only := shown(served, "/runs?outcome=warning")) and "dot r-saved" not in only
    with served.repository.writing("test"):
        for backup in served.repository.backups():
            if backup.alarm:
                served.repository.record("acknowledge", backup=backup.id)
    home = shown(served, "/")
    assert f"But the last run of desktop was incomplete: the media folder {media} is missing" in home
    assert 'class="button care" href="/runs?outcome=warning"' in home
    assert int(re.search(r"alarm or interrupted <b>(\d+)", home)[1]) == before + 2


def again(served: Served) -> Run:
    """Run once more, as it is."""
    source = Profile("desktop", served.place / "profile" / "collection.anki2")
    return runs.back_up(Repository.open(served.place / "repository"), source, Options(threads=1)).run


def test_home_that_cannot_be_told_whether_cards_are_safe_says_so(serve):
    served: Served = serve()
    backups = served.repository.root / "backups"
    backups.rename(backups.with_name("elsewhere"))
    backups.write_bytes(b"")
    with served.client() as client:
        shown = client.get("/", headers=PAGE)
    assert (shown.status_code, "Safe" in shown.text) == (422, False)
    assert (
        "It can&#39;t be told whether the cards are safe" in shown.text
        and "can't be read" in shown.text.replace("&#39;", "'")
    )


def test_home_turns_amber_when_no_backup_was_read_again_for_long(served: Served):
    settings = config.load(served.place / "config.toml", {})
    at = datetime.now(UTC)
    verdict = safety.status(served.repository, settings, at)
    long_ago = at - timedelta(days=40)
    for proved_at, began_at, warns in (
        (None, at, False),
        (None, long_ago, True),
        (long_ago, at, True),
        (at, long_ago, False),
    ):
        proved = structs.replace(verdict, proved_at=proved_at)
        said = [each.words for each in cautions(proved, began_at, settings, at)]
        assert said == ["no backup was read again in full for 40 days"] * warns


def shown(served: Served, path: str) -> str:
    with served.client() as client:
        return client.get(path, headers=PAGE).text


@pytest.mark.parametrize("path", ["/runs", "/backups/latest"])
def test_the_heads_of_tables_are_heads(served: Served, path):
    with served.client() as client:
        heads = re.findall(r"<thead>.*?</thead>", client.get(path, headers=PAGE).text, re.DOTALL)
    assert heads and not any("<td" in head for head in heads)


def test_a_filter_that_means_nothing_is_told(served: Served):
    asked = (
        "/?source=nope",
        "/backups?source=nope",
        "/runs?source=nope",
        "/runs?outcome=foo",
        "/lost?what=foo",
    )
    with served.client() as client:
        answers = [client.get(path, headers=PAGE) for path in asked]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 400, 400]
    assert "desktop" in answers[0].text and "created, skipped" in answers[3].text


def test_pages_that_repeat_nothing_are_packed(served: Served):
    packed = {}
    with served.client() as client:
        for path in ("/", "/backups/latest", "/compare", "/lost?q=aorta", "/backups/latest/cards?q=aorta"):
            answer = client.get(path, headers={**PAGE, "Accept-Encoding": "gzip"})
            packed[path] = answer.headers.get("content-encoding") == "gzip"
    assert list(packed.values()) == [True, True, True, False, False]


def test_what_can_only_be_chosen_is_packed_and_what_was_typed_is_not(served: Served):
    def is_packed(path: str, takes: str = "gzip") -> bool:
        answer = client.get(path, headers={**PAGE, "Accept-Encoding": takes})
        return answer.headers.get("content-encoding") == "gzip"

    with served.client() as client:
        for path in ("/lost?what=deck", "/backups", "/runs?outcome=failed", "/backups/latest/media"):
            assert is_packed(path), path
            assert not is_packed(path, "gzip;q=0") and is_packed(path, "br, gzip;q=0.5")
        for path in ("/backups?source=desktop", "/lost?what=x", "/backups/latest/media?q=a", "/nowhere"):
            assert not is_packed(path), path


def test_an_account_that_was_emptied_is_put_back_from_the_last_backup_before(serve):
    served: Served = serve()
    backup = served.repository.backups()[-1]
    for each in served.repository.backups():
        if each.alarm:
            with served.repository.writing("test"):
                served.repository.record("acknowledge", backup=each.id)
    emptied = {"kind": "empty", "before": 4000, "after": 0, "since": backup.created_at}
    with served.repository.writing("test"):
        served.repository.record("alarm", backup=backup.id, alarm=emptied)
    home, page = shown(served, "/"), shown(served, f"/backups/{backup.id}")
    assert f'href="/backups/{backup.id}/rollback">Put it back' in home
    assert "emptied after it" in page and "shrank" not in page


def test_an_hour_that_was_due_and_had_no_run_is_told(serve):
    missed = []
    for line in ('cron = "0 * * * *"', 'cron = "0 3 * * *"', 'calendar = "hourly"'):
        told = shown(serve(settings=f"[schedule]\n{line}\n"), "/runs")
        found = re.search(r'aria-label="Runs of[^"]*?(\d+) missed', told)
        missed.append(int(found[1]) if found else 0)
    assert missed[0] > missed[1] >= missed[2] == 0


def test_a_run_that_failed_long_ago_is_found_by_its_outcome(serve):
    served: Served = serve()
    wanted = [run for run in served.repository.runs() if run.outcome == "failed"]
    with served.repository.writing("test"):
        for minute in range(700):
            at = datetime.now(UTC) - timedelta(seconds=minute)
            told = {"started_at": at, "outcome": "skipped", "reason": "unchanged", "live": True}
            served.repository.record("run", run=100_000 + minute, source="desktop", **told)
    found, path = 0, "/runs?outcome=failed"
    assert shown(served, path).count('<i class="dot r-failed">') == len(wanted) > 0
    for path in ("/runs", "/runs?outcome=skipped"):
        while path:
            page = shown(served, path)
            older = re.search(r'href="([^"]*)">Older runs', page)
            path, found = older and older[1].replace("&amp;", "&"), found + 1
    assert found > 20


def test_of_many_backups_the_newest_are_offered_and_then_one_of_each_day(serve):
    served: Served = serve()
    backups = served.repository.backups()
    page = shown(served, "/lost?what=all")
    days = {backup.created_at.astimezone().date() for backup in backups}
    offered = [backup for backup in backups if f"/backups/{backup.id}/rollback" in page]
    assert {backup.created_at.astimezone().date() for backup in offered} == days
    assert set(offered) >= set(backups[:12])


def test_backups_are_found_by_day_and_by_their_marks(serve):
    served: Served = serve()
    backups = served.repository.backups()
    middle = backups[len(backups) // 2]
    with served.repository.writing("test"):
        served.repository.record("pin", backup=middle.id, label=None)
    pinned = [backup.id for backup in served.repository.backups() if backup.pinned]
    page = shown(served, "/backups?only=pinned")
    assert middle.id in pinned
    assert sorted(re.findall(r"/backups/([^/\"]+)/rollback", page)) == sorted(pinned)
    until = shown(served, f"/backups?until={middle.created_at.astimezone():%Y-%m-%d}")
    newest = max(backups, key=lambda backup: backup.sequence)
    assert f"/backups/{middle.id}/rollback" in until and newest.id not in until
    assert served.client().get("/backups?only=old", headers=PAGE).status_code == 400
