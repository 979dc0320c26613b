"""Answers of a real sync server to the driver of an account, spoiled as scripts say.

`spoiled` tells what a line of a script does, and `spoilt_account` what is judged.
"""

from __future__ import annotations

import atexit
import resource
from functools import cache

from tests.fuzz import Target, seeds
from tests.fuzz.scripts import SEEDS, mangle
from tests.fuzz.spoilt_account import Account

# After so many rounds all is made anew: what was deleted leaves a row for ever.
LIFE = 1000
GROWTH = 400 << 20
WARM = 300


class Campaign:
    """The accounts of a campaign, one after the other."""

    def __init__(self) -> None:
        self.number = self.lies = self.runs = 0
        self.account: Account | None = None
        self.first = 0
        seeds.folder()  # must outlive us
        atexit.register(self.close)

    def round(self, script: str) -> set[object]:
        """Play one round with the account of now; after a finding there is another one."""
        self.runs += 1
        if self.account and (self.account.rounds >= LIFE or self.account.was_told):
            self.close()
        if self.account is None:
            self.number += 1
            self.account = Account(seeds.folder() / f"account {self.number}")
            self.account.sync()
            self.account.home.agrees()
        try:
            ways = self.account.round(script)
        except BaseException:
            self.close()
            raise
        if self.runs == WARM:
            self.first = peak()
        assert self.runs <= WARM or peak() < self.first + GROWTH, f"grew from {self.first} to {peak()}"
        return ways

    def close(self) -> None:
        """End the account of now."""
        account, self.account = self.account, None
        if account:
            self.lies += account.lies
            account.close()


def peak() -> int:
    """Return the most bytes of memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@cache
def campaign() -> Campaign:
    """The one of this process."""
    return Campaign()


def read(data: bytes) -> set[object]:
    """Play a script."""
    return campaign().round(data.decode("utf-8", "surrogatepass"))


def end() -> str:
    """Return what was seen besides."""
    there = campaign()
    lies = there.lies + (there.account.lies if there.account else 0)
    memory = f"{there.first >> 20} to {peak() >> 20} MiB"
    return f"{there.number} accounts, {lies} lies about what an account holds, {memory}"


# The library makes room for as many bytes as an answer says that it has, up to 4 GiB; it never touches them.
TARGET = Target("sync", read, SEEDS, mangle=mangle, end=end, runs=20_000, memory=24 << 30)
