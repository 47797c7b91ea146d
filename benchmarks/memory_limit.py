"""A whole run of `gogooku3 train --memory-limit 2.5` under a kernel limit of the same size.

    python benchmarks/memory_limit.py [--data FILE] [--limit 2.5] [--json]

606,127 rows of 139 features, from the file to the report: one fold, one epoch, few trees, a small network.
If a memory cgroup can be created, its limit covers resident memory, torch included, page cache and the
kernel's own memory. Otherwise the limit is RLIMIT_DATA, which covers private memory, used or not, but no
mapped files. A run that needs more is killed or fails, and there is no figure. Page cache fills the remaining
room and is released on demand, so the peaks of the steps are of resident memory only.
"""

import argparse
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from harness import GOGOOKU3, Figure, build_data, main, run_process

SMALL = (
    *("split.n_splits=1", "training.epochs=1", "training.progress_bar=false", "training.batch_size=4096"),
    *("model.hidden_dim=8", "model.num_heads=2", "model.snapshot_dim=8", "time_series.sequence_length=5"),
    *("scheduler.warmup_steps=5", "lightgbm.num_boost_round=10", "lightgbm.num_leaves=31"),
)
"""Short training on the full data: only the data decides the memory."""
TINY = (
    *("split.min_train_days=100", "model.num_layers=1", "logging.tensorboard=false"),
    "time_series.prediction_horizons=[1,5]",
)
"""Also for a short market."""
CGROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)
"""For versions 1 and 2: folder of the groups, and the files of a group's limit and peak."""


class Limit(NamedTuple):
    """A kernel limit: its name, the shell command to enter it, and the file with its peak."""

    name: str
    enter: str
    peak_file: Path | None


@contextmanager
def kernel_limit(limit: int) -> Iterator[Limit]:
    """A memory cgroup with a limit in bytes, removed afterwards; RLIMIT_DATA if none can be created."""
    for root, limit_file, peak_file in CGROUPS:
        group = root / f"gogooku3-benchmark-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            try:
                (group / limit_file).write_text(str(limit), encoding="ascii")
            except OSError:
                continue
            enter = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}"
            yield Limit("cgroup", enter, group / peak_file)
            return
        finally:
            group.rmdir()
    yield Limit("RLIMIT_DATA", f"ulimit -d {limit // 1024}", None)


def reference_data(folder: Path, tiny: bool) -> Path:
    """Build the data set of the reference market; of the demo market if tiny."""
    return build_data(folder, "--preset", "demo" if tiny else "reference")


def train_under_limit(data: Path, runs: Path, limit_gb: float, options: Sequence[str]) -> Figure:
    """Train with `--memory-limit` under the kernel's limit of the same size."""
    command = [*GOGOOKU3, "train", "--config", "model/atft/compact", "--data", str(data), "--out", str(runs)]
    command += ["--memory-limit", f"{limit_gb:g}", *options]
    with kernel_limit(int(limit_gb * 1e9)) as limit:
        run = run_process(["sh", "-c", f"{limit.enter} && exec {shlex.join(command)}"])
        peak = limit.peak_file
        peak_gb = (
            int(peak.read_text(encoding="ascii")) / 1e9 if peak and peak.is_file() else run.peak_mb / 1e3
        )
    manifest = json.loads(next(runs.glob("*/*/manifest.json")).read_text(encoding="utf-8"))
    steps = ", ".join(
        f"{step['name']} {step['peak_memory_gb']:.2f} GB {step['seconds']:.0f} s"
        for step in manifest["steps"]
    )
    return Figure(
        f"a whole run of {manifest['data']['rows']:,} rows",
        peak_gb,
        "GB",
        f"kernel limit ({limit.name})",
        limit_gb,
        peak_mb=run.peak_mb,
        note=f"resident peak and wall time: {steps}; {run.processor_s:.0f} s of processor time in total",
    )


def measure(given: argparse.Namespace) -> list[Figure]:
    """Build the data unless given, and train once."""
    with TemporaryDirectory(dir=given.scratch) as name:
        folder = Path(name)
        data = given.data or reference_data(folder, given.tiny)
        options = [*SMALL, *(TINY if given.tiny else ())]
        return [train_under_limit(data, folder / "runs", given.limit, options)]


def extend(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--data", type=Path, help="a built data set; by default the reference market's")
    parser.add_argument("--limit", type=float, default=2.5, help="GB (10^9 bytes)")
    parser.add_argument("--scratch", type=Path, help="folder on a disk for the run; files in memory count")


if __name__ == "__main__":
    main(measure, __doc__, extend=extend)
