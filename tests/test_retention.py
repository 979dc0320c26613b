"""Retention: which backups stay, told the policy and the time, touching nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anki_backup.errors import ClockError
from anki_backup.model import Alarm, Backup, BackupStats, Durations
from anki_backup.retention import DEFAULT, judge
from anki_backup.settings import Retention
from anki_backup.values import duration

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def backup(number: int, at: datetime, **fields) -> Backup:
    stats, duration_ms = BackupStats(), Durations()
    return Backup(
        **{
            "id": f"{at:%Y-%m-%dT%H-%M-%SZ}-{number}",
            "source": "home",
            "sequence": number,
            "origin": "run",
            "created_at": at,
            "previous": None,
            "content_hash": "v1:0",
            "collection_sha256": "0" * 64,
            "size_bytes": 1,
            "collection_bytes": 1,
            "media_bytes": 0,
            "media_files": 0,
            "stored_bytes": 1,
            "stats": stats,
            "source_revision": None,
            "duration_ms": duration_ms,
            "anki_version": None,
            "program_version": "0",
            "host": "here",
            "collection_schema": 18,
        }
        | fields
    )


def history(*offsets: timedelta) -> list[Backup]:
    return [backup(number, START + offset) for number, offset in enumerate(offsets, start=1)]


def every(step: timedelta, count: int) -> list[Backup]:
    return history(*(step * number for number in range(count)))


def kept(backups, policy, zone=UTC, **options):
    now = max(found.created_at for found in backups)
    stays = {verdict.backup for verdict in judge(backups, policy, now, zone, **options) if verdict.keep}
    return [found.sequence for found in backups if found.id in stays]


def within(text: str) -> Retention:
    return Retention(within=duration(text))


def test_daily_keeps_the_last_one_of_each_day_that_has_one():
    # Six a day, at 12, 16, 20, 0, 4, 8 o'clock.
    assert kept(every(4 * HOUR, 18), Retention(daily=2)) == [15, 18]
    assert kept(history(0 * DAY, 9 * DAY, 40 * DAY), Retention(daily=2)) == [2, 3]


def test_a_day_is_one_of_the_users_zone():
    late = history(timedelta(hours=10), timedelta(hours=11, minutes=30), timedelta(hours=13))
    assert kept(late, Retention(daily="all")) == [2, 3]
    assert kept(late, Retention(daily="all"), BERLIN) == [1, 3]


def test_the_hour_that_comes_twice_is_two():
    autumn = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    both = [backup(1, autumn), backup(2, autumn + HOUR)]
    assert autumn.astimezone(BERLIN).hour == (autumn + HOUR).astimezone(BERLIN).hour
    assert kept(both, Retention(hourly="all"), BERLIN) == [1, 2]


def test_weeks_begin_on_monday_and_months_and_years_at_their_first():
    sunday = datetime(2026, 1, 4, 12, tzinfo=UTC)
    days = [backup(number, sunday + number * DAY) for number in range(-7, 8)]
    assert kept(days, Retention(weekly="all")) == [-7, 0, 7]
    assert kept(days, Retention(monthly="all")) == [-4, 7]
    assert kept(days, Retention(yearly=1)) == [7]


def test_last_counts_backups():
    assert kept(every(HOUR, 9), Retention(last=3)) == [7, 8, 9]


def test_within_counts_back_from_the_newest():
    assert kept(every(DAY, 9), within("3d")) == [7, 8, 9]


def test_a_source_that_rests_keeps_what_it_has():
    backups = every(DAY, 9)
    far = backups[-1].created_at + 3650 * DAY
    assert sum(verdict.keep for verdict in judge(backups, within("90d"), far, UTC)) == 9


def test_a_clock_that_leaps_ahead_does_not_empty_the_history():
    before = every(DAY, 90)
    leapt = [*before, backup(91, START + 5000 * DAY), backup(92, START + 5000 * DAY + HOUR)]
    assert kept(leapt, within("90d")) == list(range(46, 93))
    assert len(kept(leapt, DEFAULT)) >= 90


def test_a_clock_before_the_newest_backup_lets_nothing_go():
    backups = every(DAY, 3)
    newest = backups[-1]
    said = f"^backup {newest.id} is newer than now, 2026-01-03 11:00 UTC: nothing is removed$"
    with pytest.raises(ClockError, match=said) as caught:
        judge(backups, DEFAULT, newest.created_at - HOUR, UTC)
    assert caught.value.hint.startswith("Set the clock. If it is the backup's time")
    assert judge(backups, DEFAULT, newest.created_at, UTC)


def test_no_policy_lets_the_newest_go():
    nothing = Retention(last=0)
    assert kept(every(DAY, 5), nothing) == [5]
    # The clock had been ahead when the first was made.
    wrong = [backup(1, START + 9 * DAY), *(backup(n, START + n * HOUR) for n in (2, 3))]
    assert kept(wrong, nothing) == [1, 3]


def test_the_newest_good_one_stays_beside_a_damaged_one():
    backups = every(DAY, 5)
    assert kept(backups, Retention(last=0), damaged={backups[4].id, backups[3].id}) == [3, 5]
    assert kept(backups, Retention(last=0), damaged={found.id for found in backups}) == [5]


def test_active_and_pinned_ones_stay():
    backups = every(DAY, 5)
    backups[1] = replace(backups[1], pinned=True)
    assert kept(backups, Retention(last=1), active={backups[0].id}) == [1, 2, 5]


def test_nothing_goes_while_an_alarm_is_open():
    backups = every(HOUR, 5)
    backups[2] = replace(backups[2], alarm=Alarm(kind="cards", before=9, after=1, since=START))
    assert kept(backups, Retention(last=1)) == [1, 2, 3, 4, 5]


def test_every_verdict_says_why():
    verdicts = judge(every(6 * HOUR, 8), DEFAULT, START + 9 * DAY, UTC)
    assert verdicts[0].reasons == [
        "newest of its source",
        "within 48h",
        "daily",
        "weekly",
        "monthly",
        "yearly",
    ]
    gone = judge(every(6 * HOUR, 8), Retention(daily=1), START + 9 * DAY, UTC)
    assert [verdict.keep for verdict in gone] == [True] + [False] * 7
    assert gone[1].reasons == [f"{gone[0].backup} stays for its day"]
    assert gone[-1].reasons == [f"{gone[0].backup} stays for its week"]


def test_every_reason_has_its_words():
    backups = every(DAY, 6)
    backups[0] = replace(backups[0], pinned=True)
    now = backups[-1].created_at

    def reasons(**options):
        return [verdict.reasons for verdict in judge(backups, Retention(last=0), now, UTC, **options)]

    found = reasons(active={backups[1].id, backups[2].id}, damaged={backups[5].id})
    good = ["newest good one of its source"]
    gone = [f"{backups[-1].id} stays for its month"]
    assert found == [["newest of its source"], good, gone, ["active"], ["active"], ["pinned"]]
    backups[3] = replace(backups[3], alarm=Alarm(kind="cards", before=9, after=1, since=START))
    open_one = "an alarm of its source is open"
    assert reasons()[:4] == [["newest of its source", open_one], [open_one], ["has an alarm"], [open_one]]
    assert reasons(damaged={found.id for found in backups[4:]})[3] == [good[0], open_one]


def test_what_goes_is_told_by_the_least_span_that_another_stands_for():
    days = [(2025, 12, 31), (2026, 1, 1), (2026, 5, 1), (2026, 5, 18), (2026, 5, 20)]
    backups = [backup(n, datetime(*day, 12, tzinfo=UTC)) for n, day in enumerate(days, 1)]
    backups.append(backup(6, backups[-1].created_at + HOUR))
    found = judge(backups, Retention(last=1), backups[-1].created_at, UTC)
    spans = [f"{backups[-1].id} stays for its {span}" for span in ("day", "week", "month", "year")]
    assert [verdict.reasons for verdict in found][1:] == [*([span] for span in spans), ["no rule keeps it"]]


def test_nothing_is_said_of_nothing():
    assert judge([], DEFAULT, START) == []


counts = st.none() | st.integers(0, 12) | st.just("all")
policies = st.builds(
    Retention,
    within=st.sampled_from([duration(text) for text in ("1h", "48h", "10d", "90d")]),
    last=counts,
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
)
steps = st.sampled_from([60, 3600, 5 * 3600, 86400, 9 * 86400, 400 * 86400])
histories = st.lists(st.tuples(steps, st.integers(1, 4)), min_size=1, max_size=40).map(
    lambda gaps: history(
        *(timedelta(seconds=sum(step * times for step, times in gaps[:end])) for end in range(len(gaps)))
    )
)


@given(histories, policies, st.data())
def test_whatever_the_policy_the_hard_rules_hold(backups, policy, data):
    some = st.sets(st.sampled_from([found.id for found in backups]))
    active, damaged, pinned = data.draw(some), data.draw(some), data.draw(some)
    backups = [replace(found, pinned=found.id in pinned) for found in backups]
    verdicts = judge(backups, policy, backups[-1].created_at, UTC, active=active, damaged=damaged)
    assert [verdict.backup for verdict in verdicts] == [found.id for found in reversed(backups)]
    stays = {verdict.backup for verdict in verdicts if verdict.keep}
    good = [found.id for found in backups if found.id not in damaged]
    assert stays >= active | pinned | {backups[-1].id} | set(good[-1:])
    assert all(verdict.reasons for verdict in verdicts)


@given(histories, policies)
def test_what_stays_once_stays_again(backups, policy):
    first = kept(backups, policy)
    survivors = [found for found in backups if found.sequence in first]
    assert kept(survivors, policy) == first


@given(histories, policies)
def test_pruning_after_each_backup_keeps_what_pruning_once_keeps(backups, policy):
    left: list[Backup] = []
    for found in backups:
        left.append(found)
        stays = kept(left, policy)
        left = [other for other in left if other.sequence in stays]
    assert {found.sequence for found in left} >= set(kept(backups, policy))


@given(histories, policies, st.integers(1, 20_000))
def test_a_leap_of_the_clock_costs_at_most_half_of_within(backups, policy, days):
    leapt = [*backups, backup(len(backups) + 1, backups[-1].created_at + days * DAY)]
    half = backups[-1].created_at - policy.within / 2
    young = {found.sequence for found in backups if found.created_at > half}
    assert set(kept(leapt, policy)) >= young


@given(histories, policies, st.permutations(range(40)))
def test_the_order_in_which_backups_are_told_does_not_matter(backups, policy, order):
    shuffled = [backups[at] for at in order if at < len(backups)]
    assert sorted(kept(shuffled, policy)) == kept(backups, policy)
