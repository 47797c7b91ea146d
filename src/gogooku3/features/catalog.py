"""The 139 features of the data set: names, families, formulas. The arithmetic lives with each family."""

from gogooku3.features import distribution, liquidity, market, price_volume, technical
from gogooku3.features.definition import Feature
from gogooku3.features.grid import STALE_DAYS

__all__ = ["CATALOG", "FEATURE_NAMES", "HISTORY_DAYS", "Feature"]

CATALOG: tuple[Feature, ...] = (
    *price_volume.FEATURES,
    *liquidity.FEATURES,
    *technical.FEATURES,
    *distribution.FEATURES,
    *market.FEATURES,
)
"""In the order of the data set's columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOG)

HISTORY_DAYS = max(feature.lookback for feature in CATALOG) + STALE_DAYS
"""So many trading days before a day give that day's features bit for bit as the whole history does.

For a stock without holes, that is: indicators skip holes, so theirs reach back by as many days more."""
