# SPDX-License-Identifier: GPL-3.0-or-later
"""One deadline for a whole task, and the pauses between attempts within it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable


class Deadline:
    """Counts down from ``seconds`` on a monotonic clock."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self.seconds = seconds
        self.clock = clock
        self._sleep = sleep
        self._start = clock()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self.seconds - self.spent)

    def grace(self, seconds: float) -> float:
        """The time for a last look: ``seconds``, counted from the end at the latest."""
        return max(self.remaining, min(seconds, self.seconds + seconds - self.spent))

    @property
    def expired(self) -> bool:
        """True when nothing is left."""
        return self.remaining <= 0

    def pause(self, seconds: float) -> bool:
        """Sleep, but not past the end; False when the end has come."""
        self._sleep(min(seconds, self.remaining))
        return not self.expired


class Backoff:
    """Pauses with full jitter: up to 0.5 s, doubling to at most 15 s; from the start again after a healthy minute.

    Jitter keeps the tasks of many hosts, which one fault hits together, from coming back together.
    """

    FIRST, MOST, HEALTHY = 0.5, 15.0, 60.0

    def __init__(self, deadline: Deadline, *, jitter: Callable[[], float] = random.random) -> None:
        self._deadline = deadline
        self._jitter = jitter
        self._ceiling = self.FIRST
        self._last = deadline.spent

    def pause(self, at_least: float = 0.0) -> bool:
        """Sleep ``at_least`` seconds (what the server asked for) or a random time; False at the deadline's end."""
        now = self._deadline.spent
        if now - self._last > self.HEALTHY:
            self._ceiling = self.FIRST
        wanted = max(at_least, self._jitter() * self._ceiling)
        self._ceiling = min(self._ceiling * 2, self.MOST)
        going = self._deadline.pause(wanted)
        self._last = self._deadline.spent
        return going
