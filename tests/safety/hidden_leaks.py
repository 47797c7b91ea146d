"""Twenty leaks and ten clean pipelines, each a way of making one feature `x`."""

from collections.abc import Callable

import numpy as np
import polars as pl

Feature = Callable[[], pl.Expr]

CLOSE, VOLUME = pl.col("close"), pl.col("volume")
RETURN = CLOSE / CLOSE.shift(1) - 1
NEXT = CLOSE.shift(-1) / CLOSE - 1
YEAR, MONTH, WEEK = (pl.col("date").dt.truncate(unit) for unit in ("1y", "1mo", "1w"))
DAYS_LEFT_IN_YEAR = pl.col("date").rank("dense", descending=True)


def low_pass(values: pl.Series) -> pl.Series:
    """The slow part of a series, from its Fourier transform over the whole period."""
    spectrum = np.fft.rfft(values.to_numpy())
    spectrum[10:] = 0
    return pl.Series(np.fft.irfft(spectrum, len(values)))


def trend_residual(values: pl.Series) -> pl.Series:
    """A series without its linear trend, fitted to the whole period."""
    step = np.arange(len(values))
    return pl.Series(values.to_numpy() - np.polyval(np.polyfit(step, values.to_numpy(), 1), step))


# Each expression is evaluated over the rows of one stock, in the order of days.
LEAKS: dict[str, pl.Expr] = {
    "a warm-up filled backwards": (CLOSE.rolling_mean(20) / CLOSE).fill_null(strategy="backward"),
    "the mean of the whole calendar year": CLOSE / CLOSE.mean().over("code", YEAR),
    "the last close of the year in its last three days": pl.when(DAYS_LEFT_IN_YEAR.over(YEAR) <= 3).then(
        CLOSE.last().over("code", YEAR) / CLOSE
    ),
    "returns hidden before a rare crash": pl.when(NEXT.fill_null(0.0) > -0.6).then(RETURN),
    "a z-score over the whole period": (RETURN - RETURN.mean()) / RETURN.std(),
    "the next day's open": pl.col("open").shift(-1) / CLOSE,
    "a centred window": RETURN.rolling_mean(5, center=True),
    "the next day's return": NEXT,
    "holes that are interpolated": pl.when(pl.int_range(pl.len()) % 5 != 3).then(CLOSE).interpolate() / CLOSE,
    "the rank of a day among all days": RETURN.rank() / RETURN.count(),
    "winsorised at quantiles of all days": RETURN.clip(RETURN.quantile(0.05), RETURN.quantile(0.95)),
    "the volume of the next five days": VOLUME / VOLUME.rolling_mean(5).shift(-5),
    "the month's last close during the month": CLOSE.last().over("code", MONTH) / CLOSE,
    "the mean return of the calendar week": RETURN.mean().over("code", WEEK),
    "a forward fill over descending days": pl.when(RETURN > 0)
    .then(RETURN)
    .reverse()
    .forward_fill()
    .reverse(),
    "scaled by the last price": CLOSE / CLOSE.last(),
    "the mean label of the stock": NEXT.mean() + 0 * CLOSE,
    "the residual of a trend over all days": CLOSE.log().map_batches(trend_residual, pl.Float64),
    "a low-pass filter over all days": CLOSE.log().map_batches(low_pass, pl.Float64),
    "days until the stock's last row": pl.len() - pl.int_range(pl.len()),
}
CLEAN: dict[str, pl.Expr] = {
    "a moving average": CLOSE.rolling_mean(20) / CLOSE,
    "a short window at the start": RETURN.rolling_mean(20, min_samples=1),
    "a z-score over the past": (RETURN - RETURN.rolling_mean(60)) / RETURN.rolling_std(60),
    "the highest close so far": CLOSE / CLOSE.cum_max(),
    "an exponential average": RETURN.ewm_mean(span=10),
    "holes filled forwards": pl.when(pl.int_range(pl.len()) % 5 != 3).then(CLOSE).forward_fill() / CLOSE,
    "the mean of the month so far": RETURN.cum_sum().over("code", MONTH),
    "days since the first row": pl.int_range(pl.len()),
    "returns hidden after a crash": pl.when(RETURN.fill_null(0.0) > -0.6).then(RETURN),
    "the volume against its past": VOLUME / VOLUME.rolling_mean(20),
}


def pipeline(expression: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A pipeline with the feature `x`, computed stock by stock."""

    def compute(prices: pl.DataFrame) -> pl.DataFrame:
        stocks = prices.sort("code", "date").partition_by("code", maintain_order=True)
        return pl.concat(
            stock.select("date", "code", expression.cast(pl.Float64).alias("x")) for stock in stocks
        )

    return compute
