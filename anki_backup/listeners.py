"""The settings of all that hears of a run: programs, services, the file for metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import field

from anki_backup.values import Count, Duration, Secret, Table, about, duration

Failing = Literal["ignore", "warn", "abort"]
WEEK = "7d"


class Hooks(Table, frozen=True, kw_only=True):
    """Programs that are run around the backup of each source."""

    before: Annotated[
        list[str] | None, about("Before it begins; argument by argument.", ["/usr/local/bin/wake-nas", "-q"])
    ] = None
    after: Annotated[
        list[str] | None, about("When it was successful, also if nothing had changed.", ["sync"])
    ] = None
    on_failure: Annotated[
        list[str] | None, about("When it failed.", ["/usr/local/bin/tell-me", "it failed"])
    ] = None
    always: Annotated[
        list[str] | None, about("In the end, however it went.", ["/usr/local/bin/sleep-nas"])
    ] = None
    timeout: Annotated[Duration | None, about('Stop one that takes longer. By default "5m".', "5m")] = None
    failing: Annotated[
        Failing | None,
        about('What it means if one fails: "ignore", "warn" or "abort". By default "abort".', "abort"),
    ] = None

    def __post_init__(self) -> None:
        for name in ("before", "after", "on_failure", "always"):
            if getattr(self, name) in ([], [""]):
                raise ValueError(f"has an empty {name}")

    def over(self, general: Hooks) -> Hooks:
        """Return these hooks, their gaps filled from general ones."""
        fields = self.__struct_fields__
        return Hooks(
            **{
                name: getattr(general, name) if getattr(self, name) is None else getattr(self, name)
                for name in fields
            }
        )


class Notify(Table, frozen=True, kw_only=True):
    """When people are told: when it begins to fail, goes on failing, works again, and on alarms."""

    after_failures: Annotated[
        Count, about("Say that it is still failing after so many failures in a row; 0 is never.")
    ] = 24
    digest: Annotated[Duration | None, about('Send a summary so often; "0s" is never.', WEEK)] = field(
        default_factory=lambda: duration(WEEK)
    )


class PingService(Table, frozen=True, kw_only=True):
    """A monitor such as healthchecks.io that hears of the start and the end of every run."""

    url: Annotated[
        Secret | None,
        about("The check's ping URL; {source} in it is the source's name.", "https://hc-ping.com/your-uuid"),
    ] = None
    timeout: Annotated[Duration, about("Wait so long for its answer.")] = field(
        default_factory=lambda: duration("10s")
    )


class AppriseService(Table, frozen=True, kw_only=True):
    """People, by any service that Apprise knows: mail, Telegram, ntfy. Needs the extra `notify`."""

    url: Annotated[
        Secret | None, about("An Apprise URL.", "mailtos://user:secret@example.org?to=you@example.org")
    ] = None
    file: Annotated[
        Path | None, about("An Apprise configuration file, mode 0600, for several.", "/etc/ankibak/apprise")
    ] = None


class Metrics(Table, frozen=True, kw_only=True):
    """Figures for Prometheus."""

    textfile: Annotated[
        Path | None,
        about(
            "Write them here after each run, for the node_exporter's textfile collector.",
            "/var/lib/prometheus/node-exporter/ankibak.prom",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.textfile and self.textfile.suffix != ".prom":
            raise ValueError("has a textfile that doesn't end in .prom, so the collector would not read it")
