"""Adds results, margin balances and investor flows to prices, as known at the close of each day.
All are totals or shares of totals, never per share, so splits do not affect them."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl

from gogooku3.data.fetch.jquants_data import FLOWS, MARGIN, STATEMENTS
from gogooku3.data.fetch.point_in_time import (
    FACTOR,
    TokyoPrices,
    known_on,
    market_sessions,
    session_after,
    tokyo_prices,
)
from gogooku3.data.fetch.statements import KNOWN, NEEDED, known_statements
from gogooku3.data.fetch.store import RawStore
from gogooku3.files.atomic import write_parquet_atomic
from gogooku3.schema import CODE, DATE, KNOWN_FACT

WEEKLY_MARGIN_DAYS = 3
"""Weekly balances are published on the second business day of the next week, after the close."""

_Add = Callable[[pl.DataFrame, pl.DataFrame, pl.Series], pl.DataFrame]
"""From prices, raw rows and trading days to prices with facts."""


def write_tokyo_prices(store: RawStore, path: Path | str) -> TokyoPrices:
    """Write prices with known facts as one Parquet file for `data build`; returns what was written.

    Raises:
        DataError: the store lacks bars or listings, or a file in it can't be read.
    """
    prices = tokyo_prices(store)
    frame = add_known_facts(prices.frame, store)
    write_parquet_atomic(path, frame)
    return TokyoPrices(frame, prices.dropped)


def add_known_facts(prices: pl.DataFrame, store: RawStore) -> pl.DataFrame:
    """Add the columns `known_*` for which the store has raw data, and drop `split_factor`.

    Money is in yen; unknown is null. No row depends on a disclosure after its day's close. `prices` come from
    `tokyo_prices`, sorted by (code, date).
    """
    families: dict[str, tuple[list[str], _Add]] = {
        STATEMENTS: (NEEDED, _with_statements),
        MARGIN: (["PubDate", "Date", "Code", "ShrtVol", "LongVol"], _with_margin),
        FLOWS: (["PubDate", "EnDate", "Section", "FrgnBal", "TotTot"], _with_flows),
    }
    sessions = market_sessions(store)
    for dataset, (columns, add) in families.items():
        if dataset in store.datasets() and not (raw := store.read(dataset, columns)).is_empty():
            prices = add(prices, raw, sessions)
    return prices.drop(FACTOR, KNOWN_FACT + "shares", strict=False)


def _with_statements(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    facts = known_statements(raw, known_on(raw, sessions))
    # The disclosed shares precede later splits. Times the split factor, they fit the adjusted prices.
    factors = prices.select(CODE, pl.col(DATE).alias("known_on"), FACTOR)
    facts = _as_of(facts, factors, "known_on").with_columns(pl.col("shares") * pl.col(FACTOR).fill_null(1.0))
    day = pl.col("known_on")
    facts = facts.select(CODE, day.alias(DATE), day.alias("disclosed"), pl.col(KNOWN).name.prefix(KNOWN_FACT))
    numbers = pl.int_range(len(sessions), eager=True)
    age, since = (pl.col(day).replace_strict(sessions, numbers, default=None) for day in (DATE, "disclosed"))
    return (
        _as_of(prices, facts, DATE)
        .with_columns(
            (pl.col("close") * pl.col(KNOWN_FACT + "shares")).alias(KNOWN_FACT + "market_cap"),
            (age - since).cast(pl.Float64).alias(KNOWN_FACT + "disclosure_age"),
        )
        .drop("disclosed")
    )


def _with_margin(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """Add balances as shares of the shares outstanding; without statements those are unknown."""
    shares = KNOWN_FACT + "shares"
    if shares not in prices.columns:
        return prices
    dates = raw.select("PubDate", "Date").unique()
    known = []
    for published, counted in dates.iter_rows():
        # Published after the close; on an unknown day, assume the usual one of the next week.
        sunday = counted + dt.timedelta(6 - counted.weekday())
        known.append(session_after(published or sunday, sessions, 1 if published else WEEKLY_MARGIN_DAYS))
    dates = dates.with_columns(pl.Series(DATE, known, pl.Date))
    balances = (
        raw.join(dates, on=["PubDate", "Date"], nulls_equal=True)
        .drop_nulls(DATE)
        .select(DATE, pl.col("Code").alias(CODE), counted_on="Date", long="LongVol", short="ShrtVol")
    )
    factors = prices.select(CODE, pl.col(DATE).alias("counted_on"), FACTOR)
    balances = _as_of(balances.sort(CODE, "counted_on"), factors, "counted_on")
    balances = balances.select(CODE, DATE, *(pl.col(n) * pl.col(FACTOR) for n in ("long", "short")))
    newest = balances.unique([CODE, DATE], keep="last", maintain_order=True)
    return (
        _as_of(prices, newest, DATE)
        .with_columns(
            (pl.col(n) / pl.col(shares)).alias(f"{KNOWN_FACT}margin_{n}_share") for n in ("long", "short")
        )
        .drop("long", "short")
    )


def _with_flows(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """Add foreigners' net buying in the largest section as a share of its turnover of the week."""
    largest = (
        raw.drop_nulls()
        .sort("PubDate", "EnDate", "TotTot")
        .unique(["PubDate", "EnDate"], keep="last", maintain_order=True)
    )
    known = [session_after(day, sessions) for day in largest["PubDate"]]
    weekly = largest.select(
        pl.Series(DATE, known, pl.Date),
        (pl.col("FrgnBal") / pl.col("TotTot")).alias(KNOWN_FACT + "foreign_balance_share"),
    ).drop_nulls()
    weekly = weekly.unique(DATE, keep="last", maintain_order=True).sort(DATE)
    by_day = prices.select(DATE).unique().sort(DATE).join_asof(weekly, on=DATE)
    return prices.join(by_day, on=DATE, how="left", maintain_order="left")


def _as_of(rows: pl.DataFrame, facts: pl.DataFrame, on: str) -> pl.DataFrame:
    """Join to each row its stock's newest fact on or before its day; sorted by (code, day)."""
    joined = rows.sort(on).join_asof(facts.sort(on), on=on, by=CODE, check_sortedness=False)
    return joined.sort(CODE, on)
