"""SIGINT and SIGTERM stop a run where its work is kept: at once, or at the next batch of a network."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gogooku3.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Turns the two signals into `Interrupted` while `listening`.

    Between networks that happens at once, for every file is written whole. While a network trains
    (`deferred`), the request waits for the loop to ask (`check`), which first writes a checkpoint; a second
    signal waits no longer.

    Outside the main thread Python knows no signals; nothing is changed there.

    Attributes:
        requested: number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._deferred = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs, then as before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals (again: Lightning puts a handler of its own over that of SIGTERM)."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a request wait for `check` while the block runs."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Stop if that was asked for.

        Raises:
            Interrupted: it was.
        """
        if self.requested is not None:
            raise Interrupted(self.requested)

    def _handle(self, number: int, frame: FrameType | None, *_: Any) -> None:
        first, self.requested = self.requested is None, number
        if self._deferred and first:
            print("stopping after this batch; once more stops at once", file=sys.stderr, flush=True)
        else:
            raise Interrupted(number)
