"""Predicts days with a saved fold's networks and LightGBM. Never trains.

Lightning is not imported: one forward pass per day needs no loop, and its import takes longer than the pass.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gogooku3.errors import DataError
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.inference.prepare_days import DayInputs, prepare_days, read_days
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.forecaster import LIGHTGBM, LINEAR
from gogooku3.schema import KEYS
from gogooku3.training.batches import Batch, predict_batch
from gogooku3.training.batches import predict_days as predict_samples

SAME = 1e-6
"""Relative range up to which forecasts are constant: float32 rounds by less."""


@dataclass(frozen=True)
class FoldPredictions:
    """A fold's predictions: tables of `date, code, prediction_{h}d` (Float32) with the same rows.

    Attributes:
        members: each network's predictions, by name.
        network: the run's `atft_gat_fan`: the only network's predictions, or the average rank of several.
        lightgbm, linear: None for a fold without this model.
        rank_average: ranks of network and LightGBM averaged; without LightGBM, the network's ranks.
    """

    members: dict[str, pl.DataFrame]
    network: pl.DataFrame
    lightgbm: pl.DataFrame | None
    linear: pl.DataFrame | None
    rank_average: pl.DataFrame

    def by_model(self) -> dict[str, pl.DataFrame]:
        """Each model's own predictions, by name."""
        others = {LIGHTGBM: self.lightgbm, LINEAR: self.linear}
        return self.members | {name: table for name, table in others.items() if table is not None}


def read_inputs(
    fold: SavedFold, data_path: Path | str, first: dt.date | None = None, last: dt.date | None = None
) -> DayInputs:
    """Read and prepare days of a data set file; arguments and errors as of `prepare_days.read_days`."""
    return prepare_days(fold, read_days(fold, data_path, first, last))


def predict_days(fold: SavedFold, inputs: DayInputs) -> FoldPredictions:
    """Predict every sample of the days with each of the fold's models.

    Weights are read at first use: LightGBM's trees, then each network, whose seal is verified, then the
    linear model, which only the audit of a run compares.

    For the run's test days the result equals the run's own predictions, up to rounding.

    Raises:
        DataError: a forecast is not a finite number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs.batches.to(device)
    keys = inputs.keys()

    def table(scores: np.ndarray) -> pl.DataFrame:
        return keys.with_columns(
            pl.Series(f"prediction_{horizon}d", column)
            for horizon, column in zip(fold.horizons, scores.T, strict=True)
        )

    with ThreadPoolExecutor(1) as worker:
        lightgbm_scores = worker.submit(_lightgbm_scores, fold, inputs) if fold.boosters else None
        members = {
            name: table(_network_scores(fold, model.to(device), inputs))
            for name, model in fold.networks.items()
        }
    networks = list(members.values())
    network = networks[0] if len(networks) == 1 else _float32(rank_average(networks))
    lightgbm = None if lightgbm_scores is None else table(lightgbm_scores.result())
    models = [network] if lightgbm is None else [network, lightgbm]
    linear = None if fold.linear is None else table(fold.linear.scores(inputs.panel, *inputs.rows()))
    predictions = FoldPredictions(members, network, lightgbm, linear, _float32(rank_average(models)))
    _refuse_not_finite(fold, predictions)
    return predictions


def constant_forecasts(predictions: FoldPredictions) -> list[str]:
    """Models and horizons, such as `lightgbm 5d`, that predict one value for all stocks of all days."""
    return [
        f"{name} {column.removeprefix('prediction_')}"
        for name, table in predictions.by_model().items()
        for column in table.columns
        if column not in KEYS and table.height > 1 and _spread(table[column]) <= SAME
    ]


def _spread(values: pl.Series) -> float:
    """Range of the values, relative to the largest; 0 for equal ones."""
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    return (high - low) / (max(abs(low), abs(high)) or 1.0)


def _refuse_not_finite(fold: SavedFold, predictions: FoldPredictions) -> None:
    for name, table in predictions.by_model().items():
        columns = pl.col(column for column in table.columns if column not in KEYS)
        wrong = table.filter(~pl.all_horizontal(columns.is_finite()))
        if wrong.height:
            raise DataError(
                f"{fold.folder}: {name} predicts no number for {wrong.height:,} of {table.height:,} rows, as "
                f"for {wrong['code'][0]} on {wrong['date'][0]}: its weights are damaged; copy the run again, "
                "or train again"
            )


def network_output(fold: SavedFold, model: ATFTGATFANModel, batch: Batch) -> Tensor:
    """One network's predictions `[places, horizons]`, in the precision in which the run predicted."""
    with torch.inference_mode(), fold.precision(batch.labels.device):
        return predict_batch(model, batch)


def _network_scores(fold: SavedFold, model: ATFTGATFANModel, inputs: DayInputs) -> np.ndarray:
    with torch.inference_mode(), fold.precision(inputs.batches.device):
        return predict_samples(model, inputs.batches, inputs.days)


def _lightgbm_scores(fold: SavedFold, inputs: DayInputs) -> np.ndarray:
    values = inputs.panel.values[inputs.rows()]
    scores = [fold.boosters[horizon].predict(values) for horizon in fold.horizons]
    return np.stack(scores, axis=1, dtype=np.float32)


def _float32(wide: pl.DataFrame) -> pl.DataFrame:
    """The prediction table's type, in which ranks may tie that differ in Float64."""
    return wide.with_columns(pl.col(pl.Float64).cast(pl.Float32))
