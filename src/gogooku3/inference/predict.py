"""Predicts any days with a saved fold, from the same inputs that the pipeline makes. Nothing is trained here.

Lightning stays out: one forward pass a day needs no loop, and loading it takes longer than predicting.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gogooku3.data.panel import PanelSlice
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.inference.prepare_days import DayPanel, prepare_days, read_days, take_days
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.batches import Batch, PanelBatches, StackedGraphs, predict_batch


@dataclass(frozen=True)
class DayInputs(DayPanel):
    """What a fold's models read on some days.

    Attributes:
        batches: gathers the networks' samples.
    """

    batches: PanelBatches

    def rows(self, sequence_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Day and stock number of every sample of the days."""
        return PanelSlice(self.panel, self.days).rows(sequence_length)


@dataclass(frozen=True)
class FoldPredictions:
    """A fold's predictions, each `date, code, prediction_{h}d` (Float32), on the same rows in one order."""

    members: dict[str, pl.DataFrame]
    """Each network's own, by name."""
    network: pl.DataFrame
    """The run's `atft_gat_fan`: of one network its own, of several their average rank."""
    lightgbm: pl.DataFrame | None
    """None where the fold has no LightGBM."""
    rank_average: pl.DataFrame
    """Network and LightGBM averaged by rank; without LightGBM, the network's ranks."""


def read_inputs(
    fold: SavedFold, data_path: Path | str, first: dt.date | None = None, last: dt.date | None = None
) -> DayInputs:
    """The inputs of some days of a data set file; arguments and errors as of `day_panel.read_days`."""
    return gathered(fold, prepare_days(fold, read_days(fold, data_path, first, last)))


def prepare_inputs(
    fold: SavedFold, frame: pl.DataFrame, first: dt.date | None = None, last: dt.date | None = None
) -> DayInputs:
    """The inputs of some days, from rows at hand; arguments and errors as of `day_panel.take_days`."""
    return gathered(fold, prepare_days(fold, take_days(fold, frame, first, last)))


def gathered(fold: SavedFold, prepared: DayPanel) -> DayInputs:
    """The inputs of days that are prepared."""
    panel, days, schedule = prepared.panel, prepared.days, prepared.schedule
    graphs = None if schedule is None else _stacked(schedule, days, panel.n_days)
    batches = PanelBatches(panel, panel.targets, fold.sequence_length, graphs, market=prepared.market)
    return DayInputs(**vars(prepared), batches=batches)


def predict_days(fold: SavedFold, inputs: DayInputs) -> FoldPredictions:
    """Predict every sample of the days with each of the fold's models.

    The numbers are those that the run wrote for the same days, to rounding.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs.batches.to(device)
    with ThreadPoolExecutor(1) as beside:
        trees = beside.submit(_tree_scores, fold, inputs) if fold.boosters else None
        members = {
            name: _with_keys(fold, inputs, _network_scores(fold, model.to(device), inputs))
            for name, model in fold.networks.items()
        }
    networks = list(members.values())
    network = networks[0] if len(networks) == 1 else _float32(rank_average(networks))
    lightgbm = None if trees is None else _with_keys(fold, inputs, trees.result())
    models = [network] if lightgbm is None else [network, lightgbm]
    return FoldPredictions(members, network, lightgbm, _float32(rank_average(models)))


def network_output(fold: SavedFold, model: ATFTGATFANModel, batch: Batch) -> Tensor:
    """One network's predictions `[samples, horizons]` in the precision that the run predicted in."""
    with torch.inference_mode(), fold.precision(batch.x.device):
        return predict_batch(model, batch)


def _network_scores(fold: SavedFold, model: ATFTGATFANModel, inputs: DayInputs) -> np.ndarray:
    served = [day for day in inputs.days if inputs.batches.samples_by_day[day]]
    scores = [network_output(fold, model, inputs.batches.gather([day])).float().cpu() for day in served]
    return torch.cat(scores).numpy()


def _tree_scores(fold: SavedFold, inputs: DayInputs) -> np.ndarray:
    """LightGBM's, which takes little time; it does not hold up other threads."""
    values = inputs.panel.values[inputs.rows(fold.sequence_length)]
    return np.stack(
        [fold.boosters[horizon].predict(values) for horizon in fold.horizons], axis=1, dtype=np.float32
    )


def _with_keys(fold: SavedFold, inputs: DayInputs, scores: np.ndarray) -> pl.DataFrame:
    keys = PanelSlice(inputs.panel, inputs.days).keys(fold.sequence_length)
    return keys.with_columns(
        pl.Series(f"prediction_{horizon}d", scores[:, place]) for place, horizon in enumerate(fold.horizons)
    )


def _float32(wide: pl.DataFrame) -> pl.DataFrame:
    """As the prediction table has it: two ranks may tie there that Float64 tells apart."""
    return wide.with_columns(pl.col(pl.Float64).cast(pl.Float32))


def _stacked(schedule: GraphSchedule, days: range, n_days: int) -> StackedGraphs:
    """The graphs by day of the panel; days that are not predicted have none."""
    snapshot = np.full(n_days, -1, dtype=np.int64)
    snapshot[days.start : days.stop] = schedule.snapshot_index
    return StackedGraphs(snapshot, schedule.neighbours, schedule.weights, schedule.valid)
