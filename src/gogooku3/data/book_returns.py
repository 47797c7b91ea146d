"""The returns that portfolios earn: from each stock's close to its next one, over halts too."""

import polars as pl

from gogooku3.schema import BOOK_RETURN, CODE, DATE, KEYS, ONE_DAY, target_column


def add_book_returns(prices: pl.DataFrame) -> pl.DataFrame:
    """`date, code, book_return` of every row of the prices, by (date, code); see `schema.BOOK_RETURN`.

    Args:
        prices: `date, code, close`, one row per stock and day; a close that is not above 0 is unknown.

    >>> from datetime import date
    >>> prices = pl.DataFrame({"date": [date(2024, 1, d) for d in (4, 5, 9)], "code": ["7203"] * 3,
    ...                        "close": [100.0, None, 40.0]})
    >>> [each and round(each, 3) for each in add_book_returns(prices)["book_return"]]
    [None, None, -0.6]
    """
    close = pl.col("close").cast(pl.Float64)
    known = pl.when(close.is_finite() & (close > 0.0)).then(close)
    before = known.forward_fill().shift(1).over(CODE)
    ordered = prices.select(*KEYS, "close").sort(CODE, DATE)
    returns = ordered.select(*KEYS, (known / before - 1.0).cast(pl.Float32).alias(BOOK_RETURN))
    return returns.sort(KEYS)


def daily_returns(frame: pl.DataFrame) -> pl.DataFrame:
    """One-day returns of a data set for `portfolio_returns`, from its rows.

    With the column `book_return` they are complete: a stock's rows have `traded`, and where it is halted, one
    row on the day before it trades again has the whole move, without `traded`. Otherwise they are the targets
    of one day.

    Args:
        frame: `date, code`, and `book_return` or `target_1d`, sorted by (date, code).

    Returns:
        `date, code, return`, and `traded` with `book_return`: the return from the close of `date` to the next
        trading day's close; null if unknown.
    """
    if BOOK_RETURN not in frame.columns:
        return frame.select(DATE, CODE, pl.col(target_column(ONE_DAY)).cast(pl.Float64).alias("return"))
    calendar = frame.select(pl.col(DATE).unique().sort()).with_row_index("day")
    rows = frame.select(*KEYS, pl.col(BOOK_RETURN).cast(pl.Float64)).join(calendar, on=DATE).sort(CODE, "day")
    following = pl.col("day").shift(-1).over(CODE) == pl.col("day") + 1
    move, end = pl.col(BOOK_RETURN), len(calendar) - 1
    traded = rows.select(
        *KEYS,
        # Without a close on the next day nothing is earned; after the last day nothing is known.
        pl.when(following)
        .then(move.shift(-1).over(CODE))
        .when(pl.col("day") < end)
        .then(0.0)
        .alias("return"),
        pl.lit(True).alias("traded"),
    )
    resumed = rows.filter(pl.col("day") > pl.col("day").shift(1).over(CODE) + 1)
    jumps = (
        resumed.select(CODE, pl.col("day") - 1, move.alias("return"), pl.lit(False).alias("traded"))
        .join(calendar, on="day")
        .select(traded.columns)
    )
    return pl.concat([traded, jumps]).sort(KEYS)
