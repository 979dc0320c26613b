"""How often a client may try: counts that fade, bounded in number."""

from __future__ import annotations

import time
from collections import OrderedDict

MOST = 4096


class Limit:
    """Lets each client try `burst` times at once, then once in `every_s` seconds."""

    def __init__(self, burst: int, every_s: float) -> None:
        self.burst, self.every_s = burst, every_s
        # When the client's tries will have faded; the oldest clients are forgotten first.
        self._full: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Return how long a client has to wait; 0 when it may try now. Counts nothing."""
        ahead = self._full.get(client, 0.0) - time.monotonic()
        over = ahead - (self.burst - 1) * self.every_s
        return int(over) + 1 if over > 0 else 0

    def count(self, client: str) -> None:
        """Count one try."""
        begin = max(self._full.pop(client, 0.0), time.monotonic())
        self._full[client] = begin + self.every_s
        while len(self._full) > MOST:
            self._full.popitem(last=False)

    def forgive(self, client: str) -> None:
        """Forget a client's tries: one of them was right."""
        self._full.pop(client, None)
