"""Building a data set of 139 features from 2.2 million price rows, and adding one day to it.

    python benchmarks/features.py [--prices FILE] [--rounds 3] [--json]

Each arm is a process of its own; medians of the rounds. The limits are meant for two quiet cores, so the
whole build is timed by the clock, all else by processor time. Without --prices the market is a random walk of
1,000 stocks over 2,200 days. The features alone are held against one pass over the data a family: a rolling
sum of 20 days over the dense prices, as float32, twelve times over; one day added, against building all, and
against what any way of adding it does, however few its days: read the prices and copy the data set's bytes.
"""

import argparse
import os
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
    """Prices of a market in which nothing happens, sorted by (code, date)."""
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
    """Build everything; seconds by step."""
    from gogooku3.features.build import build_dataset

    report = build_dataset(given.place / "all.parquet", given.place / "whole.parquet")
    return {**report.seconds, "rows": report.rows}


def one_day(given: argparse.Namespace) -> dict[str, float]:
    """Add the last day to a data set that lacks it."""
    from gogooku3.features.build import build_dataset

    out = given.place / "grown.parquet"
    shutil.copyfile(given.place / "before.parquet", out)
    # Yesterday's file lies on the disk.
    os.sync()
    started = time.process_time()
    report = build_dataset(given.place / "all.parquet", out, append=True)
    assert report.added_days == 1
    return {**report.seconds, "processor_s": time.process_time() - started}


def passes(given: argparse.Namespace) -> dict[str, float]:
    """One pass over the dense prices a family of features."""
    from gogooku3.data.prices import read_prices
    from gogooku3.features.catalog import CATALOG
    from gogooku3.features.price_grid import build_grid
    from gogooku3.features.rolling import rolling_sum

    grid = build_grid(read_prices(given.place / "all.parquet").frame)
    families = {feature.family for feature in CATALOG}
    started = time.process_time()
    for _ in families:
        rolling_sum(grid.prices["close"], 20).astype(np.float32)
    return {"processor_s": time.process_time() - started}


def in_and_out(given: argparse.Namespace) -> dict[str, float]:
    """Read the prices, and copy the data set to the disk."""
    out = given.place / "copied.parquet"
    started = time.process_time()
    prices = pl.read_parquet(given.place / "all.parquet")
    shutil.copyfile(given.place / "before.parquet", out)
    with out.open("rb") as handle:
        os.fsync(handle.fileno())
    return {"rows": prices.height, "processor_s": time.process_time() - started}


ARMS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "whole": whole,
    "one day": one_day,
    "in and out": in_and_out,
    "passes": passes,
}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Both builds beside what they are compared with."""
    from gogooku3.features.build import build_dataset

    with TemporaryDirectory() as folder:
        place = Path(folder)
        size = (TINY_STOCKS, TINY_DAYS) if given.tiny else (STOCKS, DAYS)
        prices = random_walk(*size) if given.prices is None else pl.read_parquet(given.prices)
        prices.write_parquet(place / "all.parquet")
        date = next(name for name in prices.columns if name.lower() == "date")
        earlier = prices.filter(pl.col(date) < pl.col(date).max())
        earlier.write_parquet(place / "earlier.parquet")
        build_dataset(place / "earlier.parquet", place / "before.parquet")
        arms = {
            name: lambda name=name: run_arm(__file__, name, "--place", str(place))  # type: ignore[misc]
            for name in ARMS
        }
        found: dict[str, list[Run]] = in_turns(arms, given.rounds)
    everything = median(run.processor_s for run in found["whole"])
    wall = median(run.wall_s for run in found["whole"])
    peak = median(run.peak_mb for run in found["whole"])
    features = median(run.result["features"] for run in found["whole"])
    limit = median(run.result["processor_s"] for run in found["passes"])
    day = median(run.result["processor_s"] for run in found["one day"])
    bytes_alone = median(run.result["processor_s"] for run in found["in and out"])
    rows = f"{found['whole'][0].result['rows']:,} rows"
    note = _by_the_clock(found["whole"], "read", "digest", "features", "targets", "write")
    return [
        Figure(f"build, {rows}", wall, "s", "limit", LIMIT_S, peak_mb=peak, note=note),
        Figure("build, memory", peak, "MB", "limit", LIMIT_MB),
        Figure("build, processor time", everything, "s", bar=None),
        Figure("139 features", features, "s", "one pass a family", limit, bar=None, note="ours by the clock"),
        Figure(
            "one day added",
            day,
            "s",
            "the whole build",
            everything,
            bar=None,
            note=_by_the_clock(found["one day"], "read", "digest", "features", "write"),
        ),
        Figure("one day added", day, "s", "read and copy alone", bytes_alone, bar=None),
    ]


def _by_the_clock(runs: Sequence[Run], *steps: str) -> str:
    shares = (f"{step} {median(run.result[step] for run in runs):.2f} s" for step in steps)
    return "by the clock: " + ", ".join(shares)


def _extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prices", type=Path, help="Parquet file of daily prices; a random walk without")
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    main(figures, __doc__, ARMS, extend=_extend)
