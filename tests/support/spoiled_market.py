"""A small embedded market, and a copy with one fault of each kind at a known place."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from gogooku3.data.synthetic.market import generate_market
from gogooku3.data.synthetic.simulated_exchange import SyntheticMarketConfig


@dataclass(frozen=True)
class Fault:
    """A planted fault: the check that must report it, and where."""

    name: str
    column: str
    code: str | None
    day: dt.date | None
    factor: str | None = None


def clean_market() -> pl.DataFrame:
    """Prices of 40 stocks x 160 days, sorted by (code, date), some of them rarely traded."""
    return generate_market(SyntheticMarketConfig(n_stocks=40, n_days=160, seed=5)).prices


def spoil(prices: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """Prices with one fault of each kind, each in a different stock, and the faults."""
    days = prices["date"].unique().sort()
    counts = prices.group_by("code").len().sort("code")
    codes = counts.filter(pl.col("len") == len(days))["code"].to_list()
    at = days[80]
    c = pl.col
    faults: list[Fault] = []

    def plant(
        name: str,
        column: str,
        changes: dict[str, pl.Expr],
        where: pl.Expr | None = None,
        factor: str | None = None,
    ) -> None:
        """Change columns of the next stock, by default on one day."""
        nonlocal prices
        code = codes[len(faults)]
        rows = (c("code") == code) & (c("date") == at if where is None else where)
        prices = prices.with_columns(
            pl.when(rows).then(change).otherwise(c(n)).alias(n) for n, change in changes.items()
        )
        faults.append(Fault(name, column, code, at, factor))

    four = ("open", "high", "low", "close")
    for name in four:
        plant("bad_price", name, {name: pl.lit(0.0)})
    plant("bad_volume", "volume", {"volume": pl.lit(-5.0)})
    plant("ohlc", "high", {"high": c("low") * 0.5})
    plant("ohlc", "high", {"high": c("close") * 0.98})
    plant("ohlc", "low", {"low": c("close") * 1.01})
    plant("ohlc", "open", {"open": c("high") * 1.1})
    plant("wick", "high", {"high": c("high") * 3})
    plant("wick", "low", {"low": c("low") / 3})
    for ratio, factor in ((2.0, "2"), (5.0, "5"), (10.0, "10"), (1.5, "3/2"), (0.1, "1/10")):
        split = {n: c(n) * ratio for n in four} | {"volume": c("volume") / ratio}
        plant("suspected_split", "close", split, c("date") < at, factor)
    for ratio in (1.6, 10.0):
        plant("bad_tick", "close", {n: c(n) * ratio for n in four})
    # 70 is not a split factor, and the move is never reversed.
    plant("lasting_jump", "close", {n: c(n) * 70.0 for n in four}, c("date") >= at)
    stock = prices.filter((c("code") == codes[len(faults)]) & (c("date") == at))
    frozen = {n: pl.lit(stock[n][0]) for n in four} | {"volume": pl.lit(100.0)}
    plant("stale_price", "close", frozen, c("date").is_between(at, days[87]))
    prices, day_faults = _spoil_days(prices, days)
    double = prices.filter((c("code") == codes[-1]) & (c("date") == at))
    faults.append(Fault("double_key", "code", codes[-1], at))
    return pl.concat([prices, double]).sort("code", "date"), [*faults, *day_faults]


def _spoil_days(prices: pl.DataFrame, days: pl.Series) -> tuple[pl.DataFrame, list[Fault]]:
    """Plant a repeated day, a market closed for three weeks, a thin day and a future day."""
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
