"""SIGINT and SIGTERM stop a run without losing work: at once, or at the next batch while a network trains."""

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
    """Raise `Interrupted` on either signal while `listening`.

    Between networks it is raised at once, because files are written atomically. While a network trains
    (`deferred`), the training loop writes a checkpoint and then calls `check`, which raises; a second signal
    raises at once.

    Python handles signals in the main thread only; in others this has no effect.

    Attributes:
        requested: number of the received signal, or None.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._deferred = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs, then restore the previous handlers."""
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
        """Install the handlers; call again after Lightning has replaced that of SIGTERM."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a request to `check` while the block runs."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal was received."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def _handle(self, number: int, frame: FrameType | None, *_: Any) -> None:
        first, self.requested = self.requested is None, number
        if self._deferred and first:
            print(
                "stopping after this batch; send the signal again to stop at once",
                file=sys.stderr,
                flush=True,
            )
        else:
            raise Interrupted(number)
