"""What sends to an account. Only `push` and `sendback` use it, and only a person starts those.

A device of its own, in a folder that is thrown away: the mirror never has anything
to send. It holds the collection that is to be the account's, and the media as
the account has them now, so that a media sync finds nothing to delete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anki_backup import library
from anki_backup.device import Device, Server, apart
from anki_backup.errors import EmptiedError, SourceError
from anki_backup.hostkeys import HostKey
from anki_backup.mirror import Mirror

if TYPE_CHECKING:
    from anki._backend import RustBackend
    from anki.sync_pb2 import SyncAuth

POLL_S = 0.02


def touch(path: Path, before: float = 0.0) -> None:
    """Give a media file or their folder a time that the library has not seen: it tells changes by seconds.

    `before` is the time of what was there under that name.
    """
    later = max(time.time(), path.stat().st_mtime, before) + 2
    os.utime(path, (later, later))


class Sender:
    """A device in `folder` that can replace the account which `mirror` is a mirror of."""

    def __init__(
        self, mirror: Mirror, server: Server, key: HostKey, zone: str | None, limit_s: float
    ) -> None:
        self._mirror, self._server, self._key = mirror, server, key
        self._zone, self._limit_s = zone, limit_s

    @property
    def server(self) -> str:
        """How the server is called in messages."""
        return self._server.name

    @property
    def zone(self) -> str | None:
        """The time zone of the account's owner."""
        return self._zone

    def is_as_mirrored(self, *, empty: bool) -> bool:
        """Ask whether the account still is what the mirror is, or still `empty`; nothing is fetched."""
        device = Device(self._mirror, self._server, self._key.text, self._key.endpoint)

        def ask() -> bool:
            device.open()
            if not empty:
                return not device.has_news()
            try:
                device.sync()
            except EmptiedError:
                return True
            return False

        try:
            with library.zoned(self._zone):
                return apart(ask, device.stop, self._limit_s, self._server)
        finally:
            device.close()

    def replace(self, collection: Path) -> None:
        """Make the account's collection what a closed one of our own is, by a full upload.

        The copy is afterwards what the server has. SourceError if the server refuses;
        then the account is as it was.
        """
        from anki.sync_pb2 import FullUploadOrDownloadRequest

        def send(backend: RustBackend, auth: SyncAuth) -> None:
            request = FullUploadOrDownloadRequest(auth=auth, upload=True)
            backend.full_upload_or_download(request)

        self._with(collection, send)

    def merge(self, collection: Path) -> None:
        """Bring what is new in a copy of the mirror into the account, by an ordinary sync.

        SourceError if the server refuses, or would want one side to replace the other:
        then the account is as it was.
        """

        def send(backend: RustBackend, auth: SyncAuth) -> None:
            answer = backend.sync_collection(auth=auth, sync_media=False)
            if answer.required != answer.NO_CHANGES:
                raise SourceError(
                    f"the account at {self.server} can't be synced in the ordinary way, so nothing was sent",
                    hint="Sync all devices, then run it again.",
                )

        self._with(collection, send)

    def begin_media(self, collection: Path, *, empty: bool) -> None:
        """Give the device the media that the account has now: those of the mirror, unless it is `empty`."""
        folder = collection.with_suffix(".media")
        folder.mkdir(mode=0o700, exist_ok=True)
        if empty:
            self._mirror.discard_media()  # the server has begun to count anew
        elif self._mirror.media_are_as_left():
            for name in os.listdir(self._mirror.media):
                os.link(self._mirror.media / name, folder / name)
            self._mirror.copy_list(collection.with_suffix(".media.db2"))
        self.send_media(collection)

    def send_media(self, collection: Path) -> None:
        """Sync the media of the device: what is new or gone there becomes so in the account."""

        def send(backend: RustBackend, auth: SyncAuth) -> None:
            backend.sync_media(auth)
            while backend.media_sync_status().active:
                time.sleep(POLL_S)

        folder = collection.with_suffix(".media")
        touch(folder)
        self._with(collection, send)

    def _with(self, collection: Path, work: Callable[[RustBackend, SyncAuth], None]) -> None:
        from anki.errors import BackendError
        from anki.sync_pb2 import SyncAuth

        backend = library.backend()
        auth = SyncAuth(hkey=self._key.text, io_timeout_secs=self._server.timeout_s)
        if endpoint := self._key.endpoint or self._server.endpoint:
            auth.endpoint = endpoint

        def body() -> None:
            try:
                backend.open_collection(
                    collection_path=str(collection),
                    media_folder_path=str(collection.with_suffix(".media")),
                    media_db_path=str(collection.with_suffix(".media.db2")),
                )
                work(backend, auth)
            except BackendError as error:
                raise self._server.refused(error) from error

        def stop() -> None:
            for abort in (backend.abort_sync, backend.abort_media_sync):
                with suppress(Exception):
                    abort()

        try:
            with library.zoned(self._zone):
                apart(body, stop, self._limit_s, self._server)
        finally:
            # Where the upload closed it, there is nothing to close.
            with suppress(BackendError):
                backend.close_collection(downgrade_to_schema11=False)
