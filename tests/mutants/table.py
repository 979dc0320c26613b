"""The breakages, room by room, in the order in which bytes travel."""

from __future__ import annotations

from tests.mutants import Mutant

KILLS = "tests/faults/test_crash_run.py::test_a_killed_run_keeps_every_backup_and_the_next_run_works"
POWER = "tests/faults/test_powercut_run.py"
RUNS = "tests/test_runs.py"
UNCOMMITTED = f"{RUNS}::test_a_run_whose_backup_could_not_be_committed_is_made_up_for_by_the_next"
VERIFY = "tests/test_verify.py"

MUTANTS = [
    Mutant(
        "the comparison of pages leaves out the last one of a block",
        "anki_backup/pages.py",
        "for at in range(0, len(new), unit):",
        "for at in range(0, len(new) - unit, unit):",
        ("tests/test_deltas.py",),
    ),
    Mutant(
        "pages after the first block are counted one too low",
        "anki_backup/pages.py",
        "first += len(new) // unit",
        "first += len(new) // unit - 1",
        ("tests/test_deltas.py",),
    ),
    Mutant(
        "the end of a longer base is not dropped",
        "anki_backup/pages.py",
        "return Op(copy, drop, 0) if drop > 0 else None",
        "return None",
        ("tests/test_deltas.py",),
    ),
    Mutant(
        "a frame may unpack to more than its table says",
        "anki_backup/deltas.py",
        "if zstandard.frame_content_size(frame) != size:",
        "if zstandard.frame_content_size(frame) < size:",
        ("tests/test_deltas.py",),
    ),
    Mutant(
        "a delta is applied to a base that it doesn't fit",
        "anki_backup/deltas.py",
        "if base > base_size or made + base_size - base != size:",
        "if base > base_size:",
        ("tests/test_deltas.py",),
    ),
    Mutant(
        "what a chain of deltas gives is not hashed",
        "anki_backup/chains.py",
        "    if digest_of(path) != name:\n",
        "    if False:\n",
        ("tests/test_chains.py",),
    ),
    Mutant(
        "a chain may go on without end",
        "anki_backup/chains.py",
        "if len(chain) > STEPS_LIMIT or any(",
        "if any(",
        ("tests/test_chains.py",),
    ),
    Mutant(
        "a damaged link carries another delta",
        "anki_backup/chains.py",
        "return all(store.payload_is_sound(info.name) for info in ancestry(store, name))",
        "return bool(ancestry(store, name))",
        ("tests/test_chains.py",),
    ),
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
        "if size != info.size or digest.hexdigest() != name:",
        "if size != info.size:",
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
        "for directory in sorted(self._directories):",
        "for directory in []:",
        ("tests/test_durable.py",),
    ),
    Mutant(
        "a manifest is written before its objects are on disk",
        "anki_backup/repository.py",
        "        self.batch.flush()\n        stats = seal(",
        "        stats = seal(",
        (POWER,),
    ),
    Mutant(
        "the name of a backup is not synced",
        "anki_backup/repository.py",
        "durable.sync_directory(folder.parent)",
        "pass",
        (POWER,),
    ),
    Mutant(
        "what a rollback replaces has no second name on disk first",
        "anki_backup/swap.py",
        "for changed in (old, old.parent, old.parent.parent):",
        "for changed in ():",
        ("tests/faults/test_powercut_rollback.py",),
    ),
    Mutant(
        "a manifest may name its backup what it likes",
        "anki_backup/history.py",
        "if manifest.id != backup_id or manifest.repository != self.repository:",
        "if False:",
        (VERIFY,),
    ),
    Mutant(
        "what a killed writer left is not swept away",
        "anki_backup/repository.py",
        '            durable.sweep(self.root / "backups")\n',
        "",
        (KILLS,),
    ),
    Mutant(
        "the current backup is pointed to before it is there",
        "anki_backup/runs.py",
        "            attempt = Attempt(repository, source, options)\n",
        "            attempt = Attempt(repository, source, options)\n"
        "            from anki_backup.model import now\n"
        "            repository.point(source.name, repository.next_place(now())[0])\n",
        (KILLS,),
    ),
    Mutant(
        "the mark moves although the run failed",
        "anki_backup/attempt.py",
        "        backup = self._commit(capture, change, found, reading)\n",
        "        if mark:\n"
        "            self._confirm(mark, capture, found)\n"
        "        backup = self._commit(capture, change, found, reading)\n",
        (UNCOMMITTED,),
    ),
    Mutant(
        "a cache that is not what the mark says serves as a base",
        "anki_backup/attempt.py",
        "if base and change.old_sha256 != base:",
        "if False:",
        (RUNS,),
    ),
    Mutant(
        "folding a deck counts as a change",
        "anki_backup/content.py",
        "COMMON_MASK = range(1, 8)",
        "COMMON_MASK = range(3, 8)",
        ("tests/test_content.py",),
    ),
    Mutant(
        "the state of windows counts as a change",
        "anki_backup/content.py",
        'if table == "config" and WINDOWS.fullmatch(values[0][1]):',
        "if False:",
        ("tests/test_content.py",),
    ),
    Mutant(
        "a card that comes back by itself counts as changed",
        "anki_backup/content.py",
        "CASE WHEN queue NOT IN (-2,-3) THEN queue WHEN",
        "CASE WHEN queue NOT IN (-9) THEN queue WHEN",
        ("tests/test_content.py",),
    ),
    Mutant(
        "an edited note does not count as a change",
        "anki_backup/content.py",
        "SELECT id,guid,mid,mod,tags,flds,flags,data FROM notes ORDER BY id",
        "SELECT id,guid,mid,tags,flags,data FROM notes ORDER BY id",
        ("tests/test_content.py",),
    ),
    Mutant(
        "a table that breaks off in the middle is only another hash",
        "anki_backup/content.py",
        "if rows and (not steps or steps[-1] + 1 < rows):",
        "if False:",
        ("tests/test_content.py",),
    ),
    Mutant(
        "verify names only the backup of the damaged object, not those that stand on it",
        "anki_backup/verify.py",
        "            pending += self.children.get(found, [])\n",
        "",
        (VERIFY,),
    ),
    Mutant(
        "verify does not read the stored bytes of media",
        "anki_backup/verify.py",
        "                for _ in self.store.blocks(name):\n",
        "                for _ in ():\n",
        (VERIFY,),
    ),
    Mutant(
        "verify does not look at the event log",
        "anki_backup/verify.py",
        "for line in events.damaged(self.repository.history.log):",
        "for line in []:",
        (VERIFY,),
    ),
]
