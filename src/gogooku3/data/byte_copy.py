"""Copies a file's first bytes into another as cheaply as the system can; every way gives the same bytes.

A large copy that nobody reads next costs least where the file system lets both files share blocks; elsewhere,
past the system's cache of files, which it would fill.
"""

import fcntl
import mmap
import os
import struct
from contextlib import suppress
from threading import Event
from typing import BinaryIO

from gogooku3.errors import DataError

_PART = 1 << 22
"""Bytes copied at a time."""
_BLOCK = 1 << 12
"""Bytes. Files share whole blocks, and what goes past the cache begins and ends with one."""
_SHARE = 0x4020940D
"""FICLONERANGE of Linux (`man ioctl_ficlonerange`)."""


def copy_beginning(source: BinaryIO, out: BinaryIO, end: int, stop: Event) -> None:
    """Write the first `end` bytes of a file to an empty one, on the disk, too.

    Args:
        source: a file by its name.
        out: another, open for writing.
        end: bytes.
        stop: once set, the rest is left out.

    Raises:
        DataError: the file is shorter.
    """
    done = _share(source, out, end) or _past_the_cache(source, out, end, stop)
    out.truncate(done)
    copy_part(source, out, done, end, stop)
    out.flush()
    os.fsync(out.fileno())


def copy_part(source: BinaryIO, out: BinaryIO, begin: int, end: int, stop: Event) -> None:
    """Write a part of a file to the end of another.

    Raises:
        DataError: the file is shorter.
    """
    source.seek(begin)
    out.seek(0, os.SEEK_END)
    while begin < end and not stop.is_set():
        part = source.read(min(_PART, end - begin))
        if not part:
            raise DataError(f"{source.name} has shrunk while it was read; build it anew")
        out.write(part)
        begin += len(part)


def _share(source: BinaryIO, out: BinaryIO, end: int) -> int:
    """How many bytes both files share from now on, until one of them changes (Btrfs, XFS); 0 elsewhere."""
    size = end - end % _BLOCK
    if size:
        with suppress(OSError):
            fcntl.ioctl(out.fileno(), _SHARE, struct.pack("=qQQQ", source.fileno(), 0, size, 0))
            return size
    return 0


def _past_the_cache(source: BinaryIO, out: BinaryIO, end: int, stop: Event) -> int:
    """How many bytes could be copied so (Linux). What the cache has of the old file is taken from it."""
    done = 0
    with suppress(AttributeError, OSError), mmap.mmap(-1, _PART) as part, memoryview(part) as room:
        mode = os.O_RDONLY if _is_cached(source, end // 2) else os.O_RDONLY | os.O_DIRECT
        reader = os.open(source.name, mode)
        try:
            writer = os.open(out.name, os.O_WRONLY | os.O_DIRECT)
            try:
                while (left := min(_PART, end - done) // _BLOCK * _BLOCK) and not stop.is_set():
                    with room[:left] as wanted:
                        size = os.preadv(reader, [wanted], done) // _BLOCK * _BLOCK
                    if not size:
                        break
                    with room[:size] as read:
                        done += os.pwrite(writer, read, done)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
    return done


def _is_cached(source: BinaryIO, place: int) -> bool:
    """Whether a byte can be had without waiting for the disk. To ask is to have its neighbours read, too."""
    try:
        return os.preadv(source.fileno(), [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except OSError:
        return False
