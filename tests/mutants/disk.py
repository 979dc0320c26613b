"""The breakages of what brings bytes to the disk: objects, `durable`, the lock."""

from __future__ import annotations

from tests.mutants import Mutant

DISK = [
    Mutant(
        "an object is believed without being read back",
        "anki_backup/objects.py",
        "if payloads.pread(fd, len(part), at, info.name) != part:",
        "if False:",
        ("tests/test_objects.py",),
    ),
    Mutant(
        "the content of an object is given without comparing its hash",
        "anki_backup/objects.py",
        "yield block\n        if digest.hexdigest() != name:",
        "yield block\n        if False:",
        ("tests/test_objects.py",),
    ),
    Mutant(
        "an object that a crash tore is taken for a whole one",
        "anki_backup/objects.py",
        "        except DamageError:\n            return False\n",
        "        except DamageError:\n            return True\n",
        ("tests/test_objects.py",),
    ),
    Mutant(
        "a whole object that a crash left unsynced is not synced",
        "anki_backup/objects.py",
        "            return False\n        self.batch.add(self._file(name))\n        return True\n",
        "            return False\n        return True\n",
        ("tests/test_objects.py",),
    ),
    Mutant(
        "a new form of an object is renamed into place before it is on disk",
        "anki_backup/objects.py",
        "durable.sync_file(incoming + durable.PART)",
        "pass",
        ("tests/faults/test_powercut_prune.py",),
    ),
    Mutant(
        "a file gets its name before its bytes are on disk",
        "anki_backup/durable.py",
        "        sync_file(part)\n        os.rename(part, path)\n",
        "        os.rename(part, path)\n        sync_file(path)\n",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a renamed file's directory is not synced",
        "anki_backup/durable.py",
        "        sync_directory(path.absolute().parent)\n",
        "",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "what the disk refuses is no error of ours",
        "anki_backup/durable.py",
        """raise StorageError(f"can't write {path}: {reason}", hint=hint) from error""",
        "raise",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a file that could not be finished stays behind",
        "anki_backup/durable.py",
        "            with suppress(OSError):\n                os.unlink(part)\n            raise\n",
        "            raise\n",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a link that lies where a file is to be made is followed",
        "anki_backup/durable.py",
        "            os.unlink(part)\n            fd = os.open(part, CREATE, 0o600)\n",
        "            fd = os.open(part, os.O_RDWR | os.O_TRUNC)\n",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a line of the log is not synced",
        "anki_backup/durable.py",
        "                if sync:\n",
        "                if False:\n",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a torn line of the log swallows the next one",
        "anki_backup/durable.py",
        '(b"\\n" if torn else b"") + line',
        "line",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "the lock is not taken",
        "anki_backup/locks.py",
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        ("tests/test_locks.py",),
    ),
    Mutant(
        "a lock file that was replaced is believed",
        "anki_backup/locks.py",
        "return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))",
        "return True",
        ("tests/test_locks.py",),
    ),
    Mutant(
        "the directories of new objects are not synced",
        "anki_backup/durable.py",
        "for directory in sorted(directories):",
        "for directory in []:",
        ("tests/test_batches.py",),
    ),
]
