"""Time to build a data set of 139 features from 2.2 million price rows, and to append one day.

    python benchmarks/features.py [--prices FILE] [--rounds 3] [--json]

Each arm is a separate process; medians of the rounds. The limits are for two quiet cores, so the whole build
is measured in wall time, everything else in processor time. Without --prices the market is a random walk of
1,000 stocks over 2,200 days. The features are compared with one pass over the data per family: a rolling sum
of 20 days over the dense prices, as float32, twelve times. An append of one day, to a file and to a folder
by year, is compared with the whole build.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from harness import Figure, Run, in_turns, main, run_arm

LIMIT_S, LIMIT_MB = 20.0, 4000.0
STOCKS, DAYS = 1_000, 2_200
TINY_STOCKS, TINY_DAYS = 4, 80


def random_walk(stocks: int, days: int) -> pl.DataFrame:
    """Random-walk prices, sorted by (code, date)."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal((stocks, days)), axis=1)).ravel()
    dates = pl.date_range(pl.date(2010, 1, 1), pl.date(2010, 1, 1) + pl.duration(days=days - 1), eager=True)
    return pl.DataFrame(
        {
            "date": pl.concat([dates] * stocks),
            "code": np.repeat([f"{code:04d}" for code in range(stocks)], days),
            "open": close * np.exp(0.005 * rng.standard_normal(close.size)),
            "high": close * np.exp(0.01 * (1 + rng.random(close.size))),
            "low": close * np.exp(-0.01 * (1 + rng.random(close.size))),
            "close": close,
            "volume": np.exp(10 + rng.standard_normal(close.size)).round(),
        }
    )


def whole(given: argparse.Namespace) -> dict[str, float]:
    """Build everything; returns seconds by step."""
    from gogooku3.features.build import build_dataset

    report = build_dataset(given.folder / "all.parquet", given.folder / "whole.parquet")
    return {**report.seconds, "rows": report.rows}


def one_day(given: argparse.Namespace) -> dict[str, float]:
    """Append the last day to a file."""
    shutil.copyfile(given.folder / "before.parquet", given.folder / "grown.parquet")
    return _append(given.folder, "grown.parquet")


def one_day_by_year(given: argparse.Namespace) -> dict[str, float]:
    """Append the last day to a folder by year."""
    shutil.copytree(given.folder / "before", given.folder / "grown", dirs_exist_ok=True)
    return _append(given.folder, "grown")


def _append(folder: Path, out: str) -> dict[str, float]:
    from gogooku3.features.build import build_dataset

    started = time.process_time()
    report = build_dataset(folder / "all.parquet", folder / out, append=True)
    assert report.added_days == 1
    return {**report.seconds, "processor_s": time.process_time() - started}


def passes(given: argparse.Namespace) -> dict[str, float]:
    """One pass over the dense prices per family of features."""
    from gogooku3.data.prices import read_prices
    from gogooku3.features.catalog import CATALOG
    from gogooku3.features.price_grid import build_grid
    from gogooku3.features.rolling import rolling_sum

    grid = build_grid(read_prices(given.folder / "all.parquet").frame)
    families = {feature.family for feature in CATALOG}
    started = time.process_time()
    for _ in families:
        rolling_sum(grid.prices["close"], 20).astype(np.float32)
    return {"processor_s": time.process_time() - started}


ARMS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "whole": whole,
    "one day": one_day,
    "one day by year": one_day_by_year,
    "passes": passes,
}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Both builds against their limits and baselines."""
    from gogooku3.features.build import build_dataset

    with TemporaryDirectory() as name:
        folder = Path(name)
        size = (TINY_STOCKS, TINY_DAYS) if given.tiny else (STOCKS, DAYS)
        prices = random_walk(*size) if given.prices is None else pl.read_parquet(given.prices)
        prices.write_parquet(folder / "all.parquet")
        date = next(name for name in prices.columns if name.lower() == "date")
        earlier = prices.filter(pl.col(date) < pl.col(date).max())
        earlier.write_parquet(folder / "earlier.parquet")
        for before in ("before.parquet", "before"):
            build_dataset(folder / "earlier.parquet", folder / before)
        arms = {
            arm: lambda arm=arm: run_arm(__file__, arm, "--folder", str(folder))  # type: ignore[misc]
            for arm in ARMS
        }
        results: dict[str, list[Run]] = in_turns(arms, given.rounds)
    everything = median(run.processor_s for run in results["whole"])
    wall = median(run.wall_s for run in results["whole"])
    peak = median(run.peak_mb for run in results["whole"])
    features = median(run.result["features"] for run in results["whole"])
    limit = median(run.result["processor_s"] for run in results["passes"])
    rows = f"{results['whole'][0].result['rows']:,} rows"
    note = _wall_time(results["whole"], "read", "digest", "features", "targets", "write")
    return [
        Figure(f"build, {rows}", wall, "s", "limit", LIMIT_S, peak_mb=peak, note=note),
        Figure("build, memory", peak, "MB", "limit", LIMIT_MB),
        Figure("build, processor time", everything, "s", bar=None),
        Figure("139 features", features, "s", "one pass per family", limit, bar=None, note="ours: wall time"),
        *(
            Figure(
                f"one day appended to a {kind}",
                median(run.result["processor_s"] for run in results[arm]),
                "s",
                "the whole build",
                everything,
                bar=None,
                note=_wall_time(results[arm], "read", "digest", "features", "write"),
            )
            for arm, kind in (("one day", "file"), ("one day by year", "folder"))
        ),
    ]


def _wall_time(runs: Sequence[Run], *steps: str) -> str:
    shares = (f"{step} {median(run.result[step] for run in runs):.2f} s" for step in steps)
    return "wall time: " + ", ".join(shares)


def _extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prices", type=Path, help="Parquet file of daily prices; by default a random walk")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    main(figures, __doc__, ARMS, extend=_extend)
