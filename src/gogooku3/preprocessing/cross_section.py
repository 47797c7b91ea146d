"""Day-wise normalisation: each day is standardised with its own cross-section alone.

Known at the close of that day, so nothing crosses days. What `fit` learns on training rows (the
columns, their order, pooled statistics) serves only where a day cannot carry its own.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.preprocessing.day_columns import DayColumns
from gogooku3.preprocessing.standardize import TOLERANCE, clip_day, standardize_day, tame
from gogooku3.schema import DATE, MIN_STOCKS, feature_columns, require_columns

logger = logging.getLogger(__name__)

_DAYS = 8
"""Days whose tails are tamed and whose verdicts are standardised in one go: one's are not worth the calls."""


@dataclass
class DayStatistics:
    """What each day said of each feature, float64 `[days, features]`, before it was standardised."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @staticmethod
    def empty(n_days: int, n_features: int) -> "DayStatistics":
        """Statistics to be filled in, day by day."""
        shape = (n_days, n_features)
        return DayStatistics(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def pooled(self, days: slice) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all rows of some days (Chan et al., 1979).

        A feature never seen has mean 0 and deviation 1; one without any spread deviation 1.
        """
        count, mean, variance = self.count[days], self.mean[days], self.variance[days]
        total = np.maximum(count.sum(axis=0), 1)
        centre = (count * mean).sum(axis=0) / total
        spread = (count * (variance + (mean - centre) ** 2)).sum(axis=0) / total
        deviation = np.sqrt(spread)
        return centre, np.where(deviation > 1e-6 * np.abs(centre), deviation, 1.0)


@dataclass
class NormalizationReport:
    """How often `transform` could not take the plain way."""

    rows: int = 0
    fallback_cells: int = 0
    missing_cells: int = 0
    fallback_by_feature: dict[str, int] = field(default_factory=dict)


class CrossSectionalNormalizerV2:
    """Standardise every feature by day; `fit` on training rows serves only as a fallback.

    Args:
        cache_stats: keep what each day said before it was standardised, in `day_statistics`, to
            undo a transformation or to watch inputs drift.
        robust_clip: largest |z| that stays, in standard deviations.
        feature_columns: columns to normalise; None takes every numeric column that is neither a
            key nor a target.

    Attributes:
        report: how many cells the last `transform` filled or served from the fallback.
        day_statistics: count, mean and variance of each day (ascending) and feature in the last
            `transform`; None before it, or without `cache_stats`.

    Raises:
        ConfigError: `robust_clip` is not above 1.
    """

    def __init__(
        self,
        cache_stats: bool = True,
        robust_clip: float = 5.0,
        feature_columns: Sequence[str] | None = None,
    ) -> None:
        if not robust_clip > 1:
            raise ConfigError(f"robust_clip is {robust_clip} standard deviations; set it above 1")
        self.cache_stats = cache_stats
        self.robust_clip = float(robust_clip)
        self.feature_columns = tuple(feature_columns) if feature_columns is not None else None
        self.columns: tuple[str, ...] = ()
        self.fallback_mean = np.empty(0)
        self.fallback_std = np.empty(0)
        self.report = NormalizationReport()
        self.day_statistics: DayStatistics | None = None

    def fit(self, frame: pl.DataFrame) -> "CrossSectionalNormalizerV2":
        """Record the columns, their order and pooled statistics of training rows.

        Raises:
            DataError: there are no rows or no numeric features.
        """
        columns = self.feature_columns or feature_columns(frame.schema)
        require_columns(frame.columns, [DATE, *columns], "a frame to normalise")
        if frame.is_empty() or not columns:
            raise DataError(
                "no rows or no numeric features to fit on; give the training rows with their features"
            )
        cells = pl.col(columns).cast(pl.Float64)
        known = frame.select(pl.when(cells.is_finite()).then(cells))
        mean = known.mean().row(0)
        std = known.std(ddof=0).row(0)
        self.columns = tuple(columns)
        self.fallback_mean = np.array([0.0 if m is None else m for m in mean])
        spread = np.array([0.0 if s is None else s for s in std])
        self.fallback_std = np.where(spread > 1e-6 * np.abs(self.fallback_mean), spread, 1.0)
        return self

    def transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Standardise each day of `frame`; rows, their order and other columns stay.

        Missing values (null, NaN, infinite) become 0, the day's mean; `missing_mask` of the frame
        before tells them.

        Raises:
            DataError: not fitted, a fitted column is missing, or a row has no date.
        """
        if not self.columns:
            raise DataError("the normaliser is not fitted; call fit(training rows) first")
        require_columns(frame.columns, [DATE, *self.columns], "a frame to normalise")
        if lost := frame[DATE].null_count():
            raise DataError(f"{lost:,} rows to normalise have no date; leave them out")
        values = frame.select(pl.col(self.columns).cast(pl.Float32)).to_numpy(order="c", writable=True)
        days = frame[DATE].rank("dense").to_numpy().astype(np.int64) - 1 if frame.height else np.empty(0, int)
        order = None if bool((days[1:] >= days[:-1]).all()) else np.argsort(days, kind="stable")
        ordered = values if order is None else values[order]
        bounds = np.searchsorted(days if order is None else days[order], np.arange(days.max(initial=-1) + 2))
        self._transform_blocks([ordered[a:b] for a, b in pairwise(bounds)])
        if order is not None:
            values[order] = ordered
        normalized = [pl.Series(name, values[:, i]) for i, name in enumerate(self.columns)]
        return frame.with_columns(normalized)

    def fit_transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`fit(frame).transform(frame)`: for training rows only."""
        return self.fit(frame).transform(frame)

    def missing_mask(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Which cells are unknown: the fitted columns as booleans, in the order of the rows."""
        require_columns(frame.columns, self.columns, "a frame to normalise")
        return frame.select(~pl.col(self.columns).cast(pl.Float64).is_finite().fill_null(False))

    def validate_transform(self, frame: pl.DataFrame) -> dict[str, Any]:
        """Measure a normalised frame: worst |mean|, |std - 1| and |z| over its normal days.

        A feature's day is normal when it has at least `MIN_STOCKS` values other than 0 and some
        spread among them. A 0 may stand for a missing value, and m of n missing bring the deviation
        down to sqrt(1 - m / n): the error is the distance to what the zeros allow.

        Returns:
            `max_abs_mean`, `max_std_error`, `max_abs_value`, `days`, `violations` (feature and
            days beyond 0.05, or with a cell that is not finite) and `ok`.
        """
        columns = list(self.columns)
        require_columns(frame.columns, [DATE, *columns], "a normalised frame")
        cells = pl.col(columns).cast(pl.Float64)
        by_day = frame.group_by(DATE).agg(
            pl.len().alias("__n"),
            (~cells.is_finite()).fill_null(True).any().name.suffix("__unknown"),
            (cells != 0).sum().name.suffix("__known"),
            cells.filter(cells != 0).std(ddof=0).name.suffix("__spread"),
            cells.mean().name.suffix("__mean"),
            cells.std(ddof=0).name.suffix("__std"),
        )
        n = by_day["__n"].to_numpy()[:, None]
        unknown, known, spread, mean, std = (
            by_day.select(f"{column}__{name}" for column in columns).to_numpy()
            for name in ("unknown", "known", "spread", "mean", "std")
        )
        normal = (known >= MIN_STOCKS) & (spread > 1e-3)
        mean_error = np.where(normal, np.abs(mean), 0)
        std_error = np.where(normal, np.maximum(std - 1, np.sqrt(known / n) - std), 0)
        broken = unknown | ~(mean_error < TOLERANCE) | ~(std_error < TOLERANCE)
        extreme = float(frame.select(pl.max_horizontal(cells.abs().max())).item() or 0.0)
        violations = {c: int(days) for c, days in zip(columns, broken.sum(axis=0), strict=True) if days}
        return {
            "days": int((n >= MIN_STOCKS).sum()),
            "max_abs_mean": float(mean_error.max(initial=0)),
            "max_std_error": float(std_error.max(initial=0)),
            "max_abs_value": extreme,
            "violations": violations,
            "ok": not violations and extreme <= self.robust_clip + 1e-4,
        }

    def to_dict(self) -> dict[str, Any]:
        """What `predict` needs on a later day: columns, order, clip and fallback statistics."""
        return {
            "columns": list(self.columns),
            "robust_clip": self.robust_clip,
            "fallback_mean": self.fallback_mean.tolist(),
            "fallback_std": self.fallback_std.tolist(),
        }

    @staticmethod
    def from_dict(state: dict[str, Any]) -> "CrossSectionalNormalizerV2":
        """Rebuild a fitted normaliser from `to_dict`."""
        normalizer = CrossSectionalNormalizerV2(robust_clip=state["robust_clip"])
        normalizer.columns = tuple(state["columns"])
        normalizer.fallback_mean = np.array(state["fallback_mean"])
        normalizer.fallback_std = np.array(state["fallback_std"])
        return normalizer

    def _transform_blocks(self, blocks: list[np.ndarray]) -> None:
        """Standardise day blocks in place, then serve the fallbacks."""
        report = NormalizationReport(rows=sum(len(block) for block in blocks))
        fallback = np.zeros(len(self.columns), dtype=np.int64)
        statistics = DayStatistics.empty(len(blocks), len(self.columns))
        for day, block in enumerate(blocks):
            count, mean, variance, helpless = standardize_day(block, self.robust_clip)
            statistics.count[day], statistics.mean[day], statistics.variance[day] = count, mean, variance
            report.missing_cells += block.size - int(count.sum())
            _serve_fallback(block, helpless, self.fallback_mean, self.fallback_std, self.robust_clip)
            fallback += helpless * len(block)
        report.fallback_cells = int(fallback.sum())
        report.fallback_by_feature = {c: int(n) for c, n in zip(self.columns, fallback, strict=True) if n}
        self.report = report
        self.day_statistics = statistics if self.cache_stats else None
        if report.fallback_cells:
            logger.info(
                "%d of %d cells took training statistics (too few stocks or no spread that day): %s",
                report.fallback_cells,
                report.rows * len(self.columns),
                choices(report.fallback_by_feature),
            )


def _serve_fallback(
    block: np.ndarray, helpless: np.ndarray, mean: np.ndarray, std: np.ndarray, clip: float
) -> None:
    """Standardise in place the columns that the day could not carry; missing becomes 0."""
    if not helpless.any():
        return
    scaled = (block[:, helpless] - mean[helpless]) / std[helpless]
    block[:, helpless] = np.nan_to_num(np.clip(scaled, -clip, clip), nan=0.0)


@dataclass(frozen=True)
class Judge:
    """What a day's z-scores say about its rows: more features, written behind those they are made of.

    Attributes:
        width: how many.
        of_day: a standardised day -> float32 `[stocks, width]`, raw, NaN where unknown.
        compare: finishes in place what compares the stocks of a day: float32 `[stocks, days, width]`, some
            days side by side, NaN below the last stock of each.
    """

    width: int
    of_day: Callable[[DayColumns], np.ndarray]
    compare: Callable[[np.ndarray], None]


@dataclass(frozen=True)
class _Kept:
    """What a day could not carry itself: numbers of the features, those seen at all, and their raw cells."""

    day: int
    features: np.ndarray
    seen: np.ndarray
    raw: np.ndarray


class PanelNormalizer:
    """The same normalisation over a panel, in place, once for all folds.

    A day's own statistics do not depend on the fold; only the fallback does. So the cube is
    standardised once, the raw cells of the few (day, feature) pairs that could not carry
    themselves are kept, and `fit_fold` rewrites those alone.

    Args:
        panel: its `values` are overwritten.
        robust_clip: as `CrossSectionalNormalizerV2`.
        judge: makes the panel's last features from the day's z-scores of the others, and they are
            standardised with them: each day is read and written once.
    """

    def __init__(self, panel: Panel, robust_clip: float = 5.0, judge: Judge | None = None) -> None:
        self.panel = panel
        self.robust_clip = robust_clip
        self.statistics = DayStatistics.empty(panel.n_days, len(panel.features))
        self._judge = judge
        self._judged = judge.width if judge else 0
        self._width = len(panel.features) - self._judged
        self._kept: list[_Kept] = []
        days = (range(first, min(first + _DAYS, panel.n_days)) for first in range(0, panel.n_days, _DAYS))
        # One after the other: two threads would spend what they win on the interpreter's lock.
        self.missing_cells = sum(map(self._standardize, days))

    def fit_fold(self, train: range) -> CrossSectionalNormalizerV2:
        """Serve the fallback cells of every day with the statistics of a fold's training days.

        Returns:
            the normaliser of that fold, for its run folder.
        """
        normalizer = CrossSectionalNormalizerV2(robust_clip=self.robust_clip)
        normalizer.columns = self.panel.features
        mean, std = self.statistics.pooled(slice(train.start, train.stop))
        normalizer.fallback_mean, normalizer.fallback_std = mean, std
        self.serve(normalizer)
        return normalizer

    def serve(self, normalizer: CrossSectionalNormalizerV2) -> None:
        """Serve the fallback cells of every day with what a normaliser was fitted on; its report counts them.

        Raises:
            DataError: it was fitted on other features than the panel's.
        """
        if normalizer.columns != self.panel.features:
            raise DataError(
                f"the normaliser was fitted on {len(normalizer.columns)} features, other than the panel's "
                f"{len(self.panel.features)}; bring the same features in the same order"
            )
        mean, std = normalizer.fallback_mean, normalizer.fallback_std
        rows = np.zeros(len(self.panel.features), np.int64)
        for kept in self._kept:
            scaled = (kept.raw - mean[kept.seen]) / std[kept.seen]
            np.clip(scaled, -self.robust_clip, self.robust_clip, out=scaled)
            stocks = np.flatnonzero(self.panel.mask[kept.day])
            np.copyto(scaled, 0, where=np.isnan(scaled))
            self.panel.values[kept.day][stocks[:, None], kept.seen] = scaled
            rows[kept.features] += len(stocks)
        served = {self.panel.features[feature]: int(rows[feature]) for feature in np.flatnonzero(rows)}
        normalizer.report = NormalizationReport(
            self.panel.n_rows, sum(served.values()), self.missing_cells, served
        )

    def _standardize(self, days: range) -> int:
        """Standardise some days in place; the missing cells of the stocks that traded."""
        stocks = [np.flatnonzero(self.panel.mask[day]) for day in days]
        verdicts = np.full((max(map(len, stocks)), len(days), self._judged), np.nan, np.float32)
        wild = []
        for number, (day, there) in enumerate(zip(days, stocks, strict=True)):
            # Absent stocks would give every column holes. Copied whole: memory is read fastest in one go.
            columns = DayColumns.of(self.panel.values[day].copy()[there, : self._width])
            columns.standardize()
            if self._judge:
                verdicts[: len(there), number] = self._judge.of_day(columns)
            carried, found = clip_day(columns, self.robust_clip)
            wild.append(found)
            self._note(slice(day, day + 1), slice(self._width), columns)
            self._store(day, there, 0, columns.values, carried)
            self.panel.values[day][~self.panel.mask[day]] = 0
        if self._judge:
            self._judge.compare(verdicts)
        # Side by side, the verdicts of several days are columns like any others.
        columns = DayColumns.of(verdicts.reshape(len(verdicts), -1).copy())
        columns.standardize()
        carried, found = clip_day(columns, self.robust_clip)
        self._note(slice(days.start, days.stop), slice(self._width, None), columns)
        *tamed, judged = tame([*wild, found], self.robust_clip)
        columns.values[:, found.features] = judged.T
        scores, carried = columns.values.reshape(verdicts.shape), carried.reshape(len(days), -1)
        for number, (day, there) in enumerate(zip(days, stocks, strict=True)):
            cube = self.panel.values[day]
            cube[there[:, None], wild[number].features] = tamed[number].T
            cube[there, self._width :] = verdicts[: len(there), number]
            self._store(day, there, self._width, scores[: len(there), number], carried[number])
        known = self.statistics.count[days.start : days.stop].sum()
        return sum(map(len, stocks)) * len(self.panel.features) - int(known)

    def _note(self, days: slice, features: slice, columns: DayColumns) -> None:
        """Keep what some days said of some features."""
        for found, whole in (
            (columns.count, self.statistics.count),
            (columns.centre, self.statistics.mean),
            (columns.variance, self.statistics.variance),
        ):
            part = whole[days, features]
            part[...] = found.reshape(part.shape)

    def _store(
        self, day: int, stocks: np.ndarray, first: int, scores: np.ndarray, carried: np.ndarray
    ) -> None:
        """Write neighbouring features of a day over their raw cells in the panel, from the first on.

        Those that the day could not carry stay raw in the panel until they are served.
        """
        cube, after = self.panel.values[day], first + len(carried)
        if carried.all():
            cube[stocks, first:after] = scores
            return
        features = first + np.flatnonzero(~carried)
        seen = features[self.statistics.count[day, features] > 0]
        # Rows first: picking single cells costs more than the cells between them.
        raw = cube[stocks, features[0] : features[-1] + 1][:, seen - features[0]]
        raw[~np.isfinite(raw)] = np.nan
        cube[stocks, first:after] = scores
        cube[stocks[:, None], seen] = raw
        self._kept.append(_Kept(day, features, seen, raw))
