"""The systemd units of a configuration, hardened, as text.

`systemd/` in the source tree holds what `shipped` returns, for packages and for those
who install by hand; `ankibak schedule install` writes what `render` returns. What each
option does is in systemd.exec(5); a user's manager can't make namespaces for everyone,
so its units keep to what needs none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anki_backup import calendars
from anki_backup.settings import Schedule

MARK = "# Made by `ankibak schedule install`; changes here are lost. Use `systemctl edit` instead.\n"
SYSTEM_ROOT = Path("/var/lib/ankibak")
SYSTEM_CONFIG = Path("/etc/ankibak/config.toml")
DAILY = ("*-*-* 04:10:00", "30m")
# Its socket starts it again at the next request.
IDLE_EXIT = "15m"
WEEKLY = ("Sun *-*-* 05:10:00", "2h")
HOMES = ("/home", "/root", "/run/user")

ALWAYS = """\
UMask=0077
NoNewPrivileges=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
"""


class Site(NamedTuple):
    """What the units are made for: whose manager, which program, configuration and places.

    `writable` are folders outside `root` that a run writes to; `homes` says that a
    source lies in somebody's home.
    """

    program: Sequence[str]
    config: Path | None
    root: Path
    user: bool
    writable: Sequence[Path] = ()
    homes: bool = False


def folder(*, user: bool) -> Path:
    """Return where units of the system, or of this user, are put."""
    if not user:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def is_hidden(path: Path) -> bool:
    """Say whether units of the system can't see a path: ProtectHome and PrivateTmp of systemd.exec(5)."""
    return any(path.absolute().is_relative_to(place) for place in (*HOMES, "/tmp", "/var/tmp"))


def is_off(folder: Path, name: str) -> bool:
    """Say whether a timer that lies there was not turned on: `enable` of systemctl(1) makes a link."""
    return name.endswith(".timer") and not (folder / "timers.target.wants" / name).is_symlink()


def manager(*, user: bool) -> list[str]:
    """Return how systemd is told something: that of the system, or of this user."""
    return ["systemctl", "--user"] if user else ["systemctl"]


def start(names: Sequence[str], *, user: bool) -> list[str]:
    """Return the command that has systemd start these units, now and from now on."""
    return [*manager(user=user), "enable", "--now", *names]


def shipped() -> dict[str, str]:
    """Return the units for a system where nothing but the names of sources is different."""
    site = Site(["/usr/bin/ankibak"], SYSTEM_CONFIG, SYSTEM_ROOT, user=False)
    hourly = Schedule(calendar="hourly")
    return {
        "ankibak@.timer": timer("Back up the Anki collection %i", hourly, "2m"),
        **_services(site),
        **_sockets("127.0.0.1:8088"),
        "ankibak.sysusers": 'u ankibak - "Backups of Anki collections" /var/lib/ankibak\n',
        "ankibak.tmpfiles": "d /etc/ankibak 0750 root ankibak -\nd /var/lib/ankibak 0700 ankibak ankibak -\n",
    }


def render(site: Site, schedules: dict[str, Schedule], listen: str) -> dict[str, str]:
    """Return unit name -> text for these sources; ConfigError for a time that systemd has no words for."""
    timers = {
        f"ankibak@{name}.timer": timer(f"Back up the Anki collection {name}", schedule)
        for name, schedule in schedules.items()
    }
    return {name: MARK + text for name, text in (timers | _services(site) | _sockets(listen)).items()}


def timer(description: str, schedule: Schedule, jitter: str = "0s") -> str:
    """Return a timer; one that was missed while the machine slept is made up for."""
    times = calendars.of_cron(schedule.cron) if schedule.cron else [schedule.calendar or "hourly"]
    zone = f" {schedule.timezone}" if schedule.timezone else ""
    lines = [f"OnCalendar={quoted(time)}{zone}" for time in times]
    late = f"{int(schedule.jitter.total_seconds())}s" if schedule.jitter is not None else jitter
    lines += [f"RandomizedDelaySec={late}", "AccuracySec=1s", "Persistent=yes"]
    install = "\n\n[Install]\nWantedBy=timers.target\n"
    return f"[Unit]\nDescription={description}\n\n[Timer]\n" + "\n".join(lines) + install


def quoted(text: str) -> str:
    """Return text for a unit file in which `%` means itself."""
    return text.replace("%", "%%")


def word(text: str) -> str:
    """Return one word of a command line in a unit file."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    whole = quoted(plain)
    return whole if text and not set(text) & set(" \t;'\"\\") else f'"{whole}"'


def _services(site: Site) -> dict[str, str]:
    late = Schedule(calendar=DAILY[0]), DAILY[1]
    weekly = Schedule(calendar=WEEKLY[0]), WEEKLY[1]
    proving = "Prove that backups of Anki collections can be restored"
    return {
        "ankibak@.service": _service(
            site, "Back up the Anki collection %i", ["run", "--wait", "15m", "%i"], credential="%i"
        ),
        "ankibak-verify.service": _service(
            site, proving, ["verify", "--read-data", "--restore", "--limit", "5"]
        ),
        "ankibak-verify.timer": timer(proving, *weekly),
        "ankibak-prune.service": _service(site, "Remove old backups of Anki collections", ["prune", "--yes"]),
        "ankibak-prune.timer": timer("Remove old backups of Anki collections", *late),
        "ankibak-serve.service": _service(
            site, "Show backups of Anki collections", ["serve", "--idle-exit", IDLE_EXIT], lasting=True
        ),
        "ankibak-failure@.service": _service(
            site, "Tell that %i failed", ["notify", "failure", "%i"], tells=False
        ),
    }


def _sockets(listen: str) -> dict[str, str]:
    place = listen.removeprefix("unix:")
    mode = "SocketMode=0600\n" if place != listen else ""
    unit = "[Unit]\nDescription=The web view of ankibak\n\n"
    install = "\n[Install]\nWantedBy=sockets.target\n"
    return {"ankibak-serve.socket": f"{unit}[Socket]\nListenStream={quoted(place)}\n{mode}{install}"}


def _service(
    site: Site,
    description: str,
    words: list[str],
    *,
    credential: str | None = None,
    lasting: bool = False,
    tells: bool = True,
) -> str:
    options = ["--config", word(str(site.config))] if site.config else []
    command = [*(word(part) for part in site.program), *options, "--log-format", "journal", *words]
    online = [] if site.user else ["Wants=network-online.target", "After=network-online.target"]
    unit = [f"Description={description}", *online]
    if lasting:
        unit += ["Requires=ankibak-serve.socket", "After=ankibak-serve.socket"]
    if tells:
        unit.append("OnFailure=ankibak-failure@%n.service")
    lines = [f"Type={'exec' if lasting else 'oneshot'}", "ExecStart=" + " ".join(command)]
    if not lasting:
        lines += ["NotifyAccess=main", "Nice=10", "IOSchedulingClass=idle"]
        # 75: another run holds the lock, and the next one comes.
        lines.append("SuccessExitStatus=75")
    else:
        # It ends with 143 when it is told to; a rollback that it started goes on.
        lines += ["SuccessExitStatus=143", "KillMode=process"]
    if credential:
        lines.append(f"LoadCredential={credential}.password")
    # The web view talks through the socket that it was given, and makes none for its log.
    families = "AF_INET AF_INET6" if lasting else "AF_UNIX AF_INET AF_INET6"
    lines += [f"RestrictAddressFamilies={families}"]
    lines += ["TimeoutStopSec=2min", *(_place(site) if not site.user else [])]
    hard = ALWAYS if site.user else ALWAYS + SYSTEM
    return "[Unit]\n" + "\n".join(unit) + "\n\n[Service]\n" + "\n".join(lines) + "\n" + hard


def _place(site: Site) -> list[str]:
    """Return whose the process is, and where it may write."""
    lines = ["User=ankibak", "Group=ankibak", f"ProtectHome={'read-only' if site.homes else 'yes'}"]
    lines += ["StateDirectory=ankibak", "StateDirectoryMode=0700"]
    others = [*([] if site.root == SYSTEM_ROOT else [site.root]), *site.writable]
    return [*lines, *(f"ReadWritePaths={word(str(place))}" for place in others)]
