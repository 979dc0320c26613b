"""One conversation of the library with a sync server about a mirror: it fetches, and has nothing to send.

What is said to the server is the unmodified library's. Ours are the questions before:
a mirror with a row that was never sent, or that was changed since it was synced, is
`Unfaithful`, and no sync begins. Nowhere here is an upload.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from anki_backup import library
from anki_backup.answers import DAMAGED, LIMIT, Refusal, refusal, refused_by_disk
from anki_backup.errors import AnkibakError, EmptiedError, SourceError
from anki_backup.mirror import Mirror
from anki_backup.model import SourceRevision

if TYPE_CHECKING:
    from anki._backend import RustBackend
    from anki.sync_pb2 import SyncAuth

T = TypeVar("T")
POLL_S = 0.02
# Less than a signal waits before it ends the process by force.
GRACE_S = 3.0
# Not config: the library sends it as a whole, and only from a collection that is newer than the server's.
WITH_USN = "notes cards revlog graves decks deck_config notetypes tags"
UNSENT = " or ".join(f"exists (select 1 from {table} where usn = -1)" for table in WITH_USN.split())
STATE = f"select mod, scm, usn, ls, {UNSENT} from col"
ANSWERS_WITH_ALL = ("FULL_SYNC", "FULL_DOWNLOAD")


class Server(NamedTuple):
    """Whom a source talks to, and how long it waits for each answer."""

    source: str
    endpoint: str | None
    timeout_s: int

    @property
    def name(self) -> str:
        """How the server is called in messages: without path, so without anything secret."""
        return re.sub(r"^(\w+://[^/?#]*).*", r"\1", self.endpoint) if self.endpoint else "AnkiWeb"

    def refused(self, error: BaseException) -> AnkibakError:
        """Return what an error of the library means: a Refusal, or a StorageError about the mirror."""
        from anki.errors import SyncError, SyncErrorKind

        login = isinstance(error, SyncError) and error.kind == SyncErrorKind.AUTH
        said = library.said(error)
        return refused_by_disk(said, self.source) or refusal(said, self.name, self.source, login=login)


class Unfaithful(Exception):
    """The mirror is not what the server has given; it is to be thrown away, not synced."""


class Device:
    """The library with one mirror open in it, between `open` and `close`."""

    def __init__(self, mirror: Mirror, server: Server, key: str, endpoint: str | None) -> None:
        self._mirror = mirror
        self._server = server
        self._backend = library.backend()
        self._auth = self._authority(key, endpoint or server.endpoint)
        self.media_usn: int | None = None
        self.message = ""
        # After a failure: whether the mirror is what it was before.
        self.rolled_back = False

    def _authority(self, key: str, endpoint: str | None) -> SyncAuth:
        from anki.sync_pb2 import SyncAuth

        auth = SyncAuth(hkey=key, io_timeout_secs=self._server.timeout_s)
        if endpoint:
            auth.endpoint = endpoint
        return auth

    @property
    def endpoint(self) -> str | None:
        """Where the server is now; it may have sent us elsewhere."""
        return self._auth.endpoint or None

    def open(self) -> None:
        """Open the mirror; Unfaithful if it is damaged, or if there is anything in it to send."""
        from anki.errors import DBError

        try:
            self._backend.open_collection(
                collection_path=str(self._mirror.collection),
                media_folder_path=str(self._mirror.media),
                media_db_path=str(self._mirror.media_db),
            )
        except DBError as error:
            if "already open" in str(error):
                raise self._server.refused(error) from error
            raise Unfaithful from error
        if not self._mirror.is_new:
            self._state()

    def _state(self) -> SourceRevision:
        """Return where the mirror stands; Unfaithful if the server would get anything from it."""
        from anki.errors import DBError

        try:
            ((mod, scm, usn, synced, unsent),) = self._backend.db_query(STATE, [], False)
        except DBError as error:
            raise Unfaithful from error
        if mod != synced or scm > synced or unsent or usn < 0:
            raise Unfaithful
        return SourceRevision(mod=mod, scm=scm, usn=usn)

    def sync(self) -> SourceRevision:
        """Ask whether there is anything new, and fetch it; return where mirror and server stand now.

        A full sync is a download, always. EmptiedError when the server has no cards
        and the mirror has: the library would then have us upload.
        """
        from anki.errors import BackendError, DBError
        from anki.sync_pb2 import FullUploadOrDownloadRequest, SyncCollectionResponse

        try:
            answer = self._backend.sync_collection(auth=self._auth, sync_media=False)
            if answer.new_endpoint:
                self._follow(answer.new_endpoint)
            required = SyncCollectionResponse.ChangesRequired.Name(answer.required)
            if required == "FULL_UPLOAD":
                raise _emptied(self._server)
            if required in ANSWERS_WITH_ALL:
                request = FullUploadOrDownloadRequest(auth=self._auth, upload=False)
                self._backend.full_upload_or_download(request)
        except DBError as error:
            refused = self._server.refused(error)
            if isinstance(refused, Refusal) and refused.code == DAMAGED.word:
                raise Unfaithful from error
            raise refused from error
        except BackendError as error:
            refused = self._server.refused(error)
            if not self._mirror.is_new:
                # After a failed sanity check the library wants a full sync next: the mirror is in doubt.
                with suppress(BackendError):
                    self.rolled_back = self._state() == self._mirror.known.revision
            raise refused from error
        self.media_usn, self.message = answer.server_media_usn, answer.server_message
        return self._counted_on()

    def _counted_on(self) -> SourceRevision:
        """Return where the mirror stands; Unfaithful if the server counts from further back than before.

        It was asked for what came after a number that it had not come to: because it
        was put back to an older state, or because it told a wrong number once.
        """
        now, before = self._state(), self._mirror.known.revision
        # After a sync, this is the server's number and one more.
        if before and before != now and before.scm == now.scm and now.usn <= before.usn:
            raise Unfaithful
        return now

    def has_news(self) -> bool:
        """Ask whether the collection would be synced, and sync nothing; nothing is said of media."""
        from anki.errors import BackendError
        from anki.sync_pb2 import SyncStatusResponse

        try:
            answer = self._backend.sync_status(self._auth)
        except BackendError as error:
            raise self._server.refused(error) from error
        return answer.required != SyncStatusResponse.NO_CHANGES

    def _follow(self, endpoint: str) -> None:
        """Go on at the address that the server named; the key is never sent from https to http."""
        before = self.endpoint or "https://"
        if before.startswith("https://") and not endpoint.startswith("https://"):
            raise SourceError(
                f"{self._server.name} sends us on to an address without encryption, which was not followed",
                hint="Ask who runs the server; set another endpoint only if you trust it.",
            )
        self._auth.endpoint = endpoint

    def sync_media(self, tell: Callable[[], object]) -> None:
        """Fetch new media, and call `tell` meanwhile; the caller saw to it that there is nothing to send.

        Nor can there be anything later: a file under a name that Anki would not give it is
        renamed, which the library would have the account do, too.
        """
        from anki.errors import BackendError

        try:
            self._backend.trash_media_files([])  # none; but now there is a list
            self._mirror.let_nothing_be_sent()
            self._backend.sync_media(self._auth)
            while self._backend.media_sync_status().active:
                tell()
                time.sleep(POLL_S)
        except BackendError as error:
            raise self._server.refused(error) from error

    def stop(self) -> None:
        """Have the library give up what it is doing, from another thread."""
        with suppress(Exception):
            self._backend.abort_sync()
        with suppress(Exception):
            self._backend.abort_media_sync()

    def close(self) -> None:
        """Close the mirror; after this its file is whole, and no WAL is left."""
        from anki.errors import BackendError

        # A media sync is ended first; what is not open needs no closing.
        with suppress(BackendError):
            self._backend.close_collection(downgrade_to_schema11=False)


def login(server: Server, username: str, password: str) -> tuple[str, str | None]:
    """Exchange a password for a host key, and the address to use it at."""
    from anki.errors import BackendError
    from anki.sync_pb2 import SyncLoginRequest

    backend: RustBackend = library.backend()
    request = SyncLoginRequest(username=username, password=password)
    if server.endpoint:
        request.endpoint = server.endpoint
    try:
        auth = backend.sync_login(request)
    except BackendError as error:
        raise server.refused(error) from None
    return auth.hkey, auth.endpoint or None


def apart(work: Callable[[], T], stop: Callable[[], object], limit_s: float, server: Server) -> T:
    """Do work in a thread of its own and return what it gives; signals and the limit are heard meanwhile.

    On either, `stop` is called and the work given some seconds to end. A thread of its
    own is also what has the library read the time zone anew.
    """
    done: Future[T] = Future()

    def body() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=body, name="library", daemon=True).start()
    try:
        with suppress(TimeoutError):
            return done.result(limit_s)
        if done.done():  # a TimeoutError of its own
            return done.result()
        raise Refusal(LIMIT, server.name, server.source)
    except BaseException:
        if not done.done():
            stop()
            with suppress(BaseException):
                done.result(GRACE_S)
        raise


def _emptied(server: Server) -> AnkibakError:
    return EmptiedError(
        f"the account at {server.name} has no cards any more: nothing was stored, and nothing sent"
    )
