"""What a sync server's answer means: a sentence, a way out, and whether asking again may help.

The library has few kinds of errors and puts the rest into English text, so the
text decides; what nobody knows is passed on as it is. A server's own words are
never trusted to be short or free of control characters: they are cut and escaped
where they are shown, and no secret is in them, since the library leaves out URLs.
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from anki_backup import durable
from anki_backup.errors import SourceError, StorageError

OS_ERROR = re.compile(r"\(os error (\d+)\)")


class Answer(NamedTuple):
    """A word, a clause that goes on behind the server's name, a hint, and whether to try again at once."""

    word: str
    clause: str
    hint: str
    again: bool = False


LATER = "Nothing is lost: the next run tries again."
NONSENSE = Answer("server_refused", "gave an answer that the library can't use", LATER)
# The server has not the media that it told of: the library gave up its list, and begins anew if asked.
MEDIA_DOUBT = Answer("media_refused", "and the mirror did not agree on the media", LATER)
# How the library speaks of what it can't read: JSON, a zip, a file with an impossible name, a panic.
UNREADABLE = (
    "jsonerror",
    "invalid zip",
    "invalid checksum",
    "malformed zip",
    "failed to write",
    "any { .. }",
)
TABLE: list[tuple[str, Answer]] = [
    *((part, NONSENSE) for part in (*UNREADABLE, "backenderror")),
    (
        "clock is not set to the correct time",
        Answer(
            "clock",
            "refused to sync: this machine's clock is more than five minutes off",
            "Set the clock: timedatectl set-ntp true",
        ),
    ),
    (
        "only one copy of anki can sync",
        Answer(
            "sync_conflict",
            "was busy with another device of this account",
            # Asking again at once could break off that device's sync again.
            "Let that device finish; the next run tries again.",
        ),
    ),
    (
        "check database function",
        Answer(
            "sync_refused",
            "and the mirror did not agree after a sync",
            "The next run fetches all afresh. If this comes again, use Check Database in Anki and sync.",
        ),
    ),
    ("please sync again", MEDIA_DOUBT),
    (
        "anki version is too old",
        Answer(
            "client_too_old",
            "wants a newer version of Anki's library",
            "Upgrade it: pip install --upgrade anki",
        ),
    ),
    (
        "ankiweb encountered a problem",
        Answer("server_failed", "failed on its side", LATER, True),
    ),
    (
        "429",
        Answer("rate_limited", "asks for fewer requests", "Let it rest: run less often, or later."),
    ),
    (
        "413",
        Answer(
            "too_large",
            "takes no request of that size",
            "Raise the limit of the server, or of the proxy in front of it.",
        ),
    ),
    (
        "401",
        Answer(
            "proxy_login",
            "wants a login of its own, in front of Anki's",
            "Look at the proxy in front of the server.",
        ),
    ),
    (
        "404",
        Answer(
            "no_sync_server",
            "knows nothing of syncing at this address",
            "Correct the endpoint; with a path in it, that of the sync server is meant.",
        ),
    ),
    (
        "proxy requires authentication",
        Answer(
            "proxy_login",
            "can't be reached: the proxy wants a name and password",
            "Put them into HTTPS_PROXY: http://name:password@host:port",
        ),
    ),
    (
        "status server error",
        Answer("server_failed", "failed on its side", LATER, True),
    ),
    (
        "status client error",
        Answer(
            "server_refused", "refused the request", "Look at the endpoint, and at the proxy in front of it."
        ),
    ),
    (
        "connection timed out",
        Answer(
            "timeout", "took too long to answer", "If it is only slow, raise sources.{source}.timeout.", True
        ),
    ),
    (
        "missing original size",
        Answer(
            "not_a_sync_server",
            "did not answer as a sync server does: a page for logging in to the network, or a redirect?",
            "Open the endpoint in a browser, and look where it leads.",
        ),
    ),
    (
        "code: 308",
        Answer(
            "redirected",
            "sends to another address, which only a sync follows",
            "Set the endpoint of the source to the address that it names.",
        ),
    ),
    ("httperror", NONSENSE),
    (
        "invalid sync server",
        Answer("bad_endpoint", "is no address of a sync server", "Correct the endpoint of the source."),
    ),
    (
        "a network error occurred",
        Answer(
            "network",
            "can't be reached: refused, an unknown name, a certificate, or the connection broke",
            "Look at the network, at http or https in the endpoint, and at HTTPS_PROXY if there is a proxy.",
            True,
        ),
    ),
    (
        "unable to sync",
        Answer("sync_refused", "and the library could not agree", LATER),
    ),
]
REFUSED = Answer("login_refused", "refused the login", "Type the password again: ankibak login {source}")
BUSY = Answer(
    "mirror_busy",
    "was not asked: another program has the mirror open",
    "Close it, or wait for it, then run again.",
)
DAMAGED = Answer(
    "damaged_download",
    "sent a collection that is damaged, or the disk spoiled it",
    "Run again; if it comes again, use Check Database in Anki and sync.",
)
# The library's limit for what it up- and downloads.
TOO_LARGE = Answer(
    "too_large",
    "has a collection that is larger than it lets through",
    "Raise MAX_SYNC_PAYLOAD_MEGS of the server; on AnkiWeb, make the collection smaller.",
)


LIMIT = Answer(
    "time_limit",
    "did not come to an end within the time limit",
    "What was fetched is kept. If this comes again, raise sources.{source}.time_limit.",
)
SPOKE = Answer("server_message", "says", LATER)


class Refusal(SourceError):
    """A server's answer in our words; `again` if asking once more may help."""

    def __init__(self, answer: Answer, server: str, source: str, said: str = "") -> None:
        hint = answer.hint.format(source=source)
        super().__init__(f"{server} {answer.clause}{f' {said!r}' if said else ''}", hint=hint)
        self.code = answer.word
        self.again = answer.again


def refused_by_disk(said: str, source: str) -> StorageError | None:
    """Return what an error of the library comes to if the system refused a file of the mirror, else None."""
    told = OS_ERROR.search(said)
    number = errno.ENOSPC if "disk is full" in said else int(told[1]) if told else 0
    if number not in durable.REASONS:
        return None
    reason, hint = durable.REASONS[number]
    return StorageError(f"can't write the mirror of {source}: {reason}", hint=hint)


def refusal(said: str, server: str, source: str, *, login: bool = False) -> Refusal:
    """Return what an error of the library comes to; `login` if it is about who we are.

    What the library says is passed on only where we know no better.
    """
    text = said.lower()
    if login:
        return Refusal(REFUSED, server, source)
    if "already open" in text:
        return Refusal(BUSY, server, source)
    if text.startswith("corrupt: ") or "dberror" in text or "notadatabase" in text:
        return Refusal(DAMAGED, server, source)
    if "too large" in text or "exceeds" in text:
        return Refusal(TOO_LARGE, server, source)
    for part, answer in TABLE:
        if part in text:
            return Refusal(answer, server, source)
    # A server that wants everybody to stop says why in its own words.
    return Refusal(SPOKE, server, source, said)
