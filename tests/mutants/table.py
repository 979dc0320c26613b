"""The breakages, room by room, in the order in which bytes travel."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.disk import DISK

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
    *DISK,
    Mutant(
        "a manifest is written before its objects are on disk",
        "anki_backup/repository.py",
        "        self.store.flush()\n        stats = seal(",
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
        "            for part in PARTS if gaps.tell_pruned(self.history, now()) else PARTS[1:]:\n",
        "            for part in PARTS[1:]:\n",
        (KILLS,),
    ),
    Mutant(
        "a run whose writer died is not recorded",
        "anki_backup/repository.py",
        'if newest and newest["event"] == "run_started" and not put_back:',
        "if False:",
        ("tests/test_repository_log.py",),
    ),
    Mutant(
        "who writes to a repository does not hold its lock",
        "anki_backup/repository.py",
        'with locks.lock(self.root / "state" / "lock", command, wait_s):',
        "if True:",
        ("tests/test_repository.py",),
    ),
    Mutant(
        "a rollback that was interrupted stays so",
        "anki_backup/repository.py",
        "self.settled = swap.settle(self.root)",
        "self.settled = None",
        ("tests/test_rollback.py",),
    ),
    Mutant(
        "the current backup is pointed to before it is there",
        "anki_backup/runs.py",
        "        attempt = Attempt(repository, source, options)\n",
        "        attempt = Attempt(repository, source, options)\n"
        "        from anki_backup.model import now\n"
        "        repository.point(source.name, repository.next_place(now())[0])\n",
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
        'if table != "config" or not WINDOWS.fullmatch(values[0][1]):',
        "if True:",
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
        "anki_backup/walk.py",
        "            self.damaged[name] = error.message\n            left += self._children.get(name, [])\n",
        "            self.damaged[name] = error.message\n",
        (VERIFY,),
    ),
    Mutant(
        "verify does not read the stored bytes of media",
        "anki_backup/verify.py",
        "                for _ in self.store.blocks(name):\n",
        "                for _ in ():\n",
        ("tests/test_damaged_parts.py",),
    ),
    Mutant(
        "verify does not look at the event log",
        "anki_backup/around.py",
        "damaged = events.damaged(history.log)",
        "damaged = []",
        (VERIFY,),
    ),
]
