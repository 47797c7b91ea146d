"""Times the steps of a run, and collects their peak memory, dropped rows and warnings."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gogooku3.errors import visible

_GB = 1e9


@dataclass
class StepLog:
    """The log of a run.

    Attributes:
        steps: `name, seconds, peak_memory_gb` of each step.
        dropped: `step, reason, rows`.
        warnings: for the user, in order.
    """

    verbose: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the time and peak resident memory of a step; a failed step is not recorded."""
        self.say(f"{len(self.steps) + 1}. {name}")
        _reset_peak()
        started = time.perf_counter()
        yield
        seconds, peak = time.perf_counter() - started, _peak_gb()
        self.steps.append({"name": name, "seconds": seconds, "peak_memory_gb": peak})
        self.say(f"   {seconds:.1f} s, peak memory {peak:.2f} GB")

    def drop(self, step: str, reason: str, rows: int) -> None:
        """Record the rows that a step left out, if any."""
        if rows:
            self.dropped.append({"step": step, "reason": reason, "rows": rows})
            self.say(f"   {rows:,} rows left out: {reason}")

    def say(self, line: str) -> None:
        """Print a line when verbose."""
        if self.verbose:
            print(visible(line, lines=True), flush=True)

    def warn(self, line: str) -> None:
        """Record a warning and print it on standard error, verbose or not."""
        self.warnings.append(line)
        print(f"warning: {visible(line)}", file=sys.stderr, flush=True)

    @property
    def peak_memory_gb(self) -> float:
        """Largest peak of all steps, GB (10^9 bytes)."""
        return max((step["peak_memory_gb"] for step in self.steps), default=_peak_gb())


def _reset_peak() -> None:
    """Reset the kernel's peak counter (Linux only; elsewhere the peak is that of the whole process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_gb() -> float:
    """Peak resident memory since the last reset, in GB."""
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / _GB
    return float(psutil.Process().memory_info().rss) / _GB
