"""Predicts any days with a saved fold, from the same inputs that the pipeline makes. Nothing is trained here.

Lightning stays out: one forward pass a day needs no loop, and loading it takes longer than predicting.
"""

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.evaluation.ensemble import rank_average
from gogooku3.features.quality import QUALITY_FEATURES, add_quality, normalize_with_quality
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.safety.cross_section import DayStatistics
from gogooku3.training.batches import Batch, PanelBatches, StackedGraphs, predict_batch
from gogooku3.training.saved_fold import SavedFold


@dataclass(frozen=True)
class DayInputs:
    """What a fold's models read on some days.

    Attributes:
        panel: normalised, from the first day of the first window on.
        days: days of the panel to predict.
        statistics: what each day of the panel said of each feature before it was standardised; None where
            nothing was.
        batches: gathers the networks' samples.
    """

    panel: Panel
    days: range
    statistics: DayStatistics | None
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
    """The inputs of some days, from a data set file of which only the days needed are read.

    Args:
        fold: the saved fold.
        data_path: a data set; it may lack targets.
        first: first day to predict; None: the last one alone.
        last: last day to predict; None: the newest of the file.

    Raises:
        DataError: other features than the fold's, no such day, or too few days before it.
    """
    file = fold.open(data_path)
    calendar = file.days().to_numpy().astype("datetime64[D]")
    days = _positions(calendar, first, last, str(data_path))
    if fold.start_date is not None:
        before = int((calendar < np.datetime64(fold.start_date)).sum())
        calendar, days = calendar[before:], range(days.start - before, days.stop - before)
    oldest = _oldest_needed(fold, calendar, days)
    frame = file.read(calendar[oldest].item(), calendar[days.stop - 1].item())
    return prepare_inputs(fold, frame, calendar[days.start].item(), calendar[days.stop - 1].item())


def prepare_inputs(
    fold: SavedFold, frame: pl.DataFrame, first: dt.date | None = None, last: dt.date | None = None
) -> DayInputs:
    """The inputs of some days, from rows at hand: quality features, normalisation, market state, graphs.

    Args:
        fold: the saved fold.
        frame: `date, code` and the fold's features, every row of its days; other columns are left alone.
        first, last: days to predict, as for `read_inputs`.

    Raises:
        DataError: a feature is missing, no such day, or too few days before it.
    """
    features = fold.file_features
    panel = Panel.from_frame(frame, features, fold.horizons, reserve=tuple(QUALITY_FEATURES))
    days = _positions(panel.dates, first, last, "the data")
    window = days.start - (fold.sequence_length - 1)
    if window < 0:
        raise DataError(
            f"{panel.dates[days.start]} is day {days.start + 1} of the data, but a prediction needs a "
            f"window of {fold.sequence_length} trading days; bring earlier days, or predict a later one"
        )
    schedule = _schedule(fold, panel, days)
    inside = slice(window, days.stop)
    panel = replace(
        panel,
        dates=panel.dates[inside],
        values=panel.values[inside],
        mask=panel.mask[inside],
        targets=panel.targets[inside],
    )
    days = range(fold.sequence_length - 1, panel.n_days)
    statistics = _normalize(fold, panel)
    market = None
    if fold.market_state is not None and statistics is not None:
        market = fold.market_state.transform(statistics)
    graphs = None if schedule is None else _stacked(schedule, days, panel.n_days)
    batches = PanelBatches(panel, panel.targets, fold.sequence_length, graphs, market=market)
    return DayInputs(panel, days, statistics, batches)


def predict_days(fold: SavedFold, inputs: DayInputs) -> FoldPredictions:
    """Predict every sample of the days with each of the fold's models.

    The numbers are those that the run wrote for the same days, to rounding.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs.batches.to(device)
    members = {
        name: _with_keys(fold, inputs, _network_scores(fold, model.to(device), inputs))
        for name, model in fold.networks.items()
    }
    networks = list(members.values())
    network = networks[0] if len(networks) == 1 else _float32(rank_average(networks))
    lightgbm = None
    if fold.boosters:
        day, stock = inputs.rows(fold.sequence_length)
        values = inputs.panel.values[day, stock]
        scores = [fold.boosters[horizon].predict(values) for horizon in fold.horizons]
        lightgbm = _with_keys(fold, inputs, np.stack(scores, axis=1).astype(np.float32))
    models = [network] if lightgbm is None else [network, lightgbm]
    return FoldPredictions(members, network, lightgbm, _float32(rank_average(models)))


def network_output(fold: SavedFold, model: ATFTGATFANModel, batch: Batch) -> Tensor:
    """One network's predictions `[samples, horizons]` in the precision that the run predicted in."""
    with (
        torch.inference_mode(),
        torch.autocast(batch.x.device.type, dtype=torch.bfloat16, enabled=fold.half_precision),
    ):
        return predict_batch(model, batch)


def _network_scores(fold: SavedFold, model: ATFTGATFANModel, inputs: DayInputs) -> np.ndarray:
    served = [day for day in inputs.days if inputs.batches.samples_by_day[day]]
    scores = [network_output(fold, model, inputs.batches.gather([day])).float().cpu() for day in served]
    return torch.cat(scores).numpy()


def _with_keys(fold: SavedFold, inputs: DayInputs, scores: np.ndarray) -> pl.DataFrame:
    keys = PanelSlice(inputs.panel, inputs.days).keys(fold.sequence_length)
    return keys.with_columns(
        pl.Series(f"prediction_{horizon}d", scores[:, place]) for place, horizon in enumerate(fold.horizons)
    )


def _float32(wide: pl.DataFrame) -> pl.DataFrame:
    """As the prediction table has it: two ranks may tie there that Float64 tells apart."""
    return wide.with_columns(pl.col(pl.Float64).cast(pl.Float32))


def _positions(calendar: np.ndarray, first: dt.date | None, last: dt.date | None, what: str) -> range:
    """Places of the days in a calendar."""
    end = calendar[-1] if last is None else np.datetime64(last, "D")
    start = end if first is None else np.datetime64(first, "D")
    for day in (start, end):
        if day not in calendar:
            place = int(np.searchsorted(calendar, day))
            near = " and ".join(str(d) for d in calendar[max(0, place - 1) : place + 1])
            raise DataError(
                f"{what} has no rows on {day}; it covers {calendar[0]} to {calendar[-1]}, and the nearest "
                f"days with rows are {near}"
            )
    if start > end:
        raise DataError(f"the first day to predict, {start}, lies after the last, {end}; swap them")
    return range(int(np.searchsorted(calendar, start)), int(np.searchsorted(calendar, end)) + 1)


def _oldest_needed(fold: SavedFold, calendar: np.ndarray, days: range) -> int:
    """Place of the oldest day that a window or the first month's graph reads."""
    oldest = days.start - (fold.sequence_length - 1)
    if fold.graph_builder is not None:
        month = calendar[days.start].astype("datetime64[M]").astype("datetime64[D]")
        begins = int(np.searchsorted(calendar, month))
        oldest = min(oldest, begins - fold.graph_builder.correlation_window)
    return max(0, oldest)


def _schedule(fold: SavedFold, panel: Panel, days: range) -> GraphSchedule | None:
    """The graphs of the months of the days, from raw returns."""
    if fold.graph_builder is None:
        return None
    returns = panel.values[:, :, panel.feature_index(fold.return_column)]
    return GraphSchedule.build(panel.dates, panel.codes, returns, fold.graph_builder, days)


def _stacked(schedule: GraphSchedule, days: range, n_days: int) -> StackedGraphs:
    """The graphs by day of the panel; days that are not predicted have none."""
    snapshot = np.full(n_days, -1, dtype=np.int64)
    snapshot[days.start : days.stop] = schedule.snapshot_index
    return StackedGraphs(snapshot, schedule.neighbours, schedule.weights, schedule.valid)


def _normalize(fold: SavedFold, panel: Panel) -> DayStatistics | None:
    """Add quality features and standardise in place, day by day, with the fold's own fallback."""
    if fold.normalizer is None:
        add_quality(panel)
        np.nan_to_num(panel.values, copy=False)
        return None
    normalizer = normalize_with_quality(panel, fold.normalizer.robust_clip)
    normalizer.serve(fold.normalizer)
    return normalizer.statistics
