"""Values of settings: what a person may write, and what it becomes.

Each type carries the words for it that an error uses (`Meta.title`); the types of
our own (paths, durations, zones, secrets) carry the way to read them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert

REDACTED = "********"
UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
# Far enough for "for ever", near enough that no date computed from it leaves the calendar.
MOST_DAYS = 365_000

PORT = r"0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})"
HOST = r"(?:[^\x00-\x1f\x7f\[\]]+|\[[^\x00-\x1f\x7f\[\]]+\])"
ADDRESS = rf"^(?:unix:[^\x00-\x1f\x7f]+|{HOST}:{PORT})(?!\n)$"
LENGTH = r"^(?:[0-9]+[wdhms] ?)+$"

# Control characters are refused because some of these texts go into unit files and requests.
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+(?!\n)$", title="one line of text")]
Address = Annotated[str, Meta(pattern=ADDRESS, title="HOST:PORT, with a port from 0 to 65535, or unix:/path")]
Cron = Annotated[str, Meta(pattern=r"^\S+([ \t]+\S+){4}(?!\n)$", title="the five fields of a cron line")]
Count = Annotated[int, Meta(ge=0, le=1000, title="a whole number from 0 to 1000")]
Tries = Annotated[int, Meta(ge=1, le=1000, title="a whole number from 1 to 1000")]
Many = Annotated[int, Meta(ge=0, title="a whole number, 0 or more")]
Percent = Annotated[int, Meta(ge=1, le=100, title="a whole number from 1 to 100")]
Days = Annotated[int, Meta(ge=1, le=MOST_DAYS, title="a whole number of days, 1 or more")]
Keep = Annotated[int, Meta(ge=0, title="a whole number, 0 or more")] | Literal["all"]


def about(description: str, example: Any = None) -> Meta:
    """Return what is said of a key: one line, and an example where the default is none."""
    return Meta(description=description, examples=None if example is None else [example])


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration; unknown keys are errors."""


class Duration(timedelta):
    """A length of time that remembers how it was written."""

    text = ""


class Zone(str):
    """The name of a time zone that this machine knows."""

    __slots__ = ()


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the secret; whoever calls this must not print, log or store it."""
        return self.__text

    def __repr__(self) -> str:
        return REDACTED


TITLES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    str: "text",
    Path: "a path",
    Duration: 'a duration such as "48h"',
    Zone: 'a time zone such as "Europe/Berlin"',
    Secret: "text",
}
TOML_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number with a point"}


def duration(text: str) -> Duration:
    """Return the length that `text` names ("48h", "1h30m", "90d", "2w", "0s"); ValueError if it is none."""
    if len(text) > 40 or not re.fullmatch(LENGTH, text):
        raise ValueError('expects a duration with a unit (w, d, h, m or s) such as "48h"')
    total = Duration()
    try:
        for count, unit in re.findall(r"([0-9]+)([wdhms])", text):
            total = Duration(seconds=(total + timedelta(**{UNITS[unit]: int(count)})).total_seconds())
            if total.days > MOST_DAYS:
                raise OverflowError
    except OverflowError:
        raise ValueError(f"expects a duration of at most {MOST_DAYS}d") from None
    total.text = text.strip()
    return total


def zone(text: str) -> Zone:
    """Return the name of a time zone; ValueError names the nearest if there is none such."""
    from zoneinfo import ZoneInfo, available_timezones  # 3 ms, for the few who set it

    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, "Europe"
        close = nearest(text, available_timezones())
        raise ValueError(f'expects a time zone such as "{close or "Europe/Berlin"}"') from None
    return Zone(text)


def path(text: str, folder: Path, home: str | None) -> Path:
    """Return an absolute path; `~` is the home, a relative one counts from `folder`."""
    if not text or "\0" in text:
        raise ValueError("expects a path")
    head, slash, tail = text.partition("/")
    if head.startswith("~"):
        head = home if head == "~" and home else os.path.expanduser(head)
        if head.startswith("~"):
            raise ValueError(f"begins with {head}, but there is no such user")
    return folder / f"{head}{slash}{tail}"


def read(value: Any, kind: Any, folder: Path, home: str | None) -> Any:
    """Return a value of TOML as `kind`; ValueError says what is expected, and never shows a secret."""

    def our_own(kind: type, value: Any) -> Any:
        if not isinstance(value, str) or not value:
            raise TypeError
        if kind is Path:
            return path(value, folder, home)
        return {Duration: duration, Zone: zone, Secret: Secret}[kind](value)

    try:
        return convert(value, kind, dec_hook=our_own)
    except (ValidationError, OverflowError) as error:
        if isinstance(error.__cause__, ValueError):
            told = str(error.__cause__)
            raise ValueError(
                f"{told}, not {_shown(value, kind)}" if told.startswith("expects") else told
            ) from None
        raise ValueError(f"expects {title(kind)}, not {_shown(value, kind)}") from None


def of_text(text: str, kind: Any) -> Any:
    """Return what the text of an environment variable means in TOML, for a key of type `kind`."""
    words = list(alternatives(kind))
    if text.lstrip().startswith("[") and any(get_origin(word) is list for word in words):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            raise ValueError("is not a list as in TOML") from None
    if bool in words:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if int in words and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    return text


def alternatives(kind: Any) -> Iterator[Any]:
    """Yield the plain types that a type is made of, without None and without annotations."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from alternatives(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for part in get_args(kind):
            yield from alternatives(part)
    elif kind is not type(None):
        yield kind


def title(kind: Any) -> str:
    """Return the words for a type: 'a whole number, 0 or more, or "all"'."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        own = [note.title for note in parts[1:] if isinstance(note, Meta) and note.title]
        return own[0] if own else title(parts[0])
    if origin in (Union, UnionType):
        return ", or ".join(title(part) for part in parts if part is not type(None))
    if origin is Literal:
        return " or ".join(f'"{word}"' for word in parts)
    return "a list of texts" if origin is list else TITLES[kind]


def plain(value: Any) -> Any:
    """Return a value as TOML and JSON can hold it; a secret stays one."""
    if isinstance(value, Duration):
        return value.text or f"{int(value.total_seconds())}s"
    return str(value) if isinstance(value, Path | Zone | Secret) else value


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was most likely meant to be, if one is like it."""
    words = list(known)
    found = difflib.get_close_matches(word, words, 1) or difflib.get_close_matches(word.lower(), words, 1)
    return found[0] if found else None


def _shown(value: Any, kind: Any) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "this list"
    if Secret in alternatives(kind):
        return TOML_WORDS.get(type(value), "a date")
    return json.dumps(value[:60]) if isinstance(value, str) else str(value)[:60].lower()
