"""Six features about a row's other features: how complete and how unusual it is among the day's stocks.

Nothing but the day's own cross-section is read; never a target, never another day.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.schema import DATE, KEYS, is_target_column, require_columns

QUALITY_FEATURES: dict[str, str] = {
    "quality_coverage": "share of the row's features that are known",
    "quality_outlier_share": "share of the known features with |z| > sigma_threshold",
    "quality_mean_abs_z": "mean |z| of the known features",
    "quality_z_spread": "standard deviation of z over the known features",
    "quality_tail_balance": "share of the known features with z > sigma_threshold less share with z < -sigma_threshold",
    "quality_max_abs_z": "largest |z| of the known features, at most 10",
}
"""Name and meaning, in the order of the columns. z is by day: (value - mean) / standard deviation of the day's stocks."""

QUANTILE_FEATURES = 4
"""The last four are given as quantiles of the day when `use_cross_sectional_quantiles` is set."""

MAX_Z = 10.0
_CONSTANT = 1e-6
"""A standard deviation below this share of the mean is Float32 rounding: the column is constant that day."""

_WORKERS = 2

Float32 = NDArray[np.float32]


def quality_block(values: Float32, sigma_threshold: float = 2.0, use_cross_sectional_quantiles: bool = True) -> Float32:
    """The six quality features of one day: `[stocks, features]` -> `[stocks, 6]`, NaN where unknown.

    NaN and infinities count as unknown. A column that is constant that day (the weekday, say) has z = 0. A row
    with nothing known has coverage 0 and NaN in the others. Stocks are summed in their order: sort them by code.

    >>> quality_block(np.float32([[1, 5], [3, 5], [np.nan, 5]]), 0.5, False)[:, :3].round(2).tolist()
    [[1.0, 0.5, 0.5], [1.0, 0.5, 0.5], [0.5, 0.0, 0.0]]
    """
    n_stocks, n_features = values.shape
    out = np.full((n_stocks, len(QUALITY_FEATURES)), np.nan, np.float32)
    if not n_stocks or not n_features:
        return out
    known = np.isfinite(values)
    z = _day_z(values, known)
    size = np.abs(z)
    # Counted as bits, eight flags a word: far faster than summing booleans along rows, and exact.
    flags = np.zeros((n_stocks, -(-n_features // 8) * 8), bool)

    def count(flag: NDArray[np.bool_]) -> Float32:
        flags[:, :n_features] = flag
        return np.bitwise_count(flags.view(np.uint64)).sum(axis=1, dtype=np.int64).astype(np.float32)

    n_known = count(known)
    out[:, 0] = n_known / np.float32(n_features)
    if not (n_known > 0).any():
        return out
    n_known[n_known == 0] = np.nan
    above, below = count(z > sigma_threshold), count(z < -sigma_threshold)
    mean = z.sum(axis=1) / n_known
    out[:, 1] = (above + below) / n_known
    out[:, 2] = size.sum(axis=1) / n_known
    out[:, 3] = np.sqrt(np.maximum(np.einsum("sf,sf->s", z, z) / n_known - mean * mean, 0.0))
    out[:, 4] = (above - below) / n_known
    out[:, 5] = np.minimum(size.max(axis=1), MAX_Z) + 0.0 * n_known
    if use_cross_sectional_quantiles:
        for column in range(len(QUALITY_FEATURES) - QUANTILE_FEATURES, len(QUALITY_FEATURES)):
            out[:, column] = _quantiles(out[:, column])
    return out


def _day_z(values: Float32, known: NDArray[np.bool_]) -> Float32:
    """Standardise each column over the stocks that know it; 0 where unknown or the column is constant."""
    number = np.maximum(known.sum(axis=0, dtype=np.float32), 1)
    if known.all():
        mean = values.sum(axis=0) / number
        z = values - mean
    else:
        filled = np.where(known, values, np.float32(0))
        mean = filled.sum(axis=0) / number
        z = np.where(known, filled - mean, np.float32(0))
    # The first mean carries Float32 rounding of the level; what it missed is a small second one.
    rest = z.sum(axis=0) / number
    variance = np.einsum("sf,sf->f", z, z) / number - rest * rest
    std = np.sqrt(np.maximum(variance, 0.0))
    varies = std > _CONSTANT * np.abs(mean)
    scale = np.where(varies, 1 / np.where(varies, std, 1), 0).astype(np.float32)
    z -= rest
    z *= scale
    if not known.all():
        z[~known] = 0
    return z


def _quantiles(values: Float32) -> Float32:
    """(Average rank - 0.5) / number among the known values: in (0, 1), ties share it."""
    out = np.full(values.shape, np.nan, np.float32)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known])]
    ranked = values[order]
    start = np.flatnonzero(np.diff(ranked, prepend=np.float32(np.nan)) != 0)
    run = np.diff(start, append=len(ranked))
    out[order] = np.repeat((start + run / 2) / max(len(ranked), 1), run)
    return out


def quality_cube(
    values: Float32,
    mask: NDArray[np.bool_],
    sigma_threshold: float = 2.0,
    use_cross_sectional_quantiles: bool = True,
) -> Float32:
    """Quality features of a panel: `[days, stocks, features]` and its mask -> `[days, stocks, 6]`, NaN outside it.

    Bit for bit what `QualityFinancialFeaturesGenerator` gives for the same rows in the order of codes.
    """
    out = np.full((*mask.shape, len(QUALITY_FEATURES)), np.nan, np.float32)

    def day(number: int) -> None:
        stocks = np.flatnonzero(mask[number])
        out[number, stocks] = quality_block(
            values[number, stocks], sigma_threshold, use_cross_sectional_quantiles
        )

    _each(day, range(len(mask)))
    return out


def _each(work: Callable[[int], None], numbers: Sequence[int]) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(work, numbers))


class QualityFinancialFeaturesGenerator:
    """Adds the six `QUALITY_FEATURES` (Float32) to a data set: 139 features become 145.

    Args:
        use_cross_sectional_quantiles: give the last four as the day's quantile in (0, 1); otherwise as they are.
        sigma_threshold: |z| beyond which a value is an outlier, in standard deviations of the day.
        feature_columns: the columns to judge; every numeric one that is neither key nor target unless given.

    Raises:
        ConfigError: `sigma_threshold` is not above 0.

    >>> frame = pl.DataFrame({"date": [1, 1], "code": ["a", "b"], "x": [1.0, 2.0], "target_1d": [0.1, 0.2]})
    >>> QualityFinancialFeaturesGenerator().generate_quality_features(frame).width
    10
    """

    def __init__(
        self,
        use_cross_sectional_quantiles: bool = True,
        sigma_threshold: float = 2.0,
        feature_columns: Sequence[str] | None = None,
    ) -> None:
        if not sigma_threshold > 0:
            raise ConfigError(
                f"sigma_threshold is {sigma_threshold} standard deviations; give a number above 0, such as 2.0"
            )
        self.use_cross_sectional_quantiles = use_cross_sectional_quantiles
        self.sigma_threshold = float(sigma_threshold)
        self.feature_columns = None if feature_columns is None else tuple(feature_columns)

    def generate_quality_features(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with six more columns; rows keep their order. Known at the close of each row's day.

        Raises:
            DataError: no key columns, no features, a column that is absent or not numeric, or one of the six
                already exists.
        """
        columns = self._columns(frame)
        place = pl.int_range(pl.len(), dtype=pl.UInt32).alias("__place")
        keys = frame.select(*KEYS, place)
        in_order = keys.equals(keys.sort(KEYS))
        if not in_order:
            keys = keys.sort(KEYS)
        chosen = frame.select(pl.col(columns).cast(pl.Float32))
        if not in_order:
            chosen = chosen[keys["__place"]]
        rows = self._by_day(chosen, keys[DATE])
        if not in_order:
            back = np.empty_like(rows)
            back[keys["__place"].to_numpy()] = rows
            rows = back
        return frame.with_columns(
            pl.Series(name, np.ascontiguousarray(rows[:, number]), nan_to_null=True)
            for number, name in enumerate(QUALITY_FEATURES)
        )

    def _by_day(self, chosen: pl.DataFrame, dates: pl.Series) -> Float32:
        lengths = dates.rle().struct.field("len").to_numpy().astype(np.int64)
        ends = np.cumsum(lengths)
        out = np.empty((len(dates), len(QUALITY_FEATURES)), np.float32)
        columns = [column.rechunk() for column in chosen.iter_columns()]
        known = [None if column.null_count() == 0 else column for column in columns]
        views = [column.to_numpy() if plain is None else column.fill_null(np.nan).to_numpy()
                 for column, plain in zip(columns, known, strict=True)]

        def day(number: int) -> None:
            rows = slice(ends[number] - lengths[number], ends[number])
            # Columns lie apart in a frame; a day of them side by side fits in the cache.
            block = np.empty((lengths[number], len(views)), np.float32)
            for place, view in enumerate(views):
                block[:, place] = view[rows]
            out[rows] = quality_block(block, self.sigma_threshold, self.use_cross_sectional_quantiles)

        _each(day, range(len(ends)))
        return out

    def _columns(self, frame: pl.DataFrame) -> list[str]:
        require_columns(frame.columns, KEYS, "a data set")
        if there := [name for name in QUALITY_FEATURES if name in frame.columns]:
            raise DataError(
                f"the data set already has {choices(there)}; quality features are added once, drop them first"
            )
        if self.feature_columns is not None:
            require_columns(frame.columns, self.feature_columns, "the quality step")
            if text := [name for name in self.feature_columns if not frame.schema[name].is_numeric()]:
                raise DataError(f"quality features need numbers, but {choices(text)} hold something else")
            return list(self.feature_columns)
        columns = [
            name
            for name, kind in frame.schema.items()
            if kind.is_numeric() and name not in KEYS and not is_target_column(name)
        ]
        if not columns:
            raise DataError(
                f"no numeric feature columns to judge: beside keys and targets the data set has "
                f"{choices(n for n in frame.columns if n not in KEYS and not is_target_column(n))}"
            )
        return columns
