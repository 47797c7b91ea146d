"""Usable cores, and glibc's reuse of freed memory (no effect without glibc)."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP, _USUAL = 2**30, 2**25
"""Bytes. glibc itself raises its thresholds up to 32 MiB for a program that frees large blocks."""


def available_cores() -> int:
    """Cores this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def freed_memory_kept(largest: int = _KEEP) -> Iterator[None]:
    """Keep freed blocks of up to 1 GiB for reuse instead of returning them to the system.

    Work in blocks frees and allocates arrays of the same size again and again, and fresh pages for them take
    processor time; keeping them raises peak memory. On exit all freed memory returns to the system. No effect
    without glibc.

    Args:
        largest: bytes; larger blocks return to the system when freed.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield
        return
    mallopt(_MMAP_THRESHOLD, largest)
    mallopt(_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _USUAL)
        mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        trim(0)
