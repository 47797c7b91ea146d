"""The embedded market, small, and a copy with one fault of each kind at a known place."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from gogooku3.data.synthetic.market import generate_market
from gogooku3.data.synthetic.simulated_exchange import SyntheticMarketConfig


@dataclass(frozen=True)
class Fault:
    """What was planted: the check that must name it, and where."""

    name: str
    column: str
    code: str | None
    day: dt.date | None
    factor: str | None = None


def clean_market() -> pl.DataFrame:
    """Prices of 40 stocks x 160 days, sorted by (code, date), some of them rarely traded."""
    return generate_market(SyntheticMarketConfig(n_stocks=40, n_days=160, seed=5)).prices


def spoil(prices: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """The prices with a fault of each kind, each in a stock of its own, and where they are."""
    days = prices["date"].unique().sort()
    counts = prices.group_by("code").len().sort("code")
    codes = counts.filter(pl.col("len") == len(days))["code"].to_list()
    at = days[80]
    c = pl.col
    faults: list[Fault] = []

    def plant(
        name: str, column: str, change: pl.Expr, where: pl.Expr | None = None, also: tuple[str, ...] = ()
    ) -> None:
        """Change columns of the next stock, by default on one day."""
        nonlocal prices
        code = codes[len(faults)]
        rows = (c("code") == code) & (c("date") == at if where is None else where)
        if not also:
            also = (column,)
        prices = prices.with_columns(pl.when(rows).then(change).otherwise(c(n)).alias(n) for n in also)
        faults.append(Fault(name, column, code, at))

    four = ("open", "high", "low", "close")
    for name in four:
        plant("bad_price", name, pl.lit(0.0))
    plant("bad_volume", "volume", pl.lit(-5.0))
    plant("ohlc", "high", c("low") * 0.5)
    plant("ohlc", "high", c("close") * 0.98)
    plant("ohlc", "low", c("close") * 1.01)
    plant("ohlc", "open", c("high") * 1.1)
    plant("wick", "high", c("high") * 3)
    plant("wick", "low", c("low") / 3)
    for factor, spelled in ((2.0, "2"), (5.0, "5"), (10.0, "10"), (1.5, "3/2"), (0.1, "1/10")):
        code = codes[len(faults)]
        earlier = (c("code") == code) & (c("date") < at)
        prices = prices.with_columns(
            *(pl.when(earlier).then(c(n) * factor).otherwise(c(n)).alias(n) for n in four),
            pl.when(earlier).then(c("volume") / factor).otherwise(c("volume")).alias("volume"),
        )
        faults.append(Fault("suspected_split", "close", code, at, spelled))
    for factor in (1.6, 10.0):
        code = codes[len(faults)]
        tick = (c("code") == code) & (c("date") == at)
        prices = prices.with_columns(pl.when(tick).then(c(n) * factor).otherwise(c(n)).alias(n) for n in four)
        faults.append(Fault("bad_tick", "close", code, at))
    code = codes[len(faults)]
    # 70 is no split's factor, and half a year later nothing has come back.
    later = (c("code") == code) & (c("date") >= at)
    prices = prices.with_columns(pl.when(later).then(c(n) * 70.0).otherwise(c(n)).alias(n) for n in four)
    faults.append(Fault("lasting_jump", "close", code, at))
    code = codes[len(faults)]
    frozen = prices.filter((c("code") == code) & (c("date") == at)).select(four).row(0, named=True)
    run = (c("code") == code) & c("date").is_between(at, days[87])
    prices = prices.with_columns(
        *(pl.when(run).then(pl.lit(frozen[n])).otherwise(c(n)).alias(n) for n in four),
        pl.when(run).then(pl.lit(100.0)).otherwise(c("volume")).alias("volume"),
    )
    faults.append(Fault("stale_price", "close", code, at))
    prices, whole_days = _spoil_days(prices, days)
    double = prices.filter((c("code") == codes[-1]) & (c("date") == at))
    faults.append(Fault("double_key", "code", codes[-1], at))
    return pl.concat([prices, double]).sort("code", "date"), [*faults, *whole_days]


def _spoil_days(prices: pl.DataFrame, days: pl.Series) -> tuple[pl.DataFrame, list[Fault]]:
    """A day that repeats the one before, a market that rests for three weeks, a thin day, the future."""
    c = pl.col
    copied, copy = days[30], days[31]
    repeated = prices.filter(c("date") == copied).with_columns(date=pl.lit(copy))
    resting = c("date").is_between(days[100], days[115])
    thin = (c("date") == days[120]) & (c("code") > prices["code"].unique().sort()[6])
    prices = pl.concat([prices.filter(c("date") != copy), repeated]).filter(~resting & ~thin)
    last = days[-1]
    future = dt.date.today() + dt.timedelta(days=400)
    lone = (c("date") == last) & (c("code") == prices.filter(c("date") == last)["code"].max())
    prices = prices.with_columns(date=pl.when(lone).then(pl.lit(future)).otherwise(c("date")))
    return prices, [
        Fault("repeated_day", "date", None, copy),
        Fault("market_pause", "date", None, days[116]),
        Fault("thin_day", "date", None, days[120]),
        Fault("future_day", "date", None, future),
    ]
