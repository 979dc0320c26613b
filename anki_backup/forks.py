"""Work that is spread over forked processes, because threads of Python would wait for each other.

Twenty thousand small files are twelve short system calls each: between two of
them a thread needs the interpreter's lock, and two threads are hardly faster than
one. A process has that lock for itself.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import BinaryIO, NamedTuple, NoReturn, TypeVar

from anki_backup.errors import AnkibakError

SLICE = 256
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

T = TypeVar("T")
R = TypeVar("R")


class _Worker(NamedTuple):
    """A forked process, and where its answers come from."""

    pid: int
    answers: BinaryIO

    def answer(self) -> object:
        """Return the next answer, or raise what it failed with."""
        try:
            found: object = pickle.load(self.answers)
        except (EOFError, pickle.UnpicklingError) as error:
            raise AnkibakError(
                f"process {self.pid}, which helped to read, was killed",
                hint="See whether memory ran out (`dmesg`), then run it again; nothing is lost.",
            ) from error
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self) -> None:
        """End it, wherever it is, and wait for that."""
        self.answers.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def spread(
    items: Sequence[T], processes: int, work: Callable[[Sequence[T]], R], at_once: int = SLICE
) -> Generator[R]:
    """Yield what `work` makes of each slice of `at_once` items, in their order.

    With more than one process and slice, `work` is called in forks of this one: what it
    returns has to pickle, and what it changes in memory stays there. What it raises is
    raised here. No fork outlives the caller's interest; one whose parent was killed ends
    when it has its next answer.
    """
    slices = [items[at : at + at_once] for at in range(0, len(items), at_once)]
    processes = min(processes, len(slices))
    if processes < 2:
        yield from map(work, slices)
        return
    workers: list[_Worker] = []
    try:
        for number in range(processes):
            workers.append(_fork(slices[number::processes], work, workers))
        for number in range(len(slices)):
            yield workers[number % processes].answer()  # type: ignore[misc]
    finally:
        for worker in workers:
            worker.end()


def _fork(slices: list[Sequence[T]], work: Callable[[Sequence[T]], R], others: list[_Worker]) -> _Worker:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    # A signal between here and there would be taken for one to the parent.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _serve(slices, work, writer, [reader, *(other.answers.fileno() for other in others)], mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writer)
    return _Worker(pid, os.fdopen(reader, "rb"))


def _serve(
    slices: list[Sequence[T]],
    work: Callable[[Sequence[T]], R],
    writer: int,
    readers: list[int],
    mask: set[signal.Signals | int],
) -> NoReturn:
    """Be the forked process, to its end."""
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for reader in readers:  # else nobody would see that the parent is gone
            os.close(reader)
        with os.fdopen(writer, "wb") as answers:
            for each in slices:
                pickle.dump(_answer(work, each), answers)
                answers.flush()
    finally:
        os._exit(0)


def _answer(work: Callable[[Sequence[T]], R], items: Sequence[T]) -> R | Exception:
    try:
        return work(items)
    except Exception as error:
        return error
