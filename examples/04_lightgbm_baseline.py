"""Fit LightGBM on a data set and compare its score on held-out days with the oracle's."""

import tempfile
from pathlib import Path

from gogooku3 import LightGBMFinancialBaseline, ProductionDatasetV3, QualityFinancialFeaturesGenerator
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.features.build import build_dataset


def main(folder: Path) -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=80, n_days=400, seed=7))
    prices, _, _ = write_market(market, folder / "prices.parquet")
    build_dataset(prices, folder / "data.parquet")
    frame = ProductionDatasetV3(folder / "data.parquet").load_data()
    frame = QualityFinancialFeaturesGenerator().generate_quality_features(frame)

    # The last fifth of the days is held out after an embargo; early stopping uses days before it.
    baseline = LightGBMFinancialBaseline(
        prediction_horizons=[1, 5],
        embargo_days=20,
        parameters={"num_boost_round": 60, "early_stopping_rounds": 10, "feature_fraction": 0.3},
    )
    baseline.fit(frame)
    for horizon, scores in baseline.evaluate_performance().items():
        print(
            f"{horizon}d: IC {scores['mean_ic']:+.3f}, rank IC {scores['mean_rank_ic']:+.3f} on "
            f"{scores['n_days']} days, {scores['n_trees']} trees; oracle IC over the whole market "
            f"{market.summary['oracle_ic'][f'{horizon}d']:+.3f}"
        )

    strongest = baseline.feature_importance().sort("importance", descending=True).head(5)
    for row in strongest.iter_rows(named=True):
        print(f"  {row['feature']} ({row['horizon']}d): {row['importance']:.0%} of the gain")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
