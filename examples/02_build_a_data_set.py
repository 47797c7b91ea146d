"""Build a data set of 139 features and four targets from prices, then check it."""

import tempfile
from pathlib import Path

from gogooku3 import ProductionDatasetV3
from gogooku3.data.quality.validation import validate
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market
from gogooku3.features.build import build_dataset
from gogooku3.features.catalog import CATALOG


def main(folder: Path) -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=400, seed=7))
    # Typical input: CSV, other column names, a missing price written as 0.
    prices = market.prices.rename({"date": "Date", "code": "Ticker"})
    prices[5, "close"] = 0.0
    prices.write_csv(folder / "prices.csv")

    report = build_dataset(folder / "prices.csv", folder / "data.parquet")
    print(f"{report.rows:,} rows, {report.n_features} features, {sum(report.seconds.values()):.1f} s")
    print("columns:", report.prices.mapped)
    print("rows left out:", report.prices.dropped)

    loader = ProductionDatasetV3(folder / "data.parquet")
    frame = loader.load_data()
    print("targets:", loader.target_names)
    print(frame.select("date", "code", "target_5d", "ret_1d", "vol_20d", "beta_60d").tail(3))

    feature = CATALOG[0]
    print(f"{feature.name} ({feature.family}): {feature.formula}, looks back {feature.lookback} day")

    checked = validate(folder / "data.parquet")
    print(f"errors: {len(checked.errors)}, warnings: {len(checked.problems) - len(checked.errors)}")
    for problem in checked.problems[:3]:
        print(" ", problem)

    # The same data with a leak: a feature that is a copy of the target.
    leak = frame.with_columns(frame["target_5d"].alias("clever_feature"))
    print(validate(leak).errors[0])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
