"""One writer at a time: a lock that the kernel gives back when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gogooku3.errors import DataError


@contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file while the block runs. The file is left behind, empty; it means nothing.

    Args:
        path: file of the lock, in a folder that exists.
        refusal: said to the second comer, before what to try.

    Raises:
        DataError: another process holds the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{refusal}; wait until it has ended, or stop it") from None
        yield
    finally:
        os.close(handle)
