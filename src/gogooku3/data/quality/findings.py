"""Suspicious facts of prices that `data build` prints in one line each; the rows are kept."""

from collections.abc import Iterator

import polars as pl

from gogooku3.config.quality import PriceRules
from gogooku3.data.quality.jumps import reused_codes, suspected_splits
from gogooku3.data.quality.survivors import survivorship_warning
from gogooku3.data.trading_days import shifted_days, thin_days
from gogooku3.errors import choices
from gogooku3.schema import CODE, DATE


def price_findings(frame: pl.DataFrame) -> Iterator[str]:
    """One line per kind of finding, with examples.

    `frame` is that of `read_prices`. It looks at later days, so nothing but messages may use it.
    """
    if shifted := shifted_days(frame[DATE]):
        yield f"all stocks trade on {shifted}: right for some markets, elsewhere a time zone shifts the days"
    if warning := survivorship_warning(frame):
        yield warning
    thin = thin_days(frame)
    if thin.height:
        days = (f"{day} ({stocks:,} of {most:,} stocks)" for day, stocks, most in thin.iter_rows())
        yield f"{thin.height:,} days with few stocks, which count as trading days of all: {choices(days, 3)}"
    splits = suspected_splits(frame, PriceRules())
    if splits.height:
        rows = splits.select(CODE, DATE, "factor").iter_rows()
        events = (f"{code} on {day} ({factor})" for code, day, factor in rows)
        yield f"{splits.height:,} suspected splits without adjustment: {choices(events, 3)}"
    reused = reused_codes(frame, PriceRules())
    if reused.height:
        rows = reused.select(CODE, DATE, "hole", "after", "value").iter_rows()
        events = (
            f"{code} on {day} ({hole:,} days, {old:g} to {new:g})" for code, day, hole, old, new in rows
        )
        yield (
            f"{reused.height:,} codes return after a long hole at another price level, as a reused code or a "
            f"split would: {choices(events, 3)}"
        )
