"""Does the audit find pipelines that look ahead, without accusing those that don't?

Leaks seen in other projects or invented, and clean pipelines that resemble them, each a way of computing one
feature `x` from prices. The markets are synthetic, reach over the end of a year, and list two stocks late. A
leak counts as found if the feature depends on rows after a day t; a warning or a leak accuses a clean one.

    python benchmarks/audit_leaks.py
"""

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market
from gogooku3.safety import AuditReport, audit
from gogooku3.safety.auditing.changes import LATER

Pipeline = Callable[[pl.DataFrame], pl.DataFrame]

OPEN, CLOSE, VOLUME = pl.col("open"), pl.col("close"), pl.col("volume")
# Expressions are evaluated over the rows of one stock, in the order of days.
RETURN = CLOSE / CLOSE.shift(1) - 1
NEXT = CLOSE.shift(-1) / CLOSE - 1
WEEK, MONTH, YEAR = (pl.col("date").dt.truncate(unit) for unit in ("1w", "1mo", "1y"))
DAYS_LEFT_IN_YEAR = pl.col("date").rank("dense", descending=True).over(YEAR)
HAS_HOLES = pl.int_range(pl.len()) % 5 == 3


def by_stock(expression: pl.Expr) -> Pipeline:
    """A pipeline whose feature is computed from the rows of one stock."""

    def compute(prices: pl.DataFrame) -> pl.DataFrame:
        stocks = prices.sort("code", "date").partition_by("code", maintain_order=True)
        feature = expression.cast(pl.Float64).alias("x")
        return pl.concat(stock.select("date", "code", feature) for stock in stocks)

    return compute


def with_returns(prices: pl.DataFrame) -> pl.DataFrame:
    """The rows by stock and day, with `ret` and the next day's return `label`."""
    rows = prices.sort("code", "date")
    return rows.with_columns(ret=RETURN.over("code"), label=NEXT.over("code"))


def across_stocks(expression: pl.Expr) -> Pipeline:
    """A pipeline whose feature is computed from the rows of all stocks, with `ret` and `label`."""
    return lambda prices: with_returns(prices).select("date", "code", x=expression)


def among_stocks(selected: pl.Expr) -> Pipeline:
    """Returns of the rows for which `selected` is true."""
    return lambda prices: with_returns(prices).filter(selected).select("date", "code", x="ret")


def trend_residual(values: pl.Series) -> pl.Series:
    """A series without its linear trend, fitted to the whole period."""
    step, numbers = np.arange(len(values)), values.to_numpy()
    if len(numbers) < 3:
        return values * 0.0
    return pl.Series(numbers - np.polyval(np.polyfit(step, numbers, 1), step))


def low_pass(values: pl.Series) -> pl.Series:
    """The slow part of a series, from its Fourier transform over the whole period."""
    spectrum = np.fft.rfft(values.to_numpy())
    spectrum[10:] = 0
    return pl.Series(np.fft.irfft(spectrum, len(values)))


def without_principal_component(prices: pl.DataFrame) -> pl.DataFrame:
    """Returns without their first principal component, fitted on all days."""
    wide = with_returns(prices).pivot(on="code", index="date", values="ret").sort("date")
    returns = wide.drop("date").fill_null(0.0)
    component = np.linalg.svd(returns.to_numpy(), full_matrices=False)[2][:1]
    rest = returns.to_numpy() @ (np.eye(returns.width) - component.T @ component)
    table = pl.DataFrame(rest, schema=returns.columns).with_columns(wide["date"])
    return table.unpivot(index="date", variable_name="code", value_name="x")


def filled_in_descending_order(prices: pl.DataFrame) -> pl.DataFrame:
    """Gains, filled forwards over rows whose days descend."""
    rows = with_returns(prices).sort("code", "date", descending=[False, True])
    gain = pl.when(pl.col("ret") > 0).then("ret")
    return rows.with_columns(gain=gain).select("date", "code", x=pl.col("gain").forward_fill().over("code"))


LEAKS: Mapping[str, Pipeline] = {
    "the next day's return": by_stock(NEXT),
    "the next day's open": by_stock(OPEN.shift(-1) / CLOSE),
    "the volume of the next five days": by_stock(VOLUME / VOLUME.rolling_mean(5).shift(-5)),
    "a centred window": by_stock(RETURN.rolling_mean(5, center=True)),
    "a warm-up of 20 days filled backwards": by_stock(
        (CLOSE.rolling_mean(20) / CLOSE).fill_null(strategy="backward")
    ),
    "the first return filled backwards": by_stock(RETURN.fill_null(strategy="backward")),
    "a warm-up filled with the mean of all days": by_stock(
        (CLOSE.rolling_std(10) / CLOSE).fill_null((CLOSE.rolling_std(10) / CLOSE).mean())
    ),
    "holes that are interpolated": by_stock(pl.when(~HAS_HOLES).then(CLOSE).interpolate() / CLOSE),
    "a forward fill over descending days": filled_in_descending_order,
    "closes corrected after the next day's jump": by_stock(
        pl.when(NEXT.abs() > 0.5).then(CLOSE.shift(-1)).otherwise(CLOSE) / CLOSE.shift(1)
    ),
    "returns hidden before a rare crash": by_stock(pl.when(NEXT.fill_null(0.0) > -0.6).then(RETURN)),
    "returns hidden before a fall of 90 %": by_stock(pl.when(NEXT.fill_null(0.0) > -0.9).then(RETURN)),
    "the mean of the whole calendar year": by_stock(CLOSE / CLOSE.mean().over("code", YEAR)),
    "the year's last close in its last three days": by_stock(
        pl.when(DAYS_LEFT_IN_YEAR <= 3).then(CLOSE.last().over("code", YEAR) / CLOSE)
    ),
    "the month's last close during the month": by_stock(CLOSE.last().over("code", MONTH) / CLOSE),
    "the mean return of the calendar week": across_stocks(pl.col("ret").mean().over(WEEK)),
    "the next day's return, on Fridays only": by_stock(pl.when(pl.col("date").dt.weekday() == 5).then(NEXT)),
    "a z-score over the whole period": by_stock((RETURN - RETURN.mean()) / RETURN.std()),
    "the rank of a day among all days": by_stock(RETURN.rank() / RETURN.count()),
    "winsorised at quantiles of all days": by_stock(
        RETURN.clip(RETURN.quantile(0.05), RETURN.quantile(0.95))
    ),
    "scaled by the last price": by_stock(CLOSE / CLOSE.last()),
    "the residual of a trend over all days": by_stock(CLOSE.log().map_batches(trend_residual, pl.Float64)),
    "a low-pass filter over all days": by_stock(CLOSE.log().map_batches(low_pass, pl.Float64)),
    "a principal component of all days": without_principal_component,
    "the mean label of the stock": across_stocks(pl.col("label").mean().over("code")),
    "only stocks that trade on the last day": among_stocks(
        pl.col("date").max().over("code") == pl.col("date").max()
    ),
    "only stocks with much volume in the whole period": among_stocks(
        VOLUME.mean().over("code") >= VOLUME.mean().over("code").median()
    ),
    "days until the stock's last row": by_stock(pl.len() - pl.int_range(pl.len())),
}
CLEAN: Mapping[str, Pipeline] = {
    "a moving average": by_stock(CLOSE.rolling_mean(20) / CLOSE),
    "a short window at the start": by_stock(RETURN.rolling_mean(20, min_samples=1)),
    "a z-score over the past": by_stock((RETURN - RETURN.rolling_mean(60)) / RETURN.rolling_std(60)),
    "the highest close so far": by_stock(CLOSE / CLOSE.cum_max()),
    "an exponential average": by_stock(RETURN.ewm_mean(span=10)),
    "holes filled forwards": by_stock(pl.when(~HAS_HOLES).then(CLOSE).forward_fill() / CLOSE),
    "the sum of the month so far": by_stock(RETURN.cum_sum().over("code", MONTH)),
    "days since the first row": by_stock(pl.int_range(pl.len())),
    "returns hidden after a crash": by_stock(pl.when(RETURN.fill_null(0.0) > -0.6).then(RETURN)),
    "the volume against its past": by_stock(VOLUME / VOLUME.rolling_mean(20)),
    "the rank among the stocks of the day": across_stocks(pl.col("ret").rank().over("date")),
    "only stocks with much turnover on the day": among_stocks((CLOSE * VOLUME).rank().over("date") > 3),
}


def market(seed: int, n_stocks: int = 12, n_days: int = 230) -> pl.DataFrame:
    """Prices that reach over the end of a year; two stocks are listed 40 days late."""
    prices = generate_market(SyntheticMarketConfig(n_stocks=n_stocks, n_days=n_days, seed=seed)).prices
    days = prices["date"].unique().sort()
    late = pl.col("code").is_in(prices["code"].unique().sort().head(2).implode())
    prices = prices.filter(~late | (pl.col("date") >= days[40]))
    return prices.with_columns(pl.col("date").dt.offset_by("84d"))


def try_pipeline(pipeline: Pipeline, prices: pl.DataFrame) -> AuditReport:
    """The audit of a pipeline, without a search for shortest examples."""
    return audit(pipeline, prices, reproduce_seconds=0)


def later_probes(report: AuditReport) -> list[str]:
    """The probes that showed a dependence on later rows."""
    names = {leak.probe for leak in report.leaks}
    return [name for name in LATER if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--markets", type=int, default=5, help="random markets per pipeline")
    parser.add_argument("--stocks", type=int, default=12, help="stocks of a market")
    parser.add_argument("--days", type=int, default=230, help="trading days of a market")
    given = parser.parse_args()
    started, counts = time.perf_counter(), {"leaks": 0, "clean": 0}
    markets = [market(seed, given.stocks, given.days) for seed in range(given.markets)]
    print("| pipeline | is a leak | found in | altered | removed | truncated |\n|---|---|---|---|---|---|")
    for kind, pipelines in (("leaks", LEAKS), ("clean", CLEAN)):
        for name, pipeline in pipelines.items():
            reports = [try_pipeline(pipeline, prices) for prices in markets]
            seen = [later_probes(report) if kind == "leaks" else report.findings for report in reports]
            shares = [sum(probe in later_probes(each) for each in reports) for probe in LATER[:3]]
            found = sum(map(bool, seen))
            counts[kind] += found
            answer = "yes" if kind == "leaks" else "no"
            print(f"| {name} | {answer} | {found} | {' | '.join(map(str, shares))} |", flush=True)
    tried = [len(pipelines) * len(markets) for pipelines in (LEAKS, CLEAN)]
    print(f"\nfound {counts['leaks']} of {tried[0]} leaks; accused {counts['clean']} of {tried[1]} clean")
    print(f"{time.perf_counter() - started:.0f} s for {given.markets} markets of {given.stocks} stocks")


if __name__ == "__main__":
    main()
