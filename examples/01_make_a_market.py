"""Make a small market with planted predictability, and print the best possible IC."""

import tempfile
from pathlib import Path

import polars as pl

from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market


def main(folder: Path) -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=400, seed=7))
    prices, oracle, summary = write_market(market, folder / "prices.parquet")

    facts = market.summary
    print(f"{facts['rows']:,} rows: {facts['stocks']} stocks, {facts['days']} trading days")
    print(f"{facts['first_day']} to {facts['last_day']}, {len(facts['splits'])} stock splits")
    print(pl.read_parquet(prices).head(3))

    # The oracle is each stock's true expected return. A model clearly above it must have a leak.
    print("oracle IC by horizon:", facts["oracle_ic"])
    for kind, ics in facts["oracle_ic_by_kind"].items():
        print(f"  {kind}: {ics}")
    print("files:", prices.name, oracle.name, summary.name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
