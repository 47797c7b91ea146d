"""The 139 features of the data set: names, families, formulas. Each family's file has the arithmetic."""

from gogooku3.features import distribution, liquidity, market, price_volume, technical
from gogooku3.features.feature import Feature

__all__ = ["CATALOG", "FEATURE_NAMES", "Feature"]

CATALOG: tuple[Feature, ...] = (
    *price_volume.FEATURES,
    *liquidity.FEATURES,
    *technical.FEATURES,
    *distribution.FEATURES,
    *market.FEATURES,
)
"""In the order of the data set's columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOG)
