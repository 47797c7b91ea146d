"""LightGBM of one fold: trained on its days, saved, asked about its test days once."""

from pathlib import Path

import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.panel import PanelSlice
from gogooku3.files.tables import read_table
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline
from gogooku3.models.saving import save_trees
from gogooku3.runs.folder import RunFolder

PREDICTIONS = "lightgbm_predictions.parquet"
"""In a fold's folder; written last, so that it says that the fold's LightGBM is finished."""


def is_finished(place: Path) -> bool:
    """Whether a fold's folder holds all that training its LightGBM leaves."""
    return (place / PREDICTIONS).is_file()


def train_baseline(
    number: int, train: PanelSlice, test: PanelSlice, config: RunConfig, folder: RunFolder
) -> pl.DataFrame:
    """Train the models of a fold's horizons, keep them in `fold_k/`, and predict the test days.

    What is finished is read back.

    Args:
        number: of the fold.
        train, test: days of one normalised panel.
        config: of the run.
        folder: of the run.

    Returns:
        `date, code, prediction_{h}d`.
    """
    place = folder.fold(number)
    if is_finished(place):
        return read_table(place / PREDICTIONS)
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
    for horizon, booster in baseline.boosters.items():
        save_trees(place / f"lightgbm_{horizon}d.txt", booster)
    folder.write_table(place / "lightgbm_importance.parquet", baseline.feature_importance())
    predictions = baseline.predict(test)
    folder.write_table(place / PREDICTIONS, predictions)
    return predictions
