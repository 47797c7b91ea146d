"""Day-wise normalisation of a frame or a panel with each day's own cross-section, known at its close.
Statistics of the training rows are used only for cells that a day cannot scale by itself."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.preprocessing.outliers import TOLERANCE
from gogooku3.preprocessing.standardize import DerivedColumns, StandardizedDays
from gogooku3.schema import DATE, MIN_STOCKS, feature_columns, require_columns

logger = logging.getLogger(__name__)


@dataclass
class NormalizationReport:
    """Counts of the last `transform`: rows, cells scaled by the fallback, missing cells."""

    rows: int = 0
    fallback_cells: int = 0
    missing_cells: int = 0
    fallback_by_feature: dict[str, int] = field(default_factory=dict)


class CrossSectionalNormalizerV2:
    """Standardise every feature by day; statistics of the training rows are only a fallback.

    Args:
        cache_stats: keep each day's statistics in `day_statistics`, to undo a transformation or to
            monitor drift of the inputs.
        robust_clip: largest |z|, in standard deviations.
        feature_columns: columns to normalise; None takes every numeric column that is neither a
            key nor a target.

    Attributes:
        report: counts of the last `transform`: rows, fallback cells, missing cells.
        day_statistics: count, mean and variance of each day (ascending) and feature in the last
            `transform`; None before it, or without `cache_stats`.

    Raises:
        ConfigError: `robust_clip` is not above 1.
    """

    def __init__(
        self, cache_stats: bool = True, robust_clip: float = 5.0, feature_columns: Sequence[str] | None = None
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
        self.columns = tuple(columns)
        self.fallback_mean = known.mean().fill_null(0.0).to_numpy()[0]
        spread = known.std(ddof=0).fill_null(0.0).to_numpy()[0]
        self.fallback_std = np.where(spread > 1e-6 * np.abs(self.fallback_mean), spread, 1.0)
        return self

    def transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Standardise each day of `frame`; rows, their order and other columns stay.

        Missing values (null, NaN, infinite) become 0, the day's mean; `missing_mask` of the
        original frame locates them.

        Raises:
            DataError: not fitted, a fitted column is missing, or a row has no date.
        """
        if not self.columns:
            raise DataError("the normaliser is not fitted; call fit(training rows) first")
        require_columns(frame.columns, [DATE, *self.columns], "a frame to normalise")
        if undated := frame[DATE].null_count():
            raise DataError(f"{undated:,} rows to normalise have no date; leave them out")
        values = frame.select(pl.col(self.columns).cast(pl.Float32)).to_numpy(order="c", writable=True)
        days = frame[DATE].rank("dense").to_numpy().astype(np.int64) - 1 if frame.height else np.empty(0, int)
        order = None if bool((days[1:] >= days[:-1]).all()) else np.argsort(days, kind="stable")
        ordered = values if order is None else values[order]
        bounds = np.searchsorted(days if order is None else days[order], np.arange(days.max(initial=-1) + 2))
        blocks = [ordered[a:b] for a, b in pairwise(bounds)]
        every_row = [np.ones(len(block), bool) for block in blocks]
        standardized = StandardizedDays(blocks, every_row, len(self.columns), self.robust_clip)
        self.apply_fallback(standardized)
        self.day_statistics = standardized.statistics if self.cache_stats else None
        if self.report.fallback_cells:
            logger.info(
                "%d of %d cells took training statistics (too few stocks or no spread that day): %s",
                self.report.fallback_cells,
                self.report.rows * len(self.columns),
                choices(self.report.fallback_by_feature),
            )
        if order is not None:
            values[order] = ordered
        return frame.with_columns(pl.Series(name, values[:, i]) for i, name in enumerate(self.columns))

    def apply_fallback(self, days: StandardizedDays) -> None:
        """Scale the cells that the days could not, with the fitted statistics; `report` counts them."""
        rows = days.apply_fallback(self.fallback_mean, self.fallback_std)
        by_feature = {name: int(n) for name, n in zip(self.columns, rows, strict=True) if n}
        scaled = sum(by_feature.values())
        self.report = NormalizationReport(days.n_rows, scaled, days.missing_cells, by_feature)

    def fit_transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`fit(frame).transform(frame)`: for training rows only."""
        return self.fit(frame).transform(frame)

    def missing_mask(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Fitted columns as booleans: True where a cell is unknown, in the order of the rows."""
        require_columns(frame.columns, self.columns, "a frame to normalise")
        return frame.select(~pl.col(self.columns).cast(pl.Float64).is_finite().fill_null(False))

    def validate_transform(self, frame: pl.DataFrame) -> dict[str, Any]:
        """Measure a normalised frame: worst |mean|, |std - 1| and |z| over its regular days.

        A feature's day is regular when it has at least `MIN_STOCKS` values other than 0 and some
        spread among them. A 0 may mark a missing value, and m of n missing values lower the
        deviation to sqrt(1 - m / n): any deviation between that and 1 is accepted.

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
        regular = (known >= MIN_STOCKS) & (spread > 1e-3)
        mean_error = np.where(regular, np.abs(mean), 0)
        std_error = np.where(regular, np.maximum(std - 1, np.sqrt(known / n) - std), 0)
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
        """State that `predict` needs on a later day: columns, their order, clip, fallback statistics."""
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


class PanelNormalizer:
    """Normalise a panel in place, once for all folds; the same values as `CrossSectionalNormalizerV2`.

    A day's own statistics do not depend on the fold; only the fallback does. So the panel is
    standardised once, the raw cells of the few (day, feature) pairs that the day cannot scale are
    kept, and `fit_fold` rewrites only those.

    Args:
        panel: its `values` are overwritten.
        robust_clip: largest |z|, in standard deviations.
        derived: computes the panel's last features from the day's z-scores of the others.

    Attributes:
        statistics: of each day and feature before standardisation.
        missing_cells: cells of stocks that traded which are not finite.
    """

    def __init__(self, panel: Panel, robust_clip: float = 5.0, derived: DerivedColumns | None = None) -> None:
        self.panel = panel
        self.robust_clip = robust_clip
        self._days = StandardizedDays(panel.values, panel.mask, len(panel.features), robust_clip, derived)
        self.statistics = self._days.statistics
        self.missing_cells = self._days.missing_cells

    def fit_fold(self, train: range) -> CrossSectionalNormalizerV2:
        """Scale every day's fallback cells with a fold's training days; returns the fold's normaliser."""
        normalizer = CrossSectionalNormalizerV2(robust_clip=self.robust_clip)
        normalizer.columns = self.panel.features
        pooled = self.statistics.pooled(slice(train.start, train.stop))
        normalizer.fallback_mean, normalizer.fallback_std = pooled
        self.apply_fallback(normalizer)
        return normalizer

    def apply_fallback(self, normalizer: CrossSectionalNormalizerV2) -> None:
        """Scale every day's fallback cells with a fitted normaliser's statistics; its report counts them.

        Raises:
            DataError: it was fitted on other features than the panel's.
        """
        if normalizer.columns != self.panel.features:
            raise DataError(
                f"the normaliser was fitted on {len(normalizer.columns)} features, other than the panel's "
                f"{len(self.panel.features)}; pass the same features in the same order"
            )
        normalizer.apply_fallback(self._days)
