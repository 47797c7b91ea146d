"""Optional features beyond the 139, from results, margin balances and flows that come with prices. Each is a
ratio of totals known at the close of its day, so it depends on neither the price level nor splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.features.feature import Array
from gogooku3.features.rolling import rolling_sum, shift
from gogooku3.schema import CODE, DATE, KEYS, KNOWN_FACT

Facts = Mapping[str, Array]
"""Facts by name without `known_`: `[days, stocks]`, on the market's calendar, NaN where unknown."""

YEAR, MONTH = 250, 20
"""Trading days."""


@dataclass(frozen=True)
class ExtraFeature:
    """One feature computed from known facts; its value is known at the close of its day.

    lookback: trading days before the day itself whose facts matter.
    """

    name: str
    family: str
    formula: str
    facts: tuple[str, ...]
    known: str
    """When the facts become known."""
    lookback: int
    compute: Callable[[Facts], Array] = field(repr=False, compare=False)


def _share(top: Array, bottom: Array) -> Array:
    """Top over bottom, NaN where the bottom is not above 0."""
    return top / np.where(bottom > 0, bottom, np.nan)


def _log(values: Array) -> Array:
    return np.log(np.where(values > 0, values, np.nan))


def _mean(values: Array, days: int) -> Array:
    known = np.isfinite(values)
    count = rolling_sum(known.astype(np.float64), days)
    return _share(rolling_sum(np.where(known, values, 0.0), days), count)


def _feature(
    family: str,
    known: str,
    name: str,
    formula: str,
    facts: str,
    compute: Callable[..., Array],
    lookback: int = 0,
) -> ExtraFeature:
    """Declare one feature; `compute` takes the facts (names separated by spaces) in that order."""
    names = tuple(facts.split())

    def of_facts(values: Facts) -> Array:
        return compute(*(values[fact] for fact in names))

    return ExtraFeature(name, family, formula, names, known, lookback, of_facts)


_statement = partial(
    _feature, "statements", "at the close of the day of disclosure; if it came later, of the next day"
)
_margin = partial(_feature, "margin", "at the close of the trading day after publication")
_flow = partial(_feature, "flows", "at the close of the trading day after publication")

CAP, PROFIT, FORECAST = "market_cap", "net_profit_ttm", "net_profit_forecast"
LONG, SHORT, FOREIGN = "margin_long_share", "margin_short_share", "foreign_balance_share"

# fmt: off
EXTRA: tuple[ExtraFeature, ...] = (
    _statement("log_market_cap", "log of market value in yen", CAP, _log),
    _statement("earnings_yield_ttm", "net profit of 12 months / market value", f"{PROFIT} {CAP}", _share),
    _statement("forecast_earnings_yield", "forecast net profit / market value", f"{FORECAST} {CAP}", _share),
    _statement("book_to_market", "equity / market value", f"equity {CAP}", _share),
    _statement("sales_to_market", "sales of 12 months / market value", f"sales_ttm {CAP}", _share),
    _statement("return_on_equity_ttm", "net profit of 12 months / equity", f"{PROFIT} equity", _share),
    _statement("operating_margin_ttm", "operating profit / sales", "operating_profit_ttm sales_ttm", _share),
    _statement("equity_ratio", "equity / total assets", "equity total_assets", _share),
    _statement("sales_growth_250d", "sales of 12 months / those known 250 trading days before - 1",
        "sales_ttm", lambda sales: _share(sales, shift(sales, YEAR)) - 1, lookback=YEAR),
    _statement("forecast_gap", "(forecast - net profit of 12 months) / market value",
        f"{FORECAST} {PROFIT} {CAP}", lambda forecast, profit, cap: _share(forecast - profit, cap)),
    _statement("forecast_revision", "(forecast - previous forecast) / market value",
        f"{FORECAST} {FORECAST}_before {CAP}", lambda forecast, before, cap: _share(forecast - before, cap)),
    _statement("disclosure_age", "trading days since the newest disclosure", "disclosure_age", np.array),
    _margin("margin_long_share", "shares bought on margin / outstanding", LONG, np.array),
    _margin("margin_short_share", "shares sold on margin / outstanding", SHORT, np.array),
    _margin("margin_balance", "log(bought / sold on margin)", f"{LONG} {SHORT}",
        lambda long, short: _log(long) - _log(short)),
    _margin("margin_long_change_20d", "change of margin_long_share over 20 days", LONG,
        lambda long: long - shift(long, MONTH), lookback=MONTH),
    _flow("foreign_balance", "foreigners' buying - selling / turnover of the week", FOREIGN, np.array),
    _flow("foreign_balance_mean_20d", "mean of foreign_balance over 20 days", FOREIGN,
        lambda balance: _mean(balance, MONTH), lookback=MONTH - 1),
)
"""All extra features, grouped by family."""
# fmt: on

FAMILIES = tuple(dict.fromkeys(feature.family for feature in EXTRA))


def extra_features(families: Sequence[str]) -> list[ExtraFeature]:
    """The features of some families, in the catalogue's order.

    Raises:
        DataError: a family does not exist.
    """
    if unknown := [name for name in families if name not in FAMILIES]:
        raise DataError(f"unknown feature family: {choices(unknown)}; choose among {choices(FAMILIES)}")
    return [feature for feature in EXTRA if feature.family in families]


def compute_extra(prices: pl.DataFrame, families: Sequence[str]) -> pl.DataFrame:
    """Compute families of extra features for every row: `date, code`, Float32, sorted by (date, code).

    Unknown values are null. Later rows change no bit of a value.

    `prices` has `date, code` (unique) and the columns `known_*` that the families need.

    Raises:
        DataError: a family is unknown, or the prices lack a fact that it needs.
    """
    features = extra_features(families)
    needed = list(dict.fromkeys(fact for feature in features for fact in feature.facts))
    if lacking := [KNOWN_FACT + name for name in needed if KNOWN_FACT + name not in prices.columns]:
        raise DataError(
            f"the features of {choices(families)} need {choices(lacking)}, which the prices lack; "
            "fetch them with `gogooku3 data fetch jquants`, if your plan includes them, or omit the family"
        )
    days, codes = prices[DATE].unique().sort(), prices[CODE].unique().sort()
    day, stock = days.search_sorted(prices[DATE]).to_numpy(), codes.search_sorted(prices[CODE]).to_numpy()

    def dense(name: str) -> Array:
        values = np.full((len(days), len(codes)), np.nan)
        values[day, stock] = prices[KNOWN_FACT + name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    facts = {name: dense(name) for name in needed}
    columns = []
    with np.errstate(all="ignore"):
        for feature in features:
            values = feature.compute(facts)[day, stock].astype(np.float32)
            values[~np.isfinite(values)] = np.nan
            columns.append(pl.Series(feature.name, values, nan_to_null=True))
    return prices.select(KEYS).with_columns(columns).sort(KEYS)
