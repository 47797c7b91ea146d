"""Run the whole pipeline on a small market: walk-forward training, prediction table, scores, report."""

import tempfile
from pathlib import Path

import polars as pl

from gogooku3.config import load_config
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.features.build import build_dataset
from gogooku3.reporting.tables import headline_rows
from gogooku3.training import SafeTrainingPipeline


def main(folder: Path) -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=24, n_days=300, seed=7))
    prices, _, _ = write_market(market, folder / "prices.parquet")
    dataset = build_dataset(prices, folder / "data.parquet").out_path

    config = load_config(
        "model/atft/quickstart",
        [
            "model.hidden_dim=16",
            "model.num_heads=2",
            "model.num_layers=1",
            "time_series.sequence_length=20",
            "training.epochs=2",
            "training.progress_bar=false",
            "logging.tensorboard=false",
            "lightgbm.num_boost_round=20",
            "split.min_train_days=130",
        ],
    )
    pipeline = SafeTrainingPipeline("example", dataset, config, verbose=True, runs_dir=folder / "runs")
    results = pipeline.run_pipeline(n_splits=2, embargo_days=20)

    for row in headline_rows(results["scores"]):
        print(f"{row['Model']:13} {row['Horizon']:8} IC {row['IC']}  Sharpe net {row['Sharpe net']}")
    print(f"pooled Sharpe net of costs: {results['pooled_sharpe']:.2f}")
    print(f"{results['total_duration']:.0f} s, peak memory {results['peak_memory_gb']:.1f} GB")
    print("run folder:", sorted(path.name for path in Path(results["run_dir"]).iterdir()))
    print(pl.read_parquet(results["predictions_path"]).head(3))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
