"""The embedded demo market and the data set built from it, made once."""

from pathlib import Path

from gogooku3.cli.output import progress_bar, say

DEMO_DATASET = Path("data/demo/ml_dataset_full.parquet")
"""Where `model/atft/quickstart` expects it, in the working directory."""


def ensure_demo_dataset(dataset: Path) -> Path:
    """Make the demo market's prices and build its data set, where `dataset` isn't there yet; return it.

    The prices lie beside it as `prices.parquet`. About 120 stocks x 500 days: some ten seconds.
    """
    if dataset.is_file():
        return dataset
    from gogooku3.data.synthetic import PRESETS, generate_market, write_market
    from gogooku3.features.build import build_dataset

    prices = dataset.with_name("prices.parquet")
    if not prices.is_file():
        say(f"making the demo market: {prices}")
        write_market(generate_market(PRESETS["demo"]), prices)
    say(f"building its data set: {dataset}")
    with progress_bar("building") as progress:
        build_dataset(prices, dataset, progress=progress)
    return dataset
