"""The days that a saved fold predicts, read and prepared for its models. It loads no torch."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.errors import DataError
from gogooku3.features.quality import QUALITY_FEATURES, add_quality, normalize_with_quality
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.inference.saved_state import SavedState
from gogooku3.preprocessing.cross_section import DayStatistics
from gogooku3.schema import DATE


@dataclass(frozen=True)
class RawDays:
    """Some days as they lie in the data, and the days before them that windows and graphs reach.

    Attributes:
        panel: raw, with room for the quality features.
        days: days of the panel to predict.
    """

    panel: Panel
    days: range


@dataclass(frozen=True)
class DayPanel:
    """Some days, and the days before them that their windows reach.

    Attributes:
        panel: normalised, from the first day of the first window on.
        days: days of the panel to predict.
        statistics: what each day of the panel said of each feature before it was standardised; None where
            nothing was.
        market: the market's state by day of the panel, float32 `[days, market_dim]`; None where not used.
        schedule: the graphs of the days to predict; None where every stock stands alone.
    """

    panel: Panel
    days: range
    statistics: DayStatistics | None
    market: np.ndarray | None
    schedule: GraphSchedule | None


def read_days(
    fold: SavedState, data_path: Path | str, first: dt.date | None = None, last: dt.date | None = None
) -> RawDays:
    """Some days of a data set file, of which only the days needed are read.

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
    return take_days(fold, frame, calendar[days.start].item(), calendar[days.stop - 1].item())


def take_days(
    fold: SavedState, frame: pl.DataFrame, first: dt.date | None = None, last: dt.date | None = None
) -> RawDays:
    """Some days of rows at hand.

    Args:
        fold: the saved fold.
        frame: `date, code` and the fold's features, every row of its days; other columns are left alone, and
            days before those that the run was allowed to see.
        first, last: days to predict, as for `read_days`.

    Raises:
        DataError: a feature is missing, no such day, or too few days before it.
    """
    features = fold.file_features
    if fold.start_date is not None and (frame[DATE] < fold.start_date).any():
        frame = frame.filter(pl.col(DATE) >= fold.start_date)
    panel = Panel.from_frame(frame, features, fold.horizons, reserve=tuple(QUALITY_FEATURES))
    days = _positions(panel.dates, first, last, "the data")
    window = days.start - (fold.sequence_length - 1)
    if window < 0:
        raise DataError(
            f"{panel.dates[days.start]} is day {days.start + 1} of the data, but a prediction needs a "
            f"window of {fold.sequence_length} trading days; bring earlier days, or predict a later one"
        )
    return RawDays(panel, days)


def prepare_days(fold: SavedState, raw: RawDays) -> DayPanel:
    """Quality features, normalisation and market state, and the graphs beside them."""
    window = raw.days.start - (fold.sequence_length - 1)
    inside = slice(window, raw.days.stop)
    panel = replace(
        raw.panel,
        dates=raw.panel.dates[inside],
        values=raw.panel.values[inside],
        mask=raw.panel.mask[inside],
        targets=raw.panel.targets[inside],
    )
    graphs = None
    with ThreadPoolExecutor(1) as beside:
        if fold.graph_builder is not None:
            # As they are now: they are normalised meanwhile.
            returns = raw.panel.values[:, :, raw.panel.feature_index(fold.return_column)].copy()
            graphs = beside.submit(
                GraphSchedule.build, raw.panel.dates, raw.panel.codes, returns, fold.graph_builder, raw.days
            )
        statistics = _normalize(fold, panel)
    market = None
    if fold.market_state is not None and statistics is not None:
        market = fold.market_state.transform(statistics)
    days = range(fold.sequence_length - 1, panel.n_days)
    return DayPanel(panel, days, statistics, market, graphs.result() if graphs else None)


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


def _oldest_needed(fold: SavedState, calendar: np.ndarray, days: range) -> int:
    """Place of the oldest day that a window or the first month's graph reads."""
    oldest = days.start - (fold.sequence_length - 1)
    if fold.graph_builder is not None:
        month = calendar[days.start].astype("datetime64[M]").astype("datetime64[D]")
        begins = int(np.searchsorted(calendar, month))
        oldest = min(oldest, begins - fold.graph_builder.correlation_window)
    return max(0, oldest)


def _normalize(fold: SavedState, panel: Panel) -> DayStatistics | None:
    """Add quality features and standardise in place, day by day, with the fold's own fallback."""
    if fold.normalizer is None:
        add_quality(panel)
        np.nan_to_num(panel.values, copy=False)
        return None
    normalizer = normalize_with_quality(panel, fold.normalizer.robust_clip)
    normalizer.serve(fold.normalizer)
    return normalizer.statistics
