"""The 139 features of the data set: names, families, formulas. Each family's file has the arithmetic."""

from gogooku3.features import distribution, liquidity, market, price_volume, technical
from gogooku3.features.feature import Feature

__all__ = ["CATALOG", "FEATURE_NAMES", "FORMULAS", "NOTES", "Feature"]

CATALOG: tuple[Feature, ...] = (
    *price_volume.FEATURES,
    *liquidity.FEATURES,
    *technical.FEATURES,
    *distribution.FEATURES,
    *market.FEATURES,
)
"""In the order of the data set's columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOG)

FORMULAS = 2
"""Number of the formulas. Raise it when a value of a feature changes: data sets of other formulas are not
appended to. 1: exact comparisons of prices, and calendar days at the turn of the month."""

NOTES: tuple[str, ...] = (
    "Where a formula says so, daily returns, gaps and intraday moves are clipped to -50 % and +100 %, "
    "ln(high / low) to 1. The market's daily return (of index_close, else the mean of all stocks) is clipped "
    "too. No other value is.",
    "The previous close is the last known one of up to 5 trading days before, so that a return bridges a "
    "hole of up to 4 days; over a longer one it is unknown. close(t - n) may be up to 4 days older.",
    "Rolling statistics use the known days of their window and are unknown with fewer than two thirds of "
    "them. Technical indicators need all days of it, skip days without prices and start as TA-Lib's do.",
    "Standard deviations are of samples (n - 1), except where a formula says population (n).",
    "A feature is unknown where it would divide by 0 or take the logarithm of 0.",
    "Prices, and moves of prices, within a millionth of the price of each other are equal wherever a formula "
    "compares, ranks or counts; so are returns and volatilities within a millionth in ranks.",
    "Standardised within the day, market_rel_ret_* equals ret_* (the market's return is one number per "
    "day), and without a sector column sector_rel_ret_* equals ret_* and sector_rank_* are ranks in the "
    "market. weekday, month_sin, month_cos and turn_of_month are the same for all stocks of a day: they "
    "rank no stock by themselves and are standardised over the training days.",
)
"""Rules of all formulas, for people."""
