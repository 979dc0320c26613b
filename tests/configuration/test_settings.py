"""What sources, schedules and retention may say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from anki_backup.errors import NotFoundError
from anki_backup.settings import AnkiwebSource, ProfileSource, Retention
from anki_backup.values import duration

MARKER = "correct-horse-battery"
PROFILE = '[sources.home]\nkind = "profile"\npath = "/p"\n'
ACCOUNT = '[ankiweb]\nusername = "me"\n'


def test_sources_keep_their_kinds_and_options(read):
    found = read(
        '[sources.desktop]\nkind = "profile"\npath = "/p"\nmedia = "/m"\nenabled = false\n'
        '[sources.server-1]\nkind = "ankiweb"\nusername = "me"\nendpoint = "https://x.example:8080/sync/"\n'
        'password_file = "/f"\npassword_command = ["pass", "show"]\ntimezone = "Europe/Berlin"\n'
    )
    desktop, server = found.sources["desktop"], found.sources["server-1"]
    assert isinstance(desktop, ProfileSource)
    assert (desktop.kind, desktop.media, desktop.enabled) == ("profile", Path("/m"), False)
    assert isinstance(server, AnkiwebSource)
    assert (server.kind, server.enabled, server.timezone) == ("ankiweb", True, "Europe/Berlin")
    assert server.password_command == ["pass", "show"]


def test_the_table_ankiweb_is_short_for_a_source(read):
    found = read(ACCOUNT + 'password_command = "pass show anki"\n')
    assert found.sources["ankiweb"].username == "me"
    assert found.sources["ankiweb"].password_command == "pass show anki"
    assert found.origin("sources.ankiweb.username") == "file"


def test_the_short_and_the_long_table_of_one_source_are_refused(refused):
    said = refused(ACCOUNT + '[sources.ankiweb]\nkind = "ankiweb"\nusername = "me"\n')
    assert said == "FILE, line 3: sources.ankiweb and [ankiweb] are the same source: remove one of them"


def test_the_short_table_has_no_other_kind(refused):
    assert 'FILE, line 2: ankiweb.kind is "ankiweb"' in refused('[ankiweb]\nkind = "profile"\npath = "/p"\n')


@pytest.mark.parametrize("name", ["Home", "1st", '"a b"', '"../x"', '""', "_x", '"ä"'])
def test_a_name_that_is_no_source_name_is_refused(refused, name):
    assert "is no name for a source" in refused(PROFILE.replace("home", name))


def test_a_source_without_a_kind_is_told_the_kinds(refused):
    said = refused('\n[sources.home]\npath = "/p"\n')
    assert said == "FILE, line 2: sources.home.kind is missing: profile or ankiweb"


def test_an_unknown_kind_is_told_the_nearest(refused):
    said = refused('[sources.home]\nkind = "profil"\npath = "/p"\n')
    assert said == "FILE, line 2: sources.home.kind is an unknown kind of source: did you mean profile?"
    assert "did you mean" in refused("[sources.home]\nkind = [1]\n")


def test_a_source_lacks_nothing_that_it_needs(refused):
    assert refused('[sources.home]\nkind = "profile"\n') == "FILE, line 1: sources.home.path is missing"
    assert refused("[ankiweb]\n") == "FILE, line 1: ankiweb.username is missing"


@pytest.mark.parametrize(
    "url", ["anki.example.org", "ftp://x/", "https://", "http://[::1", "http://x:99999/"]
)
def test_an_endpoint_is_an_http_url(refused, url):
    assert "no http or https URL" in refused(ACCOUNT + f'endpoint = "{url}"\n')


def test_an_endpoint_holds_no_password(refused):
    said = refused(ACCOUNT + f'endpoint = "https://me:{MARKER}@x.example/"\n')
    assert "password_file" in said
    assert MARKER not in said


def test_an_unknown_source_is_told_the_nearest(read):
    found = read(PROFILE)
    with pytest.raises(NotFoundError) as caught:
        found.source("hoem")
    assert (caught.value.exit_code, caught.value.hint) == (5, "Did you mean home?")
    assert found.source("home") is found.sources["home"]


def test_the_schedule_of_a_source_goes_over_the_general_one(read):
    found = read(
        '[schedule]\ncalendar = "hourly"\njitter = "5m"\ntimezone = "Asia/Tokyo"\n'
        + PROFILE
        + 'schedule = { cron = "30 3 * * *" }\n'
        + PROFILE.replace("home", "other")
        + "[sources.other.schedule]\njitter = '0s'\n"
        + PROFILE.replace("home", "plain")
    )
    home = found.schedule_of("home")
    assert (home.cron, home.calendar, home.timezone) == ("30 3 * * *", None, "Asia/Tokyo")
    assert home.jitter == timedelta(minutes=5)
    other = found.schedule_of("other")
    assert (other.cron, other.calendar, other.jitter) == (None, "hourly", timedelta())
    assert found.schedule_of("plain") == found.schedule


def test_calendar_takes_the_place_of_the_default_cron(read):
    found = read('[schedule]\ncalendar = "daily"\n')
    assert (found.schedule.cron, found.schedule.calendar) == (None, "daily")


def test_cron_and_calendar_together_are_refused(refused):
    said = refused('[schedule]\ncron = "0 * * * *"\ncalendar = "daily"\n')
    assert said == "FILE, line 1: schedule has both cron and calendar: remove one of them"


def test_a_time_zone_must_be_known_here(refused):
    assert refused('[schedule]\ntimezone = "Europe/Berln"\n') == (
        'FILE, line 2: schedule.timezone expects a time zone such as "Europe/Berlin", not "Europe/Berln"'
    )
    for name in ("Europe", "../../etc/passwd", "/etc/localtime", ""):
        assert "FILE, line 2: schedule.timezone" in refused(f'[schedule]\ntimezone = "{name}"\n')


def test_retention_days_is_a_rule_like_within(read):
    found = read("[storage]\nretention_days = 90\n" + PROFILE + "retention = { daily = 7 }\n")
    assert found.retention_of("other") == Retention(within=duration("90d"))
    assert found.retention_of("home") == Retention(daily=7)


def test_retention_knows_every_rule(read):
    rules = "within = '48h'\nlast = 0\nhourly = 1\ndaily = 2\nweekly = 3\nmonthly = 4\nyearly = 'all'\n"
    found = read(f"[retention]\n{rules}").retention
    assert (found.within, found.last, found.yearly) == (timedelta(days=2), 0, "all")


def test_retention_days_and_the_table_are_never_both_given(refused):
    said = refused("[storage]\nretention_days = 9\n[retention]\ndaily = 3\n")
    assert said == "FILE, line 2: storage.retention_days and [retention] are both set: remove one of them"
    said = refused("[retention]\ndaily = 3\n", ANKIBAK_STORAGE__RETENTION_DAYS="9")
    assert said.startswith("ANKIBAK_STORAGE__RETENTION_DAYS and [retention]")


def test_an_empty_retention_would_keep_nothing_and_is_refused(refused):
    assert "FILE, line 1: retention needs at least one rule" in refused("[retention]\n")
    assert "needs at least one rule" in refused(PROFILE + "retention = {}\n")


@pytest.mark.parametrize(
    ("more", "minutes"),
    [
        ("", 10),
        ('endpoint = "https://own.example.org/"\n', 2),
        ('schedule = { jitter = "2m" }\n', 2),
        ('[schedule]\njitter = "1m"\n', 1),
    ],
)
def test_ankiweb_is_asked_at_any_of_ten_minutes(read, more, minutes):
    text = '[sources.home]\nkind = "ankiweb"\nusername = "ann"\n' + more
    assert read(text).schedule_of("home").jitter == timedelta(minutes=minutes)
