"""A life of commands under clocks that lie, beside a plain model of what must be there.

The model knows the true time, the bytes of every backup, and which backups were made
while the clock lied. What it holds the program to:

- no traceback, and no exit status but those of the contract;
- ids are unique, and `list` is in the order in which the backups were made;
- `prune` refuses while a backup is newer than now; the newest backup, the active one
  and pinned ones stay; and of what the policy keeps under the true time, backups with
  wrong times cost no more than their own share: one place in each rule, half of `within`;
- `status` calls nothing safe on the word of a run that is too old or yet to come;
- who has waited for the cooldown can roll back;
- when the clock is right again, all goes on, and every backup comes back byte for byte.
"""

from __future__ import annotations

import json
import random
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from anki_backup.repository import Repository
from tests.faults import clocks
from tests.faults.clock_model import POLICIES, ZONE, Made, must_not_be_gone
from tests.faults.clocks import Clock, Setting
from tests.faults.conftest import CONFIG, SOURCE, study
from tests.faults.inspect_repository import sha256
from tests.faults.program import Answer, Warm
from tests.warm import TIMEOUT_S

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COOLDOWN, SKEW, AGE, SLACK = timedelta(minutes=10), HOUR, timedelta(hours=26), timedelta(minutes=2)
# Two days before summer time begins.
BEGIN = datetime(2026, 3, 27, 10, tzinfo=UTC)
# Around them clocks and calendars change their minds.
MOMENTS = [
    datetime(1970, 1, 2, tzinfo=UTC),
    datetime(1999, 12, 31, 22, 59, 59, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
    datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC),
    datetime(2200, 2, 28, 22, 59, 59, tzinfo=UTC),
]
LEAPS = [HOUR, 5 * HOUR, DAY, 30 * DAY, 400 * DAY, 3650 * DAY]
# A run looks at the clock about thirty times: an hour at each look is a day.
MANNERS: list[str | int] = ["runs", "runs", "stands", 2, -2, 3600]
CODES = {
    "run": (0, 3),
    "prune": (0, 7),
    "status": (0, 1),
    "diff": (0, 5),
    "rollback": (0, 5, 75),
}
READING = [["runs"], ["verify"], ["show", "latest"], ["diff"], ["find", "question"]]


class Wrong(AssertionError):
    """The program did what it must not; the message says what, and after which steps."""


class Life:
    """One life, all of it decided by its seed."""

    def __init__(self, seed: int, base: Path, clock: Clock, program: Warm) -> None:
        self.drawn, self.base, self.clock, self.program = random.Random(seed), base, clock, program
        words, self.policy = self.drawn.choice(list(POLICIES.items()))
        (base / "config.toml").write_text(CONFIG + (f"[retention]\n{words}\n" if words else ""))
        self.true = BEGIN
        self.now = Setting(self.true)
        clock.set(self.now)
        self.within: Setting | None = None
        self.honest = True
        self.made: dict[str, Made] = {}
        self.active: str | None = None
        self.studied = 0
        self.is_new = True
        # When the last good run began by the program's clock; None: nobody can say.
        self.last_good: datetime | None = None
        self.steps: list[str] = []

    def live(self, steps: int) -> None:
        """Take some steps, then set the clock right and see that all is well."""
        self.study()
        self.run()
        for _ in range(steps):
            self.set_clock()
            self.step()
        self.end()

    def step(self) -> None:
        """Do one thing that a person or a timer would do."""
        kind = self.drawn.choice(
            "run run run run rest prune prune status status pin back back undo look".split()
        )
        if kind == "run":
            self.study()
            self.run()
        elif kind == "look":
            self.type(*self.drawn.choice(READING))
            listed = json.loads(self.type("list", "--all", "--json").stdout)["backups"]
            ids = [backup["id"] for backup in listed]
            self.hold(ids == list(self.made)[::-1], f"listed: {ids}")
            self.hold(not self.listed(), "reading made a backup")
        else:
            getattr(self, kind)()

    def set_clock(self) -> None:
        """Let time go by, then let the clock tell the truth or not."""
        self.true += self.drawn.choice([timedelta(minutes=5), HOUR, 9 * HOUR, DAY, 3 * DAY, self._midnight()])
        self.honest = self.drawn.random() < 0.5
        self.within = None
        self.now = Setting(self.true, "stands" if self.drawn.random() < 0.2 else "runs")
        if not self.honest:
            self.now = self._lie()
            self.within = self._lie() if self.drawn.random() < 0.3 else None
        elif self.drawn.random() < 0.1:
            self.within, self.honest = self._lie(), False
        self.clock.set(self.now)

    def _lie(self) -> Setting:
        leap = self.drawn.choice(LEAPS) * self.drawn.choice([1, -1])
        at = self.drawn.choice([*MOMENTS, *[self.true + leap] * 7])
        return Setting(max(at, MOMENTS[0]), self.drawn.choice(MANNERS))

    def _midnight(self) -> timedelta:
        """Return how far it is to the last second of the day, as people there see it."""
        local = self.true.astimezone(ZONE)
        end = local.replace(hour=23, minute=59, second=59, microsecond=0)
        return max(end - local, timedelta(minutes=1))

    def type(self, *words: str) -> Answer:
        """Type a command and see that it ends as the contract says."""
        self.steps.append(f"{self.now.at:%Y-%m-%dT%H:%M:%SZ} {self.now.manner}: {' '.join(words)}")
        with clocks.looking_for_its_lock(self.program.processes, TIMEOUT_S - 5) as waiting:
            answer = self.program(self.base, *words)
        if answer.code == -signal.SIGALRM and waiting:
            # A lock of faketime's that nobody holds, now and then: a new server has another one.
            # What was killed can be typed again.
            self.steps.append(f"(faketime kept {len(waiting)} threads waiting)")
            self.program.close()
            answer = self.program(self.base, *words)
        self.hold(answer.code in CODES.get(words[0], (0,)), f"exit {answer.code}: {answer.stderr[-1500:]}")
        self.hold("Traceback" not in answer.stderr + answer.stdout, answer.stderr[-1500:])
        return answer

    def hold(self, right: bool, what: str) -> None:
        """Raise Wrong with the whole story unless something is right."""
        if not right:
            raise Wrong("\n".join([what, f"policy {self.policy}", *self.steps]))

    def study(self) -> None:
        self.studied += 1
        study(self.base / SOURCE, f"studied {self.studied}")
        self.is_new = True

    def run(self) -> None:
        before, bytes_now = dict(self.made), sha256(self.base / SOURCE / "collection.anki2")
        log = self.base / "repository/state/events.jsonl"
        with self.clock.leaping(self.within, when_grown=log):
            answer = self.type("run", "--json")
        (told,) = json.loads(answer.stdout)["results"]
        self.hold(told["outcome"] in (["created"] if self.is_new else ["created", "skipped"]), str(told))
        self.hold(answer.code == 0 or "is newer than now" in answer.stderr, answer.stderr)
        new = self.listed(bytes_now)
        self.hold(len(new) == (told["outcome"] == "created"), f"a run made {new}")
        # Where the clock leapt meanwhile, it began at one time and ended at another.
        self.last_good = self.now.at if self.now.steady and not self.within else None
        self.is_new, self.active = False, new[0] if new else self.active
        self.judged(before)

    def rest(self) -> None:
        self.run()

    def prune(self) -> None:
        before = dict(self.made)
        newest = max(made.created_at for made in before.values())
        planned = self.type("prune", "--dry-run", "--json")
        self.listed()
        self.hold(self.made.keys() == before.keys(), "a plan removed something")
        answer = self.type("prune", "--yes", "--json")
        if self.now.steady and abs(self.now.at - newest) > SLACK:
            self.hold(answer.code == (7 if self.now.at < newest else 0), f"exit {answer.code}, {newest}")
        self.listed()
        self.judged(before)
        if answer.code == planned.code == 0 and self.now.steady:
            goes = {
                verdict["backup"] for verdict in json.loads(planned.stdout)["verdicts"] if not verdict["keep"]
            }
            self.hold(before.keys() - self.made.keys() == goes, f"planned {goes}")

    def status(self) -> None:
        answer = self.type("status", "--json")
        told = json.loads(answer.stdout)
        self.hold(told["safe"] == (answer.code == 0), str(told))
        if not self.now.steady or self.last_good is None:
            return
        age = self.now.at - self.last_good
        if told["safe"]:
            self.hold(
                -SKEW - SLACK <= age <= AGE + SLACK, f"safe by a run of {self.last_good}: {told['sentence']}"
            )
        else:
            self.hold(
                not -SKEW + SLACK <= age <= AGE - SLACK, f"a run of {self.last_good}: {told['sentence']}"
            )

    def pin(self) -> None:
        name = self.drawn.choice(sorted(self.made))
        self.type("pin", name)
        self.made[name].pinned = True

    def back(self) -> None:
        target = self.drawn.choice(sorted(self.made))
        if self.rolled_back(target).code != 75:
            return
        # As somebody does who was told how long to wait.
        self.now = self.now.later(COOLDOWN + SLACK)
        self.clock.set(self.now)
        self.hold(self.rolled_back(target).code == 0, "who waited for the cooldown is still locked out")

    def undo(self) -> None:
        self.rolled_back("--undo")

    def rolled_back(self, *words: str) -> Answer:
        bytes_now = sha256(self.base / SOURCE / "collection.anki2")
        answer = self.type("rollback", *words, "--yes", "--json")
        new = self.listed(bytes_now)
        self.hold(len(new) <= 1, f"a rollback made {new}")
        if answer.code == 0:
            told = json.loads(answer.stdout)
            self.active, self.is_new, self.last_good = told["to"], False, None
            if told["safety"]:
                self.made[told["safety"]].pinned = True
        return answer

    def listed(self, bytes_now: str = "") -> list[str]:
        """Bring the model up to what is there; return what is new. Order and ids must be right."""
        found = Repository.open(self.base / "repository").backups()
        ids = [backup.id for backup in found]
        places = [backup.sequence for backup in found]
        self.hold(len(set(ids)) == len(ids), f"an id stands twice: {ids}")
        self.hold(places == sorted(set(places), reverse=True), f"not in order: {places}")
        new = [name for name in ids if name not in self.made]
        self.hold(not new or ids[: len(new)] == new, f"what is new is not the newest: {ids}")
        self.made = {name: self.made[name] for name in reversed(ids) if name in self.made}
        for backup in reversed(found):
            if backup.id in new:
                self.hold(backup.collection_sha256 == bytes_now, f"{backup.id} is something else")
                honest = self.honest and self.now.steady
                self.made[backup.id] = Made(bytes_now, backup.created_at, honest)
        return new

    def judged(self, before: dict[str, Made]) -> None:
        """See that nothing is gone that must stay; `before` is what was there before the command."""
        there = {**before, **self.made}
        why = must_not_be_gone(self.policy, there, self.active, there.keys() - self.made.keys())
        self.hold(not why, why)

    def end(self) -> None:
        """Set the clock right: the next run works, and everything that is there is what it was."""
        self.true += HOUR
        self.honest, self.within, self.now = True, None, Setting(self.true)
        self.clock.set(self.now)
        self.study()
        self.run()
        answer = self.type("status", "--json")
        self.hold(answer.code == 0, f"not safe after a good run: {answer.stdout}")
        self.type("verify", "--read-data")
        repository = Repository.open(self.base / "repository")
        path = self.base / "back.anki2"
        for name, made in self.made.items():
            repository.restore_collection(name, path)
            self.hold(sha256(path) == made.sha256, f"{name} is not what was backed up")
