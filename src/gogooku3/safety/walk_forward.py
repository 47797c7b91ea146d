"""Walk-forward folds in trading days: train up to a cut, skip an embargo, test on the days after. The embargo
covers the longest horizon, so every training label closes before the first test day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gogooku3.errors import ConfigError, DataError
from gogooku3.schema import DATE, HORIZONS, require_columns


@dataclass(frozen=True)
class Fold:
    """Day numbers of one fold: half-open ranges over the market's calendar."""

    number: int
    train: range
    test: range

    @property
    def gap_days(self) -> int:
        """Trading days strictly between the last training day and the first test day."""
        return self.test.start - self.train.stop


def plan_folds(n_days: int, n_splits: int, embargo_days: int, min_train_days: int) -> list[Fold]:
    """Cut a calendar of `n_days` trading days into expanding folds.

    The days after the first `min_train_days + embargo_days` are divided into `n_splits` test blocks
    of equal length; the first blocks get one more day each if there is a remainder.

    Raises:
        DataError: the calendar is too short.

    >>> [(f.train, f.test) for f in plan_folds(400, 2, 20, 252)]
    [(range(0, 252), range(272, 336)), (range(0, 316), range(336, 400))]
    """
    start = min_train_days + embargo_days
    if n_days - start < n_splits:
        raise DataError(
            f"{n_days} trading days are too few: min_train_days {min_train_days} + embargo_days "
            f"{embargo_days} + one test day for each of {n_splits} folds need {start + n_splits}; "
            "use more days, or lower split.min_train_days or split.n_splits"
        )
    length, longer = divmod(n_days - start, n_splits)
    folds = []
    for number in range(n_splits):
        stop = start + length + (number < longer)
        folds.append(Fold(number, range(0, start - embargo_days), range(start, stop)))
        start = stop
    return folds


def split_tail(days: range, fraction: float, embargo_days: int) -> tuple[range, range]:
    """Split off the last `fraction` of a day range for validation, after an embargo.

    Returns:
        (fit days, validation days), with `embargo_days` strictly between them.

    Raises:
        DataError: the range is too short for a single fit day.

    >>> split_tail(range(0, 300), 0.2, 20)
    (range(0, 220), range(240, 300))
    """
    length = max(1, round(len(days) * fraction))
    cut = days.stop - length
    if cut - embargo_days <= days.start:
        raise DataError(
            f"{len(days)} training days leave none to fit after {length} validation days and an "
            f"embargo of {embargo_days}; use more days, or lower training.validation_fraction"
        )
    return range(days.start, cut - embargo_days), range(cut, days.stop)


class WalkForwardSplitterV2:
    """Expanding walk-forward folds over trading days; also a scikit-learn `cv=`.

    Args:
        n_splits: number of folds.
        embargo_days: trading days strictly between a fold's last training day and first test day.
        min_train_days: trading days in the first fold's training range (252: one year).
        horizons: label horizons, in trading days; the longest may not exceed the embargo.

    Raises:
        ConfigError: a number is out of range, or the embargo is shorter than the longest horizon.

    >>> splitter = WalkForwardSplitterV2(n_splits=3, embargo_days=20, min_train_days=60)
    >>> splitter.get_n_splits()
    3
    """

    def __init__(
        self,
        n_splits: int = 5,
        embargo_days: int = 20,
        min_train_days: int = 252,
        horizons: Sequence[int] = HORIZONS,
    ) -> None:
        for name, value in (("n_splits", n_splits), ("min_train_days", min_train_days)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; set it to 1 or more")
        # A label of the last training day t closes on t + horizon <= t + embargo < first test day.
        if embargo_days < max(horizons):
            raise ConfigError(
                f"embargo_days is {embargo_days} trading days but the longest horizon is "
                f"{max(horizons)}; raise it to {max(horizons)} or more"
            )
        self.n_splits = n_splits
        self.embargo_days = embargo_days
        self.min_train_days = min_train_days
        self.horizons = tuple(horizons)

    def folds(self, n_days: int) -> list[Fold]:
        """The folds as day ranges over a calendar of `n_days` trading days."""
        return plan_folds(n_days, self.n_splits, self.embargo_days, self.min_train_days)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of folds (scikit-learn's protocol)."""
        return self.n_splits

    def split(
        self, X: Any, y: object = None, groups: object = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield `(train_idx, test_idx)`: row positions, ascending.

        Args:
            X: a frame with a `date` column (Polars or pandas), or any array if `groups` holds the dates.
            y: ignored.
            groups: one date per row, used instead of the frame's. Times of day are dropped.

        Raises:
            DataError: the rows have no dates, a date is missing, or there are too few days.
        """
        days, calendar = _day_numbers(X, groups)
        for fold in self.folds(len(calendar)):
            yield _positions(days, fold.train), _positions(days, fold.test)

    def validate_split(self, X: Any, groups: object = None) -> dict[str, Any]:
        """Check the rows that `split` yields for training labels that close in the test days.

        Returns:
            `overlaps`: one entry per training label that closes on or after its fold's first test
            day (empty if the folds are safe); `smallest_gap_days`: trading days between train and
            test; `folds`: first and last date of each part.
        """
        days, calendar = _day_numbers(X, groups)
        overlaps, folds, gaps = [], [], []
        for number, (train, test) in enumerate(self.split(X, groups=groups)):
            last_train, first_test = int(days[train].max()), int(days[test].min())
            gaps.append(first_test - last_train - 1)
            overlaps += [
                {"fold": number, "horizon": h, "label_closes": last_train + h, "first_test": first_test}
                for h in self.horizons
                if last_train + h >= first_test
            ]
            train_days = (str(calendar[days[train].min()]), str(calendar[last_train]))
            test_days = (str(calendar[first_test]), str(calendar[days[test].max()]))
            folds.append({"fold": number, "train": train_days, "test": test_days})
        return {"overlaps": overlaps, "smallest_gap_days": min(gaps), "folds": folds}


def _positions(days: np.ndarray, span: range) -> np.ndarray:
    """Positions of the rows whose day number is in the span."""
    return np.flatnonzero((days >= span.start) & (days < span.stop))


def _day_numbers(X: Any, groups: Any) -> tuple[np.ndarray, np.ndarray]:
    """Day number of each row, and the calendar that the numbers index."""
    if groups is None:
        if not hasattr(X, "columns"):
            raise DataError(
                "rows have no dates: pass a frame with a 'date' column, or groups=dates (one per row)"
            )
        require_columns(X.columns, [DATE], "a frame to split")
        groups = X[DATE]
    # Drop times of day: a trading day is one date.
    if isinstance(groups, np.ndarray):
        dates = groups.astype("datetime64[D]") if groups.dtype.kind == "M" else groups
    else:
        series = pl.Series(groups)
        dates = (series.dt.date() if isinstance(series.dtype, pl.Datetime) else series).to_numpy()
    if len(dates) == 0:
        raise DataError("no rows to split; pass a frame or dates with at least one row")
    if dates.dtype.kind == "M" and (missing := int(np.isnat(dates).sum())):
        raise DataError(f"{missing} rows to split have no date; remove them")
    calendar, days = np.unique(dates, return_inverse=True)
    return days, calendar
