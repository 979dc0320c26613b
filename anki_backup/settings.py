"""The settings: every key, its type, its default, and one line on what it does.

These structs are the one truth. `config` fills them; the JSON schema, the example
file, `config show` and the tests of the documentation are made by walking them
(`keys`). A new kind of source adds a struct and its word in `KINDS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from msgspec import field

from anki_backup.listeners import AppriseService, Hooks, Metrics, Notify, PingService
from anki_backup.values import (
    Address,
    Count,
    Cron,
    Days,
    Duration,
    Keep,
    Many,
    Percent,
    Secret,
    Table,
    Text,
    Tries,
    Zone,
    about,
    duration,
)


class Storage(Table, frozen=True, kw_only=True):
    """Where backups are kept, and for how long."""

    root: Annotated[
        Path,
        about(
            "The repository. By default $STATE_DIRECTORY, else the user's data folder.", "/var/lib/ankibak"
        ),
    ] = field(default_factory=Path)
    retention_days: Annotated[
        Days | None, about("Keep every backup this many days. Never with [retention].", 90)
    ] = None


class Retention(Table, frozen=True, kw_only=True):
    """Which backups stay: all that any of these rules keeps."""

    within: Annotated[Duration | None, about("Keep every backup younger than this.", "48h")] = None
    last: Annotated[Keep | None, about('Keep the newest N backups, or "all".', 10)] = None
    hourly: Annotated[Keep | None, about('Keep the last one of each of N hours, or "all".', 48)] = None
    daily: Annotated[Keep | None, about('Keep the last one of each of N days, or "all".', 30)] = None
    weekly: Annotated[Keep | None, about('Keep the last one of each of N ISO weeks, or "all".', 12)] = None
    monthly: Annotated[Keep | None, about('Keep the last one of each of N months, or "all".', 24)] = None
    yearly: Annotated[Keep | None, about('Keep the last one of each of N years, or "all".', "all")] = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in self.__struct_fields__):
            raise ValueError("needs at least one rule, or nothing would be kept")


class Schedule(Table, frozen=True, kw_only=True):
    """When sources are backed up."""

    cron: Annotated[
        Cron | None, about('When to run, as in a crontab. By default "0 * * * *".', "0 * * * *")
    ] = None
    calendar: Annotated[
        Text | None, about("When to run, in systemd's words, in place of cron.", "hourly")
    ] = None
    jitter: Annotated[
        Duration | None, about('Start up to this much later, at random. By default "2m".', "2m")
    ] = None
    timezone: Annotated[
        Zone | None, about("Whose days, weeks and cron times. By default the machine's.", "Europe/Berlin")
    ] = None
    max_age: Annotated[
        Duration | None,
        about("How old the last success may be before `status` calls the cards unsafe.", "26h"),
    ] = None

    def __post_init__(self) -> None:
        if self.cron is not None and self.calendar is not None:
            raise ValueError("has both cron and calendar: remove one of them")

    def over(self, general: Schedule) -> Schedule:
        """Return this schedule, its gaps filled from a general one; cron and calendar go together."""
        timed = self.cron is not None or self.calendar is not None
        return Schedule(
            cron=self.cron if timed else general.cron,
            calendar=self.calendar if timed else general.calendar,
            jitter=general.jitter if self.jitter is None else self.jitter,
            timezone=self.timezone or general.timezone,
            max_age=self.max_age or general.max_age,
        )


DEFAULT_SCHEDULE = Schedule(cron="0 * * * *", jitter=duration("2m"))


class Server(Table, frozen=True, kw_only=True):
    """The web view."""

    listen: Annotated[Address, about("Its address and port, or unix:/path/of/a/socket.")] = "127.0.0.1:8088"
    trusted_hosts: Annotated[
        list[str], about("Names that browsers may call it by, besides localhost.", ["anki.example.org"])
    ] = field(default_factory=list)
    trusted_proxies: Annotated[
        list[str],
        about('Addresses of proxies whose X-Forwarded headers count; "unix" for a socket.', ["127.0.0.1"]),
    ] = field(default_factory=list)
    base_path: Annotated[str, about("Under which path a proxy has it.", "/ankibak")] = ""

    @property
    def base(self) -> str:
        """What goes before every path of ours: `/ankibak`, or nothing."""
        return f"/{self.base_path.strip('/')}".rstrip("/")


class Security(Table, frozen=True, kw_only=True):
    """Who may see and do what in the web view."""

    auth_enabled: Annotated[bool, about("Ask pages for a login, and the API for tokens.")] = True
    public_read: Annotated[bool, about("Show pages without a login, on loopback or a unix socket only.")] = (
        False
    )
    rollback_cooldown: Annotated[Duration, about("The least time between two rollbacks. Undo is exempt.")] = (
        field(default_factory=lambda: duration("10m"))
    )


class RunSettings(Table, frozen=True, kw_only=True):
    """How a run works."""

    threads: Annotated[
        Count, about("Threads of a run; 0 is one per core, 1 makes all writes in a fixed order.")
    ] = 0
    hot_tries: Annotated[Tries, about("How often to try to copy a collection that is being written to.")] = 5
    prune: Annotated[bool, about("Remove what retention lets go, in the first good run of a day.")] = True


class Alarms(Table, frozen=True, kw_only=True):
    """When a collection has shrunk by more than ordinary life takes."""

    shrink_percent: Annotated[
        Percent, about("Cards or notes may fall by this share of them; 100 is never an alarm.")
    ] = 20
    deck_cards: Annotated[
        Many, about("Decks that had so many cards may not go with them; 0 is never an alarm.")
    ] = 200
    media_percent: Annotated[
        Percent, about("Media files may fall by this share of them; 100 is never an alarm.")
    ] = 50
    least: Annotated[Many, about("Fewer cards, notes or media files than this may always go.")] = 50


class SourceSettings(Table, frozen=True, kw_only=True, tag_field="kind"):
    """What every source may say."""

    kind: ClassVar[str]
    enabled: Annotated[bool, about("Whether `ankibak run` without names backs it up.")] = True
    schedule: Annotated[
        Schedule | None, about("Its own times, over [schedule].", '{ cron = "30 3 * * *" }')
    ] = None
    retention: Annotated[
        Retention | None, about("Its own rules, in place of the general ones.", "{ daily = 14 }")
    ] = None
    hooks: Annotated[
        Hooks | None, about("Its own programs, over [hooks].", '{ before = ["/usr/local/bin/wake-nas"] }')
    ] = None


class ProfileSource(SourceSettings, frozen=True, kw_only=True, tag="profile"):
    """A collection on this machine: a profile, a file, or a sync server's user."""

    kind: ClassVar[str] = "profile"
    path: Annotated[
        Path,
        about(
            "A profile's folder, a collection.anki2, or a sync server's user.", "~/.local/share/Anki2/User 1"
        ),
    ]
    media: Annotated[
        Path | None, about("The media folder, if not the one beside the collection.", "/srv/anki/media")
    ] = None


class AnkiwebSource(SourceSettings, frozen=True, kw_only=True, tag="ankiweb"):
    """An account on AnkiWeb or on a sync server of your own."""

    kind: ClassVar[str] = "ankiweb"
    username: Annotated[Text, about("The account's name or address.", "you@example.org")]
    endpoint: Annotated[
        Text | None, about("The sync server's URL. By default AnkiWeb.", "https://anki.example.org/")
    ] = None
    password_file: Annotated[
        Path | None, about("A file that holds the password, mode 0600.", "/etc/ankibak/password")
    ] = None
    password_command: Annotated[
        # Plain: msgspec 0.22 crashes on a list beside a text that has a pattern.
        list[str] | str | None,
        about("A command that prints the password.", "pass show anki"),
    ] = None
    password: Annotated[
        Secret | None, about("The password; then this file must have mode 0600.", "secret")
    ] = None
    timezone: Annotated[
        Zone | None,
        about(
            "Where the account's owner lives, for Anki's day. By default schedule.timezone.", "Europe/Berlin"
        ),
    ] = None
    timeout: Annotated[Duration, about("How long to wait for the server to go on.")] = field(
        default_factory=lambda: duration("60s")
    )
    time_limit: Annotated[Duration, about("How long one sync may take in all.")] = field(
        default_factory=lambda: duration("2h")
    )
    retries: Annotated[Count, about("How often to try again within a run, where that may help.")] = 2

    def __post_init__(self) -> None:
        if self.password_command in ("", []):
            raise ValueError("has an empty password_command")
        if self.endpoint is None:
            return
        try:
            parts = urlsplit(self.endpoint)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            # Not shown: there may be a password in it.
            raise ValueError("has an endpoint that is no http or https URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("has an endpoint with a name or password in it: use username and password_file")


Source = ProfileSource | AnkiwebSource
KINDS: dict[str, type[ProfileSource] | type[AnkiwebSource]] = {
    source.kind: source for source in (ProfileSource, AnkiwebSource)
}


class Settings(Table, frozen=True, kw_only=True):
    """All that a configuration file can say."""

    storage: Storage = field(default_factory=Storage)
    retention: Retention | None = None
    schedule: Schedule = field(default_factory=lambda: DEFAULT_SCHEDULE)
    server: Server = field(default_factory=Server)
    security: Security = field(default_factory=Security)
    run: RunSettings = field(default_factory=RunSettings)
    alarms: Alarms = field(default_factory=Alarms)
    hooks: Hooks = field(default_factory=Hooks)
    notify: Notify = field(default_factory=Notify)
    ping: PingService = field(default_factory=PingService)
    apprise: AppriseService = field(default_factory=AppriseService)
    metrics: Metrics = field(default_factory=Metrics)
    sources: dict[str, Source] = field(default_factory=dict)
