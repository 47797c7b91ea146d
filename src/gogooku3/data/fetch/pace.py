"""Keeps requests of all threads within a source's limit: evenly spaced, and held back when told to wait."""

import threading
import time
from collections.abc import Callable


class Pace:
    """A turn every `60 / per_minute` seconds, handed out one by one.

    Args:
        per_minute: turns a minute.
        clock, sleep: of the machine; others for tests.
    """

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = 60.0 / per_minute
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = clock()

    def turn(self) -> None:
        """Wait until it is this caller's turn."""
        with self._lock:
            mine = max(self._next, self._clock())
            self._next = mine + self.seconds
        if (wait := mine - self._clock()) > 0:
            self._sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let nobody's next turn come before `seconds` from now: the source asked for a rest."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)
