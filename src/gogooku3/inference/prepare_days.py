"""Reads the days that a saved fold predicts and prepares them as in training, without importing torch.

`read_days` (from a file) or `select_days` (from a frame) gives `RawDays`; `prepare_days` gives `DayInputs`.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.features.quality import QUALITY_FEATURES, add_quality, normalize_with_quality
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from gogooku3.training.batches import Batch, PanelBatches


@dataclass(frozen=True)
class RawDays:
    """Days to predict as the data has them, with the earlier days that stretches and graphs read.

    Attributes:
        panel: raw, with columns reserved for the quality features.
        days: positions in the panel of the days to predict.
    """

    panel: Panel
    days: range


@dataclass(frozen=True)
class DayInputs:
    """Inputs of a fold's models on the days to predict.

    Attributes:
        panel: normalised, from the first day of the first stretch on.
        days: positions in the panel of the days to predict.
        statistics: each day's statistics of each feature before normalisation; None without normalisation.
        market: the market's state by day of the panel, float32 `[days, market_dim]`; None where not used.
        schedule: graphs of the days to predict; None for a fold without graphs.
        sequence_length: trading days of a window.
    """

    panel: Panel
    days: range
    statistics: DayStatistics | None
    market: np.ndarray | None
    schedule: GraphSchedule | None
    sequence_length: int

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Day and stock number of every sample of the days to predict."""
        return PanelSlice(self.panel, self.days).rows(self.sequence_length)

    def keys(self) -> pl.DataFrame:
        """`date, code` of every sample of the days to predict, in the order of `rows`."""
        return PanelSlice(self.panel, self.days).keys(self.sequence_length)

    def batch(self, day: int) -> "Batch":
        """All samples of one day to predict; imports torch."""
        return self.batches.gather([self.batches.block(range(day, day + 1))])

    @cached_property
    def batches(self) -> "PanelBatches":
        """Gathers the networks' samples of the days to predict; imports torch."""
        from gogooku3.training.batches import PanelBatches

        graphs = self.schedule
        if graphs is not None:
            # Days that are not predicted have no graph.
            snapshot = np.full(self.panel.n_days, -1, dtype=np.int64)
            snapshot[self.days.start : self.days.stop] = graphs.snapshot_index
            graphs = replace(graphs, snapshot_index=snapshot)
        samples = np.zeros_like(self.panel.mask)
        samples[self.rows()] = True
        return PanelBatches(
            self.panel, self.panel.targets, self.sequence_length, graphs, samples, self.market
        )


def read_days(
    fold: SavedFold, data_path: Path | str, first: dt.date | None = None, last: dt.date | None = None
) -> RawDays:
    """Read days to predict from a data set file, and only the earlier days that they need.

    Args:
        data_path: a data set; it may lack targets.
        first: first day to predict; None: only the last one.
        last: last day to predict; None: the newest of the file.

    Raises:
        DataError: other features than the fold's, no such day, or too few days before it.
    """
    file = fold.open_data(data_path)
    calendar = file.days().to_numpy().astype("datetime64[D]")
    days = _positions(calendar, first, last, str(data_path))
    if fold.start_date is not None:
        hidden = int((calendar < np.datetime64(fold.start_date)).sum())
        calendar, days = calendar[hidden:], range(days.start - hidden, days.stop - hidden)
    first, last = calendar[days.start].item(), calendar[days.stop - 1].item()
    # Both the stretches and the graph of the first month read days before the month.
    earlier_days = fold.sequence_length
    if fold.graph_builder is not None:
        earlier_days = max(earlier_days, fold.graph_builder.correlation_window)
    oldest = max(0, _month_start(calendar, days.start) - earlier_days)
    frame = file.read(calendar[oldest].item(), last)
    return select_days(fold, frame, first, last)


def select_days(
    fold: SavedFold, frame: pl.DataFrame, first: dt.date | None = None, last: dt.date | None = None
) -> RawDays:
    """Take days to predict from a frame.

    Args:
        frame: `date, code` and the fold's features, with every row of its days; other columns and days
            before the run's `start_date` are ignored.
        first, last: days to predict, as for `read_days`.

    Raises:
        DataError: a feature is missing, no such day, or too few days before it.
    """
    features = fold.file_features
    if fold.start_date is not None and (frame[DATE] < fold.start_date).any():
        frame = frame.filter(pl.col(DATE) >= fold.start_date)
    panel = Panel.from_frame(frame, features, fold.horizons, reserve=tuple(QUALITY_FEATURES))
    days = _positions(panel.dates, first, last, "the data")
    if days.start < fold.sequence_length - 1:
        raise DataError(
            f"{panel.dates[days.start]} is day {days.start + 1} of the data, but a prediction needs a "
            f"window of {fold.sequence_length} trading days; bring earlier days, or predict a later one"
        )
    return RawDays(panel, days)


def prepare_days(fold: SavedFold, raw: RawDays) -> DayInputs:
    """Compute quality features, normalisation, market state and graphs; overwrites the raw values."""
    first_step = max(0, _month_start(raw.panel.dates, raw.days.start) - fold.sequence_length)
    needed = slice(first_step, raw.days.stop)
    parts = {name: getattr(raw.panel, name)[needed] for name in ("dates", "values", "mask", "targets")}
    panel = replace(raw.panel, **parts)
    schedule = None
    with ThreadPoolExecutor(1) as worker:
        if fold.graph_builder is not None:
            # A copy: the values are normalised in place meanwhile.
            returns = raw.panel.values[:, :, raw.panel.feature_index(fold.return_column)].copy()
            schedule = worker.submit(
                GraphSchedule.build, raw.panel.dates, raw.panel.codes, returns, fold.graph_builder, raw.days
            )
        statistics = _normalize(fold, panel)
    market = None
    if fold.market_state is not None and statistics is not None:
        market = fold.market_state.transform(statistics)
    days = range(raw.days.start - first_step, panel.n_days)
    graphs = schedule.result() if schedule else None
    return DayInputs(panel, days, statistics, market, graphs, fold.sequence_length)


def _month_start(calendar: np.ndarray, day: int) -> int:
    """Position of the first day of a day's calendar month, or of the calendar if it starts later."""
    return int(np.searchsorted(calendar, calendar[day].astype("datetime64[M]").astype("datetime64[D]")))


def _positions(calendar: np.ndarray, first: dt.date | None, last: dt.date | None, source: str) -> range:
    """Positions of the days in a calendar."""
    end = calendar[-1] if last is None else np.datetime64(last, "D")
    start = end if first is None else np.datetime64(first, "D")
    for day in (start, end):
        if day not in calendar:
            after = int(np.searchsorted(calendar, day))
            nearest = " and ".join(str(d) for d in calendar[max(0, after - 1) : after + 1])
            raise DataError(
                f"{source} has no rows on {day}; it covers {calendar[0]} to {calendar[-1]}, and the nearest "
                f"days with rows are {nearest}"
            )
    if start > end:
        raise DataError(f"the first day to predict, {start}, is after the last, {end}; swap them")
    return range(int(np.searchsorted(calendar, start)), int(np.searchsorted(calendar, end)) + 1)


def _normalize(fold: SavedFold, panel: Panel) -> DayStatistics | None:
    """Add quality features and standardise in place, day by day, with the fold's own fallback."""
    if fold.normalizer is None:
        add_quality(panel)
        np.nan_to_num(panel.values, copy=False)
        return None
    normalizer = normalize_with_quality(panel, fold.normalizer.robust_clip)
    normalizer.apply_fallback(fold.normalizer)
    return normalizer.statistics
