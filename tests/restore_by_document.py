"""Get a backup back by docs/ARCHITECTURE.md alone: this page, the standard library, and the `zstd` program.

    python -I -S restore_by_document.py REPOSITORY BACKUP TARGET

Makes TARGET/collection.anki2 and TARGET/collection.media/, and prints as JSON what it
came by. Where the document promises a checksum, it is compared.
"""

import hashlib
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

HEADER = struct.Struct("<4sBBHQQII32sI")
RAW, ZSTD, DELTA = 1, 2, 3


class Damaged(Exception):
    """The repository is not as the document says."""


def expect(true: object, what: str) -> None:
    if not true:
        raise Damaged(what)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unsealed(path: Path) -> dict:
    """Read a sealed document: its checksum is the hash of itself with 64 zeros for the checksum."""
    data = path.read_bytes()
    document = json.loads(data)
    blank = data.replace(document["checksum"].encode(), b"0" * 64, 1)
    expect(sha256(blank) == document["checksum"], f"{path} is not what was sealed")
    return document


def unpacked(frame: bytes, prefix: bytes, size: int) -> bytes:
    """Let `zstd` unpack one frame that refers to a prefix."""
    with tempfile.NamedTemporaryFile() as old:
        old.write(prefix)
        old.flush()
        patch = [f"--patch-from={old.name}"] if prefix else []
        command = ["zstd", "-d", "-q", "-c", "--long=27", *patch]
        data = subprocess.run(command, input=frame, stdout=subprocess.PIPE, check=True).stdout
    expect(len(data) == size, "a frame has another size than the table says")
    return data


def numbers(table: bytes):
    """Yield the LEB128 numbers of a table: seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in table:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


class Table:
    """The table of a delta: unit, ops (copy, drop, insert), frames (ops, length, sources)."""

    def __init__(self, data: bytes) -> None:
        found = numbers(data)
        self.unit = next(found)
        self.ops = []
        for _ in range(next(found)):
            copy, insert = next(found), next(found)
            self.ops.append((copy, next(found) if insert % 2 else insert // 2, insert // 2))
        self.frames = []
        for _ in range(next(found)):
            ops, length, sources = next(found), next(found), next(found)
            self.frames.append((ops, length, [(next(found), next(found)) for _ in range(sources)]))
        expect(next(found, None) is None, "a table goes on after its end")


class Repository:
    """A repository, and a note of all that was met on the way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.identity = unsealed(root / "repository.json")
        expect(self.identity["format"] == 1, "this is another format")
        self.met = {"whole": 0, "plain": 0, "skip": 0, "moved": 0, "units": set(), "raw": 0, "zstd": 0}

    def manifest(self, backup: str) -> dict:
        folder = self.root / "backups" / backup
        manifest = unsealed(folder / "metadata.json")
        expect(manifest["id"] == backup, "the manifest is another backup's")
        expect(manifest["repository"] == self.identity["id"], "the manifest is another repository's")
        stats = (folder / "stats.json").read_bytes()
        expect(sha256(stats) == manifest["stats_sha256"], "stats.json is not the manifest's")
        unsealed(folder / "stats.json")
        return manifest

    def content(self, name: str) -> bytes:
        """Return what an object stands for."""
        file = (self.root / "objects" / name[:2] / name[2:]).read_bytes()
        magic, kind, zero, offset, size, length, crc, position, base, header_crc = HEADER.unpack(file[:68])
        expect((magic, zero) == (b"akob", 0), "this is no object")
        expect(header_crc == zlib.crc32(file[:64]), "a header is damaged")
        expect(offset in (68, 4096) and not any(file[68:offset]), "the payload begins elsewhere")
        payload = file[offset:]
        expect(len(payload) == length, "an object is cut off")
        expect(crc == (0 if kind == RAW else zlib.crc32(payload)), "a payload is damaged")
        if kind == RAW:
            data = payload
        elif kind == ZSTD:
            data = unpacked(payload, b"", size)
        else:
            expect(kind == DELTA, "an object of another kind")
            data = self.applied(payload, self.content(base.hex()))
        self.note(kind, position, base)
        expect(len(data) == size and sha256(data) == name, "an object is not what its name says")
        return data

    def note(self, kind: int, position: int, base: bytes) -> None:
        """Note the form; a delta's base lies one or 64^k positions before it."""
        if kind != DELTA:
            expect(position == 0 and base == bytes(32), "a whole object has no base")
            self.met["whole"] += 1
            self.met["raw" if kind == RAW else "zstd"] += 1
            return
        self.met["plain" if position % 64 else "skip"] += 1

    def applied(self, payload: bytes, base: bytes) -> bytes:
        """Make new content out of a base and the payload of a delta."""
        length = int.from_bytes(payload[:4], "little")
        table = Table(payload[4 : 4 + length])
        unit, at = table.unit, 4 + length
        self.met["units"].add(unit)
        made, end, ops = b"", 0, iter(table.ops)
        for count, size, sources in table.frames:
            frame, at = payload[at : at + size], at + size
            filled, dropped = [], b""
            for _ in range(count):
                copy, drop, insert = (number * unit for number in next(ops))
                filled.append((base[end : end + copy], insert))
                dropped += base[end + copy : end + copy + drop]
                end += copy + drop
            if sources:
                self.met["moved"] += 1
                dropped, start = b"", 0
                for skip, take in sources:
                    start += skip * unit
                    dropped += base[start : start + take * unit]
                    start += take * unit
            known = dropped if len(dropped) <= 64 << 20 else b""
            data = unpacked(frame, known, sum(insert for _, insert in filled))
            for copied, insert in filled:
                made += copied + data[:insert]
                data = data[insert:]
        expect(next(ops, None) is None, "an op has no frame")
        expect(at == len(payload), "a delta goes on after its last frame")
        return made + base[end:]


def main(root: Path, backup: str, target: Path) -> None:
    """Restore one backup, and print what was met."""
    repository = Repository(root)
    manifest = repository.manifest(backup)
    collection = repository.content(manifest["collection_sha256"])
    expect(len(collection) == manifest["collection_bytes"], "the collection has another size")
    (target / "collection.media").mkdir(parents=True)
    (target / "collection.anki2").write_bytes(collection)
    met, repository.met = repository.met, dict.fromkeys(repository.met, 0) | {"units": set()}
    lines = repository.content(manifest["media_list"]).decode("ascii").split("\n")[:-1]
    listed, repository.met = repository.met, dict.fromkeys(repository.met, 0) | {"units": set()}
    files = [json.loads(line) for line in lines]
    names = [name.encode("utf-8", "surrogateescape") for name, *_ in files]
    expect(names == sorted(set(names)), "the list of media is out of order")
    expect(len(files) == manifest["media_files"], "the list of media is of another length")
    expect(sum(file[1] for file in files) == manifest["media_bytes"], "media are of another size")
    for (_, size, _, digest), name in zip(files, names, strict=True):
        expect(name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name, "a name leads away")
        data = repository.content(digest)
        expect(len(data) == size, "a media file has another size")
        with open(bytes(target / "collection.media") + b"/" + name, "xb") as file:
            file.write(data)
    expect(re.fullmatch(r"v1:[0-9a-f]{64}", manifest["content_hash"]), "no content hash")
    expect(
        "anki_backup" not in sys.modules and "zstandard" not in sys.modules,
        "this is not by the document alone",
    )
    told = {"collection": met, "media_list": listed, "media": repository.met}
    print(json.dumps(told, default=sorted))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
