"""The process and its machine: usable cores, and how glibc reuses freed memory (no effect without glibc)."""

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
    """Inside, blocks of up to 1 GiB are reused when freed, not given back to the system and faulted in anew.

    A step of training frees and takes the same hundreds of megabytes again. Fresh pages for them take about a
    sixth of its processor time (`benchmarks/training_step.py`); keeping them raises peak memory.
    Afterwards everything freed goes back to the system. Where there is no glibc, nothing happens.

    Args:
        largest: bytes; larger blocks go back to the system when freed.
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
