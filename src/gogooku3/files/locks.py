"""One writer at a time: a lock that the kernel gives back when its process ends, however it ends."""

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gogooku3.errors import DataError

_LONGEST_NOTE = 200
"""Bytes read of what a holder wrote."""


@contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    The file is left behind, empty. Meanwhile it tells who holds the lock, for the second comer's sake; what a
    killed holder wrote there means nothing.

    Args:
        path: file of the lock, in a folder that exists.
        refusal: said to the second comer, before who holds the lock and what to try.

    Raises:
        DataError: another process holds the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{refusal}{_holder(handle)}; wait until it has ended, or stop it") from None
        _write_note(handle, f"process {os.getpid()} on {os.uname().nodename} since {_now()}")
        try:
            yield
        finally:
            _write_note(handle, "")
    finally:
        os.close(handle)


def _write_note(handle: int, note: str) -> None:
    # A full disk keeps nobody from the lock: who holds it is then unknown.
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, note.encode(), 0)


def _holder(handle: int) -> str:
    """Who holds the lock, as a holder tells it; empty if unknown."""
    note = os.pread(handle, _LONGEST_NOTE, 0).decode(errors="replace")
    return f" ({note})" if note.startswith("process ") and note.isprintable() else ""


def _now() -> str:
    """The time here, with its distance from UTC."""
    return dt.datetime.now().astimezone().isoformat(" ", "seconds")
