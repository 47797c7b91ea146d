"""LightGBM of one fold: trained on its days, saved, asked about its test days once."""

import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.panel import PanelSlice
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline
from gogooku3.training.run_folder import RunFolder


def train_baseline(
    number: int, train: PanelSlice, test: PanelSlice, config: RunConfig, folder: RunFolder
) -> pl.DataFrame:
    """Train the models of a fold's horizons, keep them in `fold_k/`, and predict the test days.

    Args:
        number: of the fold.
        train, test: days of one normalised panel.
        config: of the run.
        folder: of the run.

    Returns:
        `date, code, prediction_{h}d`.
    """
    parameters = config.lightgbm.model_dump()
    baseline = LightGBMFinancialBaseline(
        config.time_series.prediction_horizons,
        config.split.embargo_days,
        parameters={key: value for key, value in parameters.items() if key != "label"},
        label=config.lightgbm.label,
        validation_fraction=config.training.validation_fraction,
        sequence_length=config.time_series.sequence_length,
        seed=config.training.seed,
    ).fit(train)
    place = folder.fold(number)
    for horizon, booster in baseline.boosters.items():
        folder.write_text(place / f"lightgbm_{horizon}d.txt", booster.model_to_string())
    folder.write_table(place / "lightgbm_importance.parquet", baseline.feature_importance())
    return baseline.predict(test)
