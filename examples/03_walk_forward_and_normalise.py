"""Split by time with an embargo, then normalise each day over its own stocks."""

import tempfile
from pathlib import Path

from gogooku3 import CrossSectionalNormalizerV2, ProductionDatasetV3, WalkForwardSplitterV2
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.errors import ConfigError
from gogooku3.features.build import build_dataset


def main(folder: Path) -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=400, seed=7))
    prices, _, _ = write_market(market, folder / "prices.parquet")
    build_dataset(prices, folder / "data.parquet")
    frame = ProductionDatasetV3(folder / "data.parquet").load_data()

    # Embargo and training length are trading days, not calendar days.
    splitter = WalkForwardSplitterV2(n_splits=3, embargo_days=20, min_train_days=120)
    checked = splitter.validate_split(frame)
    print("labels that reach a test day:", checked["overlaps"])
    for fold in checked["folds"]:
        print(f"fold {fold['fold']}: train {fold['train']}, test {fold['test']}")

    for number, (train_rows, test_rows) in enumerate(splitter.split(frame)):
        train, test = frame[train_rows], frame[test_rows]
        # transform uses each day's own statistics; those from fit are only a fallback for days without.
        normalizer = CrossSectionalNormalizerV2(robust_clip=5.0).fit(train)
        measured = normalizer.validate_transform(normalizer.transform(test))
        print(
            f"fold {number}: {train.height:,} and {test.height:,} rows, worst |mean| of a day "
            f"{measured['max_abs_mean']:.3f}, largest |z| {measured['max_abs_value']:.1f}"
        )
        # A feature that is equal for all stocks of a day, such as the weekday, needs the fallback.
        print(f"  from training statistics: {sorted(normalizer.report.fallback_by_feature)[:4]} ...")

    try:
        WalkForwardSplitterV2(embargo_days=5)
    except ConfigError as error:
        print("refused:", error)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
