"""The embedded demo market and the data set built from it, made once."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gogooku3.cli.output import progress_bar, say

DEMO_DATASET = Path("data/demo/ml_dataset_full.parquet")
"""Where `model/atft/quickstart` expects it, in the working directory."""


def ensure_demo_dataset(dataset: Path, meanwhile: Callable[[], object] | None = None) -> Path:
    """Make the demo market's prices and build its data set, where `dataset` isn't there yet; return it.

    The prices lie beside it as `prices.parquet`. About 120 stocks x 500 days: some seconds.

    Args:
        dataset: its file.
        meanwhile: work that needs none of it, done at the same time; not at all where nothing is to be made.
    """
    if dataset.is_file():
        return dataset
    if meanwhile is not None:
        with _at_the_same_time(lambda: _make(dataset)):
            meanwhile()
    if not dataset.is_file():
        _make(dataset)
    return dataset


def _make(dataset: Path) -> None:
    from gogooku3.data.synthetic.market import PRESETS, generate_market, write_market
    from gogooku3.features.build import build_dataset

    prices = dataset.with_name("prices.parquet")
    if not prices.is_file():
        say(f"making the demo market: {prices}")
        write_market(generate_market(PRESETS["demo"]), prices)
    say(f"building its data set: {dataset}")
    with progress_bar("building") as progress:
        build_dataset(prices, dataset, progress=progress)


@contextmanager
def _at_the_same_time(work: Callable[[], object]) -> Iterator[None]:
    """Do the work in a copy of this process while the block runs, if one can be had; its errors are not told.

    A thread would not do: imports and building both hold the interpreter's lock. A copy is safe as long as
    this process has a single thread, and Polars, which has many of its own, is not loaded.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or "polars" in sys.modules:
        yield
        return
    child = os.fork()
    if child == 0:
        # What waits to be written is the parent's to write, and so is the tale of what went wrong.
        failed = 1
        try:
            work()
            failed = 0
        finally:
            os._exit(failed)
    try:
        yield
    finally:
        os.waitpid(child, 0)
