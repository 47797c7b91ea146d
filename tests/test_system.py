"""Freed memory is kept inside the context and returned afterwards, measured in page faults."""

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gogooku3.system import available_cores, freed_memory_kept

GLIBC = hasattr(ctypes.CDLL(None), "mallopt")


AGAIN = """
import resource
import psutil, torch
from gogooku3.system import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(25_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
with freed_memory_kept():
    # The first allocations may not fit into the freed blocks.
    faults()
    kept, inside = faults(), psutil.Process().memory_info().rss
print(usual, kept, inside, psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc can keep freed memory")
def test_freed_blocks_are_reused_inside_and_returned_afterwards() -> None:
    # In a separate process: earlier allocations change which blocks are reused.
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, check=True)
    usual, kept, inside, afterwards = map(int, done.stdout.split())
    assert kept < usual / 4
    assert afterwards < inside - 50_000_000


LARGER = """
import psutil, torch
from gogooku3.system import freed_memory_kept
with freed_memory_kept(largest=50_000_000):
    before = psutil.Process().memory_info().rss
    torch.ones(25_000_000)
    print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc can keep freed memory")
def test_larger_blocks_are_returned_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", LARGER], capture_output=True, check=True)
    assert int(done.stdout) < 50_000_000


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    with freed_memory_kept(largest=1):
        pass


def test_an_exception_inside_propagates() -> None:
    with pytest.raises(ValueError, match="inside"), freed_memory_kept():
        raise ValueError("inside")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to a core")
def test_a_process_pinned_to_one_core_has_one() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert available_cores() == len(before)
