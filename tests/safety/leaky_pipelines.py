"""Leaks found in other projects, each as a small pipeline, with a clean counterpart."""

import numpy as np
import polars as pl

HORIZON = 20
RETURN = pl.col("close") / pl.col("close").shift(1).over("code", order_by="date") - 1
FORWARD = pl.col("close").shift(-HORIZON).over("code", order_by="date") / pl.col("close") - 1


def full_period_maximum(prices: pl.DataFrame) -> pl.DataFrame:
    """RSR and StockMixer: price divided by its maximum over the whole period."""
    return prices.select(
        "date", "code", position=(pl.col("close") / pl.col("close").max().over("code")).log()
    )


def running_maximum(prices: pl.DataFrame) -> pl.DataFrame:
    highest = pl.col("close").cum_max().over("code", order_by="date")
    return prices.select("date", "code", position=(pl.col("close") / highest).log())


def neighbours_rows_in_a_window(prices: pl.DataFrame) -> pl.DataFrame:
    """Qlib's MTSDatasetH: windows over the stacked rows reach from one stock into the next."""
    rows = prices.sort("code", "date").with_columns(ret=RETURN)
    return rows.select("date", "code", trend=pl.col("ret").rolling_mean(HORIZON, min_samples=1))


def own_rows_in_a_window(prices: pl.DataFrame) -> pl.DataFrame:
    trend = pl.col("ret").rolling_mean(HORIZON, min_samples=1).over("code", order_by="date")
    return prices.sort("code", "date").with_columns(ret=RETURN).select("date", "code", trend=trend)


def neighbours_past_in_a_window(prices: pl.DataFrame) -> pl.DataFrame:
    """Uses another stock's rows up to the same day: no look-ahead in time, but wrong."""
    rows = prices.sort("date", "code").with_columns(ret=RETURN)
    return rows.select("date", "code", trend=pl.col("ret").rolling_mean(3, min_samples=1))


def scaler_of_the_whole_period(prices: pl.DataFrame) -> pl.DataFrame:
    """neuralforecast's local scalers: fitted on training, validation and test days together."""
    ret = RETURN
    return prices.select("date", "code", z=(ret - ret.mean()) / ret.std())


def scaler_of_the_day(prices: pl.DataFrame) -> pl.DataFrame:
    """Not a leak: the other stocks of a day are known by its close."""
    rows = prices.sort("date", "code").with_columns(ret=RETURN)
    return rows.select(
        "date",
        "code",
        z=(pl.col("ret") - pl.col("ret").mean().over("date")) / pl.col("ret").std().over("date"),
    )


def rows_with_a_label(prices: pl.DataFrame) -> pl.DataFrame:
    """A label-conditioned mask: keeps only stocks that still trade later."""
    rows = prices.with_columns(ret=RETURN, label=FORWARD).filter(pl.col("label").is_not_null())
    return rows.select("date", "code", "ret")


def rows_without_crashes(prices: pl.DataFrame) -> pl.DataFrame:
    """A label-conditioned mask: drops later crashes as outliers."""
    rows = prices.with_columns(ret=RETURN, label=FORWARD).filter(pl.col("label").fill_null(0) > -0.1)
    return rows.select("date", "code", "ret")


def price_level(prices: pl.DataFrame) -> pl.DataFrame:
    """The level of a split-adjusted price depends on later splits."""
    return prices.select("date", "code", level=pl.col("close").log())


def no_gap_before_the_test(prices: pl.DataFrame) -> pl.DataFrame:
    """Predictions refitted every 20 days on all labels that start before, even those that close later."""
    return _refitted(prices, gap=0)


def gap_before_the_test(prices: pl.DataFrame) -> pl.DataFrame:
    return _refitted(prices, gap=HORIZON)


def _refitted(prices: pl.DataFrame, gap: int) -> pl.DataFrame:
    """Predicts each block of days by the stocks' mean label up to `gap` days before the block."""
    rows = prices.with_columns(label=FORWARD, day=pl.col("date").rank("dense").cast(pl.Int64) - 1)
    tables = []
    for start in range(HORIZON, int(rows["day"].max()) + 1, HORIZON):
        learned = rows.filter(pl.col("day") < start - gap).group_by("code").agg(score=pl.col("label").mean())
        block = rows.filter(pl.col("day").is_between(start, start + HORIZON - 1))
        tables.append(block.join(learned, on="code", how="left").select("date", "code", "score"))
    return pl.concat(tables)


def correlation_of_the_whole_period(prices: pl.DataFrame) -> pl.DataFrame:
    """Monthly edges from the returns of all days."""
    wide = prices.with_columns(ret=RETURN).pivot(on="code", index="date", values="ret").sort("date")
    codes = sorted(set(wide.columns) - {"date"})
    matrix = wide.select(codes).fill_null(0.0).to_numpy()
    correlation = pl.DataFrame(np.corrcoef(matrix.T), schema=codes)
    pairs = correlation.with_columns(code=pl.Series(codes)).unpivot(
        index="code", variable_name="neighbour", value_name="weight"
    )
    months = prices.select(pl.col("date").dt.truncate("1mo")).unique()
    return months.join(pairs.filter(pl.col("code") != pl.col("neighbour")), how="cross")


def unclosed_targets(prices: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Yesterday's 20-day label, 19 days before it closes."""
    label = pl.col("target_20d").shift(1).over("code", order_by="date")
    return targets.select("date", "code", label=label)


def closed_targets(prices: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    days = targets.select(pl.col("date").unique().sort()).with_row_index("day")
    rows = targets.join(days, on="date")
    closed = rows.select("code", pl.col("day") + HORIZON, label="target_20d")
    return rows.join(closed, on=["code", "day"], how="left").select("date", "code", "label")
