"""Time, memory and growth of the path from the Parquet file to normalised days, folds and graphs.

    python benchmarks/data_path.py [--data FILE] [--growth 1 4 16] [--scratch FOLDER] [--rounds 5] [--json]

606,127 rows of 139 features: read the file into the panel, add six quality features, normalise every day,
split the days, and build a graph for every month. Each run is a separate process; imports are not counted.
Compared with the project's limits, 1.2 s on two cores and 1 GB; with the least work of any program, decoding
the columns with Polars and copying the panel once; and with Qlib, both from a frame in memory to samplers of
windows. Growth: the data set's days repeated at later dates, under a kernel limit of 8 GB; the time per row
should not grow. Beyond 16 times the rows the panel is in a memory-mapped file.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from harness import Figure, Run, in_turns, main, not_installed, peer_python, run_arm, run_process
from memory_limit import kernel_limit, reference_data

LIMIT_S, LIMIT_GB, GROWTH_GB = 1.2, 1.0, 8.0
CORES = 2
IN_MEMORY = 16
"""Largest growth whose panel is kept in memory; a larger panel is in a memory-mapped file."""
HERE = Path(__file__).resolve()
PEER = HERE.with_name("peer_qlib.py")
T = TypeVar("T")


class Steps:
    """Wall and processor seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Run a step and record its time."""
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        self.seconds[name] = (time.perf_counter() - wall, time.process_time() - processor)
        return result

    def report(self, rows: int) -> dict[str, Any]:
        """The steps, their sums, and the number of rows."""
        wall, processor = (sum(step[kind] for step in self.seconds.values()) for kind in (0, 1))
        return {"steps": self.seconds, "wall_s": wall, "processor_s": processor, "rows": rows}


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """The whole path."""
    from gogooku3.data.dataset import ProductionDatasetV3
    from gogooku3.data.panel_reader import read_panel
    from gogooku3.features.quality import QUALITY_FEATURES, normalize_with_quality
    from gogooku3.graph.builder import FinancialGraphBuilder
    from gogooku3.graph.schedule import GraphSchedule
    from gogooku3.safety.walk_forward import WalkForwardSplitterV2

    step = Steps()
    loader = step("open", lambda: ProductionDatasetV3(given.data))
    index = step("load keys and targets", loader.load_index)
    panel = step(
        "read into the panel",
        lambda: read_panel(loader, index, loader.horizons, tuple(QUALITY_FEATURES), given.storage),
    )
    returns = step("returns", lambda: panel.values[:, :, panel.feature_index("ret_1d")].copy())
    normalizer = step("quality features, normalise by day", lambda: normalize_with_quality(panel))
    splitter = WalkForwardSplitterV2(n_splits=2, min_train_days=100)
    folds = step("split", lambda: splitter.folds(panel.n_days))
    step("fit the first fold", lambda: normalizer.fit_fold(folds[0].train))
    step(
        "graphs",
        lambda: GraphSchedule.build(panel.dates, panel.codes, returns, FinancialGraphBuilder()),
    )
    return step.report(panel.n_rows)


def framed(given: argparse.Namespace) -> dict[str, Any]:
    """The part that Qlib also has: from a frame in memory to a normalised panel, ready for batches."""
    from gogooku3.data.dataset import ProductionDatasetV3
    from gogooku3.data.panel import Panel
    from gogooku3.preprocessing.cross_section import PanelNormalizer

    loader = ProductionDatasetV3(given.data)
    frame = loader.load_data()
    step = Steps()
    panel = step("frame to panel", lambda: Panel.from_frame(frame, loader.feature_names, loader.horizons))
    normalizer = step("normalise by day", lambda: PanelNormalizer(panel))
    step("fit", lambda: normalizer.fit_fold(range(panel.n_days * 7 // 10)))
    step("samples", lambda: panel.sample_mask(60))
    return step.report(panel.n_rows)


def least(given: argparse.Namespace) -> dict[str, Any]:
    """The least work of any program: decode the columns with Polars and copy every value once."""
    import numpy as np
    import polars as pl

    step = Steps()
    frame = step("decode", lambda: pl.read_parquet(given.data))
    rows, width = frame.shape
    del frame
    source, copy = np.ones((rows, width), np.float32), np.zeros((rows, width), np.float32)
    step("copy", lambda: np.copyto(copy, source))
    return step.report(rows)


def data_path(data: Path, rounds: int) -> list[Figure]:
    """Ours against the limits."""
    arms: dict[str, Callable[[], Run]] = {
        "ours": lambda: run_arm(HERE, "ours", "--data", str(data)),
        "least": lambda: run_arm(HERE, "least", "--data", str(data)),
    }
    runs = in_turns(arms, rounds)
    wall, processor, bare = (
        median(run.result[kind] for run in runs[arm])
        for arm, kind in (("ours", "wall_s"), ("ours", "processor_s"), ("least", "processor_s"))
    )
    peak_mb = max(run.peak_mb for run in runs["ours"])
    rows = runs["ours"][0].result["rows"]
    steps = {
        name: [median(run.result["steps"][name][kind] for run in runs["ours"]) for kind in (0, 1)]
        for name in runs["ours"][0].result["steps"]
    }
    times = ", ".join(f"{name} {wall:.2f} ({processor:.2f})" for name, (wall, processor) in steps.items())
    fastest = min(run.result["wall_s"] for run in runs["ours"])
    name = f"data path, {rows:,} rows"
    return [
        Figure(
            f"{name}: processor time",
            processor,
            "s",
            f"limit: {LIMIT_S} s of {CORES} cores",
            LIMIT_S * CORES,
            peak_mb=peak_mb,
            note=f"wall (and processor) seconds by step: {times}",
        ),
        Figure(f"{name}: wall time", wall, "s", "limit", LIMIT_S, note=f"fastest run {fastest:.2f} s"),
        Figure(f"{name}: against decoding and a copy", processor, "s", "measured", bare, bar=None),
        Figure(f"{name}: peak memory", peak_mb / 1e3, "GB", "limit", LIMIT_GB),
    ]


def against_qlib(data: Path, rounds: int, tiny: bool) -> list[Figure]:
    """Ours against Qlib, both from a frame in memory to samplers of windows."""
    arms = {"ours": lambda: run_arm(HERE, "framed", "--data", str(data))}
    python, note = peer_python("qlib"), not_installed("pyqlib")
    if python is not None:
        arms["Qlib"] = lambda: run_arm(PEER, "data_path", *(["--tiny"] if tiny else []), python=python)
    runs = in_turns(arms, rounds)
    processor = {arm: median(run.result["processor_s"] for run in runs[arm]) for arm in runs}
    wall = {arm: median(run.result["wall_s"] for run in runs[arm]) for arm in runs}
    peak_gb = {arm: median(run.peak_mb for run in runs[arm]) / 1e3 for arm in runs}
    if python is not None:
        note = "Qlib's frame holds random numbers of the reference size without missing values"
    return [
        Figure(
            f"frame to batches: {what}", values["ours"], unit, "Qlib", values.get("Qlib"), bar=bar, note=text
        )
        for what, values, unit, bar, text in (
            ("processor time", processor, "s", 10, note),
            ("wall time", wall, "s", 10, ""),
            ("peak memory", peak_gb, "GB", 3, ""),
        )
    ]


def grown(data: Path, times: int, folder: Path) -> Path:
    """The data set with its days repeated at later dates."""
    if times == 1:
        return data
    out = folder / f"times_{times}.parquet"
    run_arm(HERE, "repeat", f"--data={data}", f"--times={times}", f"--storage={out}")
    return out


def repeat(given: argparse.Namespace) -> None:
    """Write the days of `--data` to `--storage`, `--times` times at later dates."""
    import polars as pl

    scan = pl.scan_parquet(given.data)
    first, last = scan.select(pl.col("date").min(), pl.col("date").max().alias("last")).collect().row(0)
    span = (last - first).days + 3
    parts = [scan.with_columns(pl.col("date").dt.offset_by(f"{span * n}d")) for n in range(given.times)]
    pl.concat(parts).sink_parquet(given.storage, compression="lz4", row_group_size=32_768)


def growth(data: Path, sizes: list[int], folder: Path, rounds: int) -> list[Figure]:
    """Time per row at each size against that of the smallest, under the kernel limit."""
    files = {times: grown(data, times, folder) for times in sizes}
    runs = in_turns(
        {str(times): partial(limited, files[times], times > IN_MEMORY, folder) for times in sizes}, rounds
    )
    per_row = {
        times: median(run.result["processor_s"] / run.result["rows"] * 1e6 for run, _ in runs[str(times)])
        for times in sizes
    }
    figures = []
    for times in sizes[1:]:
        run, limit = runs[str(times)][-1]
        storage = "; the panel in a memory-mapped file" if times > IN_MEMORY else ""
        figures.append(
            Figure(
                f"data path, {run.result['rows']:,} rows: processor time per row",
                per_row[times],
                "us",
                f"{sizes[0]}x",
                per_row[sizes[0]],
                bar=0.8,
                peak_mb=run.peak_mb,
                note=f"{run.result['wall_s']:.1f} s of wall time, under {GROWTH_GB:g} GB ({limit}){storage}",
            )
        )
    return figures


def limited(file: Path, mapped: bool, folder: Path) -> tuple[Run, str]:
    """One run under the kernel limit, and the name of the limit."""
    cube = folder / "panel.f32"
    options = ["--data", str(file)] + (["--storage", str(cube)] if mapped else [])
    command = shlex.join([sys.executable, str(HERE), "--arm", "ours", *options])
    with kernel_limit(int(GROWTH_GB * 1e9)) as limit:
        run = run_process(["sh", "-c", f"{limit.enter} && exec {command}"])
    cube.unlink(missing_ok=True)
    return run, limit.name


def figures(given: argparse.Namespace) -> list[Figure]:
    """Build the data unless given, and measure."""
    with TemporaryDirectory(dir=given.scratch) as name:
        folder = Path(name)
        data = given.data or reference_data(folder, given.tiny)
        sizes = [1, 2] if given.tiny else given.growth
        few = min(given.rounds, 3)
        return [
            *data_path(data, given.rounds),
            *against_qlib(data, few, given.tiny),
            *growth(data, sizes, folder, few),
        ]


def extend(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--data", type=Path, help="a built data set; by default the reference market's")
    parser.add_argument("--growth", type=int, nargs="+", default=[1, 4], help="multiples of the rows")
    parser.add_argument("--scratch", type=Path, help="folder on a disk; 16 times the rows need 11 GB")
    parser.add_argument("--storage", type=Path, help="for an arm: file for the panel or the data set")
    parser.add_argument("--times", type=int, default=1, help="for an arm: repetitions of the days")


if __name__ == "__main__":
    main(figures, __doc__, {"ours": ours, "framed": framed, "least": least, "repeat": repeat}, extend=extend)
