"""Comparison of a price table with a prediction table: same stocks, same returns."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE

DIFFERENCE = 0.005
"""Difference from which two returns disagree: half a percentage point."""
MAX_WITHOUT_PRICE = 0.1
"""Share of the predictions without a price from which the prices are refused."""
MAX_DIFFERENT = 0.01
"""Share of the returns that differ from which the prices are refused; dividends reach about 0.01."""


@dataclass(frozen=True)
class PriceCheck:
    """Counts of a comparison, in stocks and days."""

    predictions: int
    without_price: int
    compared: int
    """Returns that are known in both tables."""
    different: int

    def to_dict(self) -> dict[str, Any]:
        """Counts by name, for scores."""
        return asdict(self)


def check_prices_match(table: pl.DataFrame, prices: pl.DataFrame) -> PriceCheck:
    """Compare the targets of the shortest horizon with the prices' returns from close to close.

    Args:
        table: `date, code, horizon, target`, with any number of models.
        prices: `date, code, close`; its dates are the trading calendar.

    Raises:
        DataError: more than a tenth of the predictions have no price, or more than 1 % of the returns differ
            by more than half a percentage point.
    """
    horizon = int(table["horizon"].min())  # type: ignore[arg-type]
    rows = table.lazy().filter(pl.col("horizon") == horizon)
    targets = rows.group_by(DATE, pl.col(CODE).cast(pl.String)).agg(pl.col("target").max())
    calendar = prices.lazy().select(pl.col(DATE).unique().sort()).with_row_index("day")
    close = pl.col("close").cast(pl.Float64)
    closes = (
        prices.lazy()
        .filter(close.is_finite() & (close > 0.0))
        .select(DATE, pl.col(CODE).cast(pl.String), close)
        .join(calendar, on=DATE)
    )
    later = closes.select(CODE, pl.col("day").cast(pl.Int64) - horizon, pl.col("close").alias("later"))
    both = (
        targets.join(closes.with_columns(pl.col("day").cast(pl.Int64)), on=[DATE, CODE], how="left")
        .join(later, on=[CODE, "day"], how="left")
        .with_columns(move=pl.col("later") / pl.col("close") - 1.0)
        .collect()
    )
    missing = both.filter(pl.col("close").is_null()).sort(DATE, CODE)
    pairs = both.filter(pl.col("move").is_finite() & pl.col("target").is_finite())
    wrong = pairs.filter((pl.col("move") - pl.col("target")).abs() > DIFFERENCE).sort(DATE, CODE)
    check = PriceCheck(len(both), len(missing), len(pairs), len(wrong))
    if check.without_price > MAX_WITHOUT_PRICE * check.predictions:
        row = missing.row(0, named=True)
        codes = ", ".join(prices[CODE].cast(pl.String).unique().sort().head(3))
        raise DataError(
            f"the prices have no row for {check.without_price:,} of the {check.predictions:,} predictions, "
            f"such as {row[CODE]} on {row[DATE]}; they have codes such as {codes}. Give the prices that the "
            "data set was built from"
        )
    if check.different > MAX_DIFFERENT * check.compared:
        row = wrong.row(0, named=True)
        raise DataError(
            f"{check.different:,} of {check.compared:,} returns in the prices differ from the predictions' "
            f"targets, such as {row[CODE]} on {row[DATE]}: {row['move']:+.4f} in the prices, "
            f"{row['target']:+.4f} in the table, over {horizon} trading days. Are the prices adjusted for "
            "splits and dividends? Give the prices that the data set was built from"
        )
    return check
