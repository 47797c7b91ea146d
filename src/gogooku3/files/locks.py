"""One writer at a time: a lock that the system releases when its process ends, however it ends."""

import datetime as dt
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gogooku3.errors import DataError


@contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    The empty lock file stays. While the lock is held, `<path>.holder` names the process, its host and the
    time; the note of a killed process is ignored.

    Args:
        path: lock file, in a folder that exists.
        refusal: start of the error message for a second process; the holder and advice follow.

    Raises:
        DataError: another process holds the lock, or the lock file is a link, a pipe or a folder.
    """
    lock, note = FileLock(path), holder_note(path)
    for file in (path, note):
        # Opening a pipe would wait for its other end, and a link would empty another file.
        if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
            raise DataError(f"{file} is not a plain file, so it can't serve as a lock; remove it")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{refusal}{_holder(note)}; wait until it has ended, or stop it") from None
    since = dt.datetime.now().astimezone().isoformat(" ", "seconds")
    try:
        # A full disk must not prevent the lock; the holder is then unknown.
        with suppress(OSError):
            note.write_text(f"process {os.getpid()} on {platform.node()} since {since}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        lock.release()


def is_locked(path: Path) -> bool:
    """Return True if a process holds the lock of a file.

    Where the file may not be written, and so not locked, its holder's note decides.
    """
    if not path.is_file():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return holder_note(path).is_file()


def holder_note(path: Path) -> Path:
    """File that names the holder of a lock."""
    return path.with_name(f"{path.name}.holder")


def _holder(note: Path) -> str:
    """The holder in brackets; empty if unknown."""
    with suppress(OSError), note.open(encoding="utf-8", errors="replace") as file:
        text = file.read(200)
        if text.startswith("process ") and text.isprintable():
            return f" ({text})"
    return ""
