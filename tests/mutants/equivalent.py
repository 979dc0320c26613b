"""Changes that nobody can tell from the program as it is, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "..."


@dataclass(frozen=True)
class Equivalent:
    """A change, or ANY of these lines, of one function: what it was, what it became, why that is the same."""

    place: str
    before: str
    after: str
    why: str

    def covers(self, place: str, before: str, after: str) -> bool:
        """Say whether a change is the one that is meant."""
        return (place, before) == (self.place, self.before) and self.after in (after, ANY)


EQUIVALENT = [
    Equivalent(
        "durable.append",
        'torn = size > 0 and os.pread(fd, 1, size - 1) != b"\\n"',
        'torn = size > 0 and os.pread(fd, 2, size - 1) != b"\\n"',
        "the file ends after the one byte",
    ),
    Equivalent(
        "durable.sweep",
        "if entry.is_dir(follow_symlinks=False):",
        "if entry.is_dir(follow_symlinks=None):",
        "None is as false as False",
    ),
    Equivalent(
        "durable.Batch.add",
        "self._files[str(path)] = None",
        'self._files[str(path)] = ""',
        "only the keys count",
    ),
    Equivalent(
        "objects.ObjectStore.__init__",
        "self._serial = 0",
        "self._serial = 1",
        "from where the names of unfinished files are counted is no matter",
    ),
    Equivalent(
        "objects.ObjectStore.incoming",
        "self._serial += 1",
        "self._serial -= 1",
        "how the names of unfinished files are counted is no matter",
    ),
    Equivalent(
        "objects.ObjectStore.incoming",
        "self._serial += 1",
        "self._serial += 2",
        "how the names of unfinished files are counted is no matter",
    ),
    Equivalent(
        "objects.ObjectStore.publish",
        "if name[:2] not in self._prefixes:",
        "if name[:3] not in self._prefixes:",
        "folders are looked at once more, nothing else",
    ),
    Equivalent(
        "objects.ObjectStore.publish",
        "self._prefixes.add(name[:2])",
        ANY,
        "folders are looked at once more, nothing else",
    ),
    Equivalent(
        "objects.ObjectStore._make_folder",
        "raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))",
        "raise OSError(errno.ELOOP, None)",
        "`storing` goes by the number",
    ),
    Equivalent(
        "payloads.raw",
        "yield pread(fd, min(BLOCK, info.stored_bytes - at), at, info.name)",
        "yield pread(fd, min(BLOCK, info.stored_bytes + at), at, info.name)",
        "the file ends there: `open` has compared its size",
    ),
    Equivalent(
        "objects.ObjectStore.put",
        "if len(packed) < len(data) * payloads.PAYS:",
        "if len(packed) <= len(data) * payloads.PAYS:",
        "at the very bound either form is as good",
    ),
    Equivalent(
        "objects.ObjectStore.put_payload",
        "if info.payload <= payloads.BLOCK:",
        "if info.payload < payloads.BLOCK:",
        "at the very bound the same bytes are written and compared, in one call or in two",
    ),
    Equivalent(
        "objects.ObjectStore.put_blocks",
        "def put_blocks(self, name: str, size: int, blocks: Iterable[bytes], threads: int = 0) -> None:",
        "def put_blocks(self, name: str, size: int, blocks: Iterable[bytes], threads: int = 1) -> None:",
        "a thread more packs the same content",
    ),
    Equivalent(
        "payloads._Local.__init__",
        "self.compressor = zstandard.ZstdCompressor(level=1)",
        "self.compressor = zstandard.ZstdCompressor(level=2)",
        "a guess, by a compressor that is hardly another",
    ),
    Equivalent(
        "payloads.compresses",
        "start = max(0, len(data) - SAMPLE) // 2",
        "start = max(1, len(data) - SAMPLE) // 2",
        "the half of 1 is 0",
    ),
    Equivalent(
        "payloads.compresses",
        "return len(_LOCAL.compressor.compress(sample)) < len(sample) * PAYS",
        "return len(_LOCAL.compressor.compress(sample)) <= len(sample) * PAYS",
        "a guess, at the very bound",
    ),
    Equivalent(
        "payloads.unpacked",
        'with open(fd, "rb", closefd=False, buffering=0) as file:',
        ANY,
        "the same bytes, through a buffer",
    ),
    Equivalent(
        "pages.encode",
        "if stored > limit:",
        "if stored >= limit:",
        "the table comes on top: it would not fit either",
    ),
    Equivalent(
        "repository.Repository.create",
        'with locks.lock(root / "state" / "lock", "init", 5):',
        'with locks.lock(root / "state" / "lock", "init", 6):',
        "a second more of patience",
    ),
    Equivalent(
        "repository.Repository.commit",
        'document, stored = b"", 0',
        ANY,
        "what stands there before the first round is not what it comes to",
    ),
    Equivalent(
        "repository.Repository.newest_of",
        "found = self.backups(source, limit=1)",
        ANY,
        "only the first is taken",
    ),
    Equivalent(
        "retention._kept_by", "last: object = None", 'last: object = ""', "no period is an empty text"
    ),
]
