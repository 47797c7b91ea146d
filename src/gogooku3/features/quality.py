"""Six features that describe a row's other features: their coverage and how unusual they are that day.
They depend only on the day's own cross-section, never on a target or another day."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.data.panel import Panel
from gogooku3.data.prices import is_sorted_by
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.features.within_day import quantiles
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.preprocessing.day_columns import DayColumns, Float32
from gogooku3.preprocessing.standardize import DerivedColumns
from gogooku3.schema import DATE, KEYS, feature_columns, require_columns

QUALITY_FEATURES: dict[str, str] = {
    "quality_coverage": "share of the row's features that are known",
    "quality_outlier_share": "share of the known features with |z| > sigma_threshold",
    "quality_mean_abs_z": "mean |z| of the known features",
    "quality_z_spread": "standard deviation of z over the known features",
    "quality_tail_balance": "share of known features with z > sigma_threshold, less the mirrored share",
    "quality_max_abs_z": "largest |z| of the known features, at most 10",
}
"""Name and meaning, in the order of the columns. z: (value - mean) / standard deviation, over the day."""
QUANTILE_FEATURES = 4
"""The last four become quantiles of the day when `use_cross_sectional_quantiles` is set."""
MAX_Z = 10.0


def quality_block(
    values: Float32, sigma_threshold: float = 2.0, use_cross_sectional_quantiles: bool = True
) -> Float32:
    """The six quality features of one day: `[stocks, features]` -> `[stocks, 6]`, NaN where unknown.

    NaN and infinities count as unknown. A column that is constant that day (such as the weekday) has z = 0.
    A row without any known value has coverage 0 and NaN in the others. Stocks are summed in the order given.

    >>> quality_block(np.float32([[1, 5], [3, 5], [np.nan, 5]]), 0.5, False)[:, :3].round(2).tolist()
    [[1.0, 0.5, 0.5], [1.0, 0.5, 0.5], [0.5, 0.0, 0.0]]
    """
    if not values.size:
        return np.full((len(values), len(QUALITY_FEATURES)), np.nan, np.float32)
    day = DayColumns.of(values.copy())
    day.standardize()
    quality = _quality_of_day(day, sigma_threshold)
    if use_cross_sectional_quantiles:
        _rank(quality[:, None])
    return quality


def _quality_of_day(day: DayColumns, sigma_threshold: float = 2.0) -> Float32:
    """The six features of a standardised day before quantiles, `[stocks, 6]`."""
    z = day.values
    n_stocks, n_features = z.shape
    out = np.empty((n_stocks, len(QUALITY_FEATURES)), np.float32)
    n_known = np.full(n_stocks, n_features, np.float32)
    if len(day.cells):
        n_known -= np.bincount(day.cells // n_features, minlength=n_stocks)
    out[:, 0] = n_known / np.float32(n_features)
    n_known[n_known == 0] = np.nan
    size = np.abs(z)
    # Eight flags per 64-bit word, counted as bits: exact, and far faster than summing booleans along rows.
    flags = np.zeros((n_stocks, -(-n_features // 8) * 8), bool)
    words = flags.view(np.uint64)
    np.greater(z, sigma_threshold, out=flags[:, :n_features])
    above = np.einsum("sw->s", np.bitwise_count(words).astype(np.float32))
    np.greater(size, sigma_threshold, out=flags[:, :n_features])
    outside = np.einsum("sw->s", np.bitwise_count(words).astype(np.float32))
    mean = np.einsum("sf->s", z) / n_known
    # The bits of non-negative floats sort like the floats. On integers, and over segments of the flat block,
    # NumPy's maximum is many times faster than along rows.
    starts = np.arange(0, size.size, n_features)
    largest = np.maximum.reduceat(size.view(np.int32).reshape(-1), starts).view(np.float32)
    out[:, 1] = outside / n_known
    out[:, 2] = np.einsum("sf->s", size) / n_known
    out[:, 3] = np.sqrt(np.maximum(np.einsum("sf,sf->s", z, z) / n_known - mean * mean, 0.0))
    out[:, 4] = (2 * above - outside) / n_known
    out[:, 5] = np.minimum(largest, MAX_Z) + 0.0 * n_known
    return out


def _rank(quality: Float32) -> None:
    """Replace the last four features by quantiles of their day, in place: `[stocks, days, 6]`."""
    ranked = quality[:, :, -QUANTILE_FEATURES:]
    columns = np.ascontiguousarray(ranked.reshape(len(quality), -1).T)
    ranked[...] = quantiles(columns).T.reshape(ranked.shape)


def quality_cube(
    values: Float32,
    mask: NDArray[np.bool_],
    sigma_threshold: float = 2.0,
    use_cross_sectional_quantiles: bool = True,
) -> Float32:
    """Quality features of a panel: `[days, stocks, features]` and mask -> `[days, stocks, 6]`, NaN outside.

    Bit-identical to `QualityFinancialFeaturesGenerator` on the same rows in the order of codes.
    """
    out = np.full((*mask.shape, len(QUALITY_FEATURES)), np.nan, np.float32)
    for number, present in enumerate(mask):
        day = values[number, present]
        out[number, present] = quality_block(day, sigma_threshold, use_cross_sectional_quantiles)
    return out


def add_quality(panel: Panel) -> None:
    """Write the six quality features of the raw columns into a panel's last six, reserved columns.

    Raises:
        DataError: the last columns are not reserved for them.
    """
    width = _described(panel)
    panel.values[:, :, width:] = quality_cube(panel.values[:, :, :width], panel.mask)


def normalize_with_quality(panel: Panel, robust_clip: float = 5.0) -> PanelNormalizer:
    """`add_quality` and `PanelNormalizer` in one pass, bit-identical: both need the same z-scores.

    Raises:
        DataError: as `add_quality`.
    """
    _described(panel)
    derived = DerivedColumns(len(QUALITY_FEATURES), _quality_of_day, _rank)
    return PanelNormalizer(panel, robust_clip, derived)


def _described(panel: Panel) -> int:
    """Number of features described: all but the last six, which are reserved."""
    width = len(panel.features) - len(QUALITY_FEATURES)
    if panel.features[width:] != tuple(QUALITY_FEATURES):
        raise DataError(
            f"a panel's last columns must be reserved for {choices(QUALITY_FEATURES)}; they are "
            f"{choices(panel.features[width:])}: build it with reserve=tuple(QUALITY_FEATURES)"
        )
    return width


def _numbers(column: pl.Series, order: pl.Series | None) -> Float32:
    """Float32 with NaN for null; not copied if the column already is that."""
    column = column.cast(pl.Float32) if order is None else column.cast(pl.Float32)[order]
    return column.rechunk().to_numpy() if column.null_count() == 0 else column.fill_null(np.nan).to_numpy()


class QualityFinancialFeaturesGenerator:
    """Add the six `QUALITY_FEATURES` (Float32) to a data set: 139 features become 145.

    Args:
        use_cross_sectional_quantiles: turn the last four into the day's quantiles in (0, 1).
        sigma_threshold: |z| beyond which a value is an outlier, in standard deviations of the day.
        feature_columns: the columns to describe; None takes every numeric one that is neither key nor target.

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
                f"sigma_threshold is {sigma_threshold} standard deviations; set it above 0, such as 2.0"
            )
        self.use_cross_sectional_quantiles = use_cross_sectional_quantiles
        self.sigma_threshold = float(sigma_threshold)
        self.feature_columns = None if feature_columns is None else tuple(feature_columns)

    def generate_quality_features(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with six more columns; rows keep their order. Known at the close of each day.

        Raises:
            DataError: key columns or features are missing, a column is not numeric, or one of the six
                already exists.
        """
        names = self._columns(frame)
        keys = frame.select(*KEYS)
        order = None
        if not is_sorted_by(keys, KEYS):
            order = keys.select(pl.arg_sort_by(*KEYS)).to_series()
            keys = keys[order]
        columns = [_numbers(frame[name], order) for name in names]
        lengths = keys[DATE].rle().struct.field("len").to_numpy().astype(np.int64)
        quality = np.empty((len(keys), len(QUALITY_FEATURES)), np.float32)
        for length, end in zip(lengths, np.cumsum(lengths), strict=True):
            rows = slice(end - length, end)
            # A frame's columns are separate arrays; one day of them, row by row, fits in the cache.
            block = np.empty((length, len(columns)), np.float32)
            for index, column in enumerate(columns):
                block[:, index] = column[rows]
            quality[rows] = quality_block(block, self.sigma_threshold, self.use_cross_sectional_quantiles)
        if order is not None:
            quality[order.to_numpy()] = quality.copy()
        return frame.with_columns(
            pl.Series(name, np.ascontiguousarray(quality[:, number]), nan_to_null=True)
            for number, name in enumerate(QUALITY_FEATURES)
        )

    def _columns(self, frame: pl.DataFrame) -> list[str]:
        require_columns(frame.columns, KEYS, "a data set")
        if existing := [name for name in QUALITY_FEATURES if name in frame.columns]:
            raise DataError(f"the data set already has {choices(existing)}; drop them first")
        if self.feature_columns is not None:
            require_columns(frame.columns, self.feature_columns, "the quality step")
            if text := [name for name in self.feature_columns if not frame.schema[name].is_numeric()]:
                raise DataError(f"quality features need numeric columns; these are not: {choices(text)}")
            return list(self.feature_columns)
        columns = feature_columns(frame.schema)
        if not columns:
            raise DataError(
                f"the data set has no numeric feature columns; its columns are {choices(frame.columns)}"
            )
        return columns
