"""Shared by all benchmarks: paired runs, medians, processor time, peak memory, command line and table.

A script runs its arms (ours and what ours is compared with) in turns, so that a busy machine slows both, and
compares medians. Imports only the standard library, so that peers can use it in their own environment.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

QUIET_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
"""Makes idle OpenMP threads sleep: their spinning would count as processor time."""
_POLL_S = 0.005
"""Interval between two readings of a process's peak memory."""
PEER_PYTHON = "BENCH_PEER_PYTHON"
"""Environment variable: the interpreter of an environment with the peers, if they are not in ours."""
GOGOOKU3 = (sys.executable, "-m", "gogooku3")


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: the measured quantity.
        ours: our value, in `unit`; None if it could not be measured, for the reason in `note`.
        unit: as in "samples/s", "s", "MB".
        against: the peer or the limit; "" for none.
        theirs: its value; None if it could not be measured.
        better: "higher" or "lower" values of `unit`.
        bar: required `ratio`; None for no requirement.
        peak_mb: our peak resident memory, MB (10^6 bytes).
        note: explanation for readers.
    """

    name: str
    ours: float | None
    unit: str
    against: str = ""
    theirs: float | None = None
    better: Literal["higher", "lower"] = "lower"
    bar: float | None = 1.0
    peak_mb: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Factor by which ours is better; None if a value is unknown.

        >>> Figure("loader", 200.0, "samples/s", "peer", 100.0, better="higher").ratio
        2.0
        >>> Figure("start", 0.1, "s", "limit", 0.3).ratio
        3.0
        """
        if self.ours is None or self.theirs is None:
            return None
        first, second = (self.ours, self.theirs) if self.better == "higher" else (self.theirs, self.ours)
        return first / second if second else None

    @property
    def passed(self) -> bool | None:
        """Whether the ratio reaches the bar; None without a bar or a ratio."""
        return None if self.bar is None or self.ratio is None else self.ratio >= self.bar


class Run(NamedTuple):
    """A finished process: the JSON of its last line, seconds, and peak memory (MB, 10^6 bytes)."""

    result: Any
    wall_s: float
    processor_s: float
    peak_mb: float


def in_turns(arms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Results of each arm by round; every second round runs the arms in reverse order."""
    results: dict[str, list[Any]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms)[:: -1 if number % 2 else 1]:
            results[name].append(arms[name]())
    return results


def processor_seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """Processor time of one call, in seconds over all threads of this process; the median of the repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Median over rounds of first / second.

    >>> median_ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    3.0
    """
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def run_process(
    command: Sequence[str], environment: Mapping[str, str] | None = None, as_a_user: bool = False
) -> Run:
    """Run a command; its `result` is None unless the last line of its output is JSON.

    Args:
        command: with its arguments.
        environment: variables to add.
        as_a_user: leave the OpenMP settings unchanged; wall time is then what a user waits.

    Raises:
        RuntimeError: the command failed; with the last lines of its error output.
    """
    started = time.perf_counter()
    threads = {} if as_a_user else QUIET_THREADS
    environment = {**os.environ, **threads, **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(list(command), stdout=output, stderr=errors, env=environment)
        peak_mb, ended = 0.0, 0
        while not ended:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            time.sleep(_POLL_S)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        printed, complaints = output.read(), errors.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n" + "\n".join(complaints.splitlines()[-8:]))
    try:
        result = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError):
        result = None
    return Run(result, wall, used.ru_utime + used.ru_stime, peak_mb)


def _peak_mb(pid: int) -> float:
    """Peak resident memory of a running process; 0 if the kernel does not report it.

    The peak from `wait4` would include the parent's memory at the fork.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="ignore")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        return 0.0


def run_arm(script: str | Path, arm: str, *options: str, python: str = sys.executable) -> Run:
    """Run one arm of a benchmark in a separate process, to measure its memory separately."""
    return run_process([python, str(script), "--arm", arm, *options])


def peer_python(*packages: str) -> str | None:
    """The interpreter in BENCH_PEER_PYTHON or ours, whichever has the packages; None if neither has."""
    check = (
        "import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, sys.argv[1:])))"
    )
    for python in (os.environ.get(PEER_PYTHON), sys.executable):
        if python and subprocess.run([python, "-c", check, *packages], check=False).returncode == 0:
            return python
    return None


def not_installed(package: str) -> str:
    """Note for a row without its peer."""
    return f"{package} is not installed; see benchmarks/README.md"


def build_data(folder: Path, *options: str) -> Path:
    """Generate a market with `gogooku3 data synth` and build its data set; returns the data set."""
    folder.mkdir(exist_ok=True)
    prices, data = folder / "prices.parquet", folder / "data.parquet"
    run_process([*GOGOOKU3, "data", "synth", *options, "--out", str(prices)])
    run_process([*GOGOOKU3, "data", "build", "--prices", str(prices), "--out", str(data)])
    return data


def hardware() -> str:
    """The machine, the versions of speed-critical packages, and today's date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = [f"{_processor()}, {cores} cores, {memory_gb:.0f} GiB", f"Python {platform.python_version()}"]
    for package in ("torch", "polars", "numpy"):
        try:
            facts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{'; '.join(facts)}; {date.today().isoformat()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table with notes below."""
    rows = [
        ("figure", "ours", "peer or limit", "theirs", "ratio", "required", "peak memory"),
        ("---",) * 7,
        *(
            (
                figure.name,
                _quantity(figure.ours, figure.unit),
                figure.against,
                _quantity(figure.theirs, figure.unit) if figure.against else "",
                "" if figure.ratio is None else f"{figure.ratio:.3g}x",
                _required(figure),
                "" if figure.peak_mb is None else f"{figure.peak_mb:,.0f} MB",
            )
            for figure in figures
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths, strict=True)
        )
        + " |"
        for row in rows
    ]
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


def _required(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    mark = {True: "yes", False: "no", None: "?"}[figure.passed]
    return f"{figure.bar:g}x: {mark}"


def main(
    measure: Callable[[argparse.Namespace], list[Figure]] | None,
    description: str | None,
    arms: Mapping[str, Callable[[argparse.Namespace], Any]] | None = None,
    arguments: Sequence[str] | None = None,
    extend: Callable[[argparse.ArgumentParser], Any] | None = None,
) -> list[Figure]:
    """Command line of a benchmark: measure and print the table, or run one arm and print its JSON.

    Args:
        measure: from the parsed options to the figures; None for a peer, which only has arms.
        description: the script's docstring.
        arms: functions for `--arm NAME`, which `run_arm` uses; their results are printed as JSON.
        arguments: of the command line; None: the process's.
        extend: adds further options.

    Returns:
        the printed figures.
    """
    lines = (description or "").splitlines()
    parser = argparse.ArgumentParser(description=lines[0] if lines else None)
    parser.add_argument("--rounds", type=int, default=5, help="paired runs; the median is reported")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to check that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--arm", choices=sorted(arms or {}), required=measure is None, help="run one arm, print its JSON"
    )
    if extend is not None:
        extend(parser)
    given = parser.parse_args(arguments)
    if measure is None or given.arm:
        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        print(json.dumps((arms or {})[given.arm](given)))
        return []
    figures = measure(given)
    print(as_json(figures) if given.json else f"{table(figures)}\n\n{hardware()}")
    return figures


def as_json(figures: Sequence[Figure]) -> str:
    """One line of JSON: the machine and every figure with its ratio."""
    rows = [{**asdict(figure), "ratio": figure.ratio, "passed": figure.passed} for figure in figures]
    return json.dumps({"hardware": hardware(), "figures": rows})


def from_json(content: Mapping[str, Any]) -> list[Figure]:
    """Figures from the JSON of `as_json`."""
    return [
        Figure(**{key: value for key, value in row.items() if key not in ("ratio", "passed")})
        for row in content["figures"]
    ]
