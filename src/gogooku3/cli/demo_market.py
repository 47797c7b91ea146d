"""The embedded demo market and its data set."""

from pathlib import Path

from gogooku3.cli.output import progress_bar, say

DEMO_DATASET = Path("data/demo/ml_dataset_full.parquet")
"""Data set of `model/atft/quickstart`, relative to the working directory."""


def ensure_demo_dataset(dataset: Path) -> Path:
    """Make the demo market (about 120 stocks x 500 days) and build its data set, unless the file exists.

    The prices go to `prices.parquet` in the same folder. Takes a few seconds. Returns `dataset`.
    """
    if dataset.is_file():
        return dataset
    from gogooku3.data.synthetic.market import PRESETS, generate_market, write_market
    from gogooku3.features.build import build_dataset

    prices = dataset.with_name("prices.parquet")
    if not prices.is_file():
        say(f"making the demo market: {prices}")
        write_market(generate_market(PRESETS["demo"]), prices)
    say(f"building its data set: {dataset}")
    with progress_bar("building") as progress:
        build_dataset(prices, dataset, progress=progress)
    return dataset
