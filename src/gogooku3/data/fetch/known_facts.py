"""Facts beside the prices, each as it was known at the close of its day: results, margin balances, flows.

All are totals or shares of totals, never figures per share, so that no split touches them.
"""

import datetime as dt
from collections.abc import Callable

import polars as pl

from gogooku3.data.fetch.jquants_data import FLOWS, MARGIN, STATEMENTS
from gogooku3.data.fetch.point_in_time import FACTOR, known_on, market_sessions
from gogooku3.data.fetch.statements import KNOWN, NEEDED, known_statements
from gogooku3.data.fetch.store import RawStore
from gogooku3.schema import CODE, DATE, KNOWN_FACT

WEEKLY_MARGIN_DAYS = 3
"""Weekly balances are published on the second business day of the next week, after the close."""


_Add = Callable[[pl.DataFrame, pl.DataFrame, pl.Series], pl.DataFrame]
"""Prices, raw rows and trading days to prices with the facts."""


def add_known_facts(prices: pl.DataFrame, store: RawStore) -> pl.DataFrame:
    """Add the columns `known_*` whose raw data the store has; drops the column `split_factor`.

    Money is in yen; unknown is null. Nothing on a row comes from a disclosure after that day's close.

    Args:
        prices: of `point_in_time.tokyo_prices`, sorted by (code, date).
        store: raw files.
    """
    makers: dict[str, tuple[list[str], _Add]] = {
        STATEMENTS: (NEEDED, _with_statements),
        MARGIN: (["PubDate", "Date", "Code", "ShrtVol", "LongVol"], _with_margin),
        FLOWS: (["PubDate", "EnDate", "Section", "FrgnBal", "TotTot"], _with_flows),
    }
    sessions = market_sessions(store)
    for dataset, (columns, add) in makers.items():
        if dataset in store.datasets() and not (raw := store.read(dataset, columns)).is_empty():
            prices = add(prices, raw, sessions)
    return prices.drop(FACTOR, KNOWN_FACT + "shares", strict=False)


def _with_statements(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    facts = known_statements(raw, known_on(raw, sessions))
    # Shares were counted before later splits; prices are free of splits: so are shares times the factor.
    factors = prices.select(CODE, pl.col(DATE).alias("known_on"), FACTOR)
    facts = _as_of(facts, factors, "known_on").with_columns(pl.col("shares") * pl.col(FACTOR).fill_null(1.0))
    names = {name: KNOWN_FACT + name for name in KNOWN}
    facts = facts.select(
        CODE,
        pl.col("known_on").alias(DATE),
        pl.col("known_on").alias("disclosed"),
        pl.col(names).name.prefix(KNOWN_FACT),
    )
    prices = _as_of(prices, facts, DATE)
    age = pl.col(DATE).replace_strict(sessions, pl.int_range(len(sessions), eager=True), default=None)
    since = pl.col("disclosed").replace_strict(
        sessions, pl.int_range(len(sessions), eager=True), default=None
    )
    return prices.with_columns(
        (pl.col("close") * pl.col(KNOWN_FACT + "shares")).alias(KNOWN_FACT + "market_cap"),
        (age - since).cast(pl.Float64).alias(KNOWN_FACT + "disclosure_age"),
    ).drop("disclosed")


def _with_margin(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """Balances as shares of the shares outstanding; without statements nothing is known of those."""
    shares = KNOWN_FACT + "shares"
    if shares not in prices.columns:
        return prices
    counts = raw.select("PubDate", "Date").unique()
    known = [_margin_known(published, counted, sessions) for published, counted in counts.iter_rows()]
    balances = (
        raw.join(
            counts.with_columns(pl.Series(DATE, known, pl.Date)), on=["PubDate", "Date"], nulls_equal=True
        )
        .drop_nulls(DATE)
        .select(DATE, pl.col("Code").alias(CODE), counted_on="Date", long="LongVol", short="ShrtVol")
    )
    factors = prices.select(CODE, pl.col(DATE).alias("counted_on"), FACTOR)
    balances = _as_of(balances.sort(CODE, "counted_on"), factors, "counted_on")
    balances = balances.select(CODE, DATE, *(pl.col(n) * pl.col(FACTOR) for n in ("long", "short")))
    newest = balances.unique([CODE, DATE], keep="last", maintain_order=True)
    prices = _as_of(prices, newest, DATE)
    return prices.with_columns(
        (pl.col(n) / pl.col(shares)).alias(f"{KNOWN_FACT}margin_{n}_share") for n in ("long", "short")
    ).drop("long", "short")


def _margin_known(published: dt.date | None, counted: dt.date, sessions: pl.Series) -> dt.date | None:
    """The session at whose close a balance was known: they are published after the close."""
    if published is not None:
        return _session_after(published, sessions)
    monday = counted + dt.timedelta(7 - counted.weekday())
    return _session_after(monday - dt.timedelta(1), sessions, WEEKLY_MARGIN_DAYS)


def _with_flows(prices: pl.DataFrame, raw: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    """Foreigners' balance of buying and selling as a share of the week's turnover, of the largest section."""
    largest = (
        raw.drop_nulls()
        .sort("PubDate", "EnDate", "TotTot")
        .unique(["PubDate", "EnDate"], keep="last", maintain_order=True)
    )
    known = [_session_after(day, sessions) for day in largest["PubDate"]]
    weekly = largest.select(
        pl.Series(DATE, known, pl.Date),
        (pl.col("FrgnBal") / pl.col("TotTot")).alias(KNOWN_FACT + "foreign_balance_share"),
    ).drop_nulls()
    weekly = weekly.unique(DATE, keep="last", maintain_order=True).sort(DATE)
    by_day = prices.select(DATE).unique().sort(DATE).join_asof(weekly, on=DATE, strategy="backward")
    return prices.join(by_day, on=DATE, how="left", maintain_order="left")


def _session_after(day: dt.date, sessions: pl.Series, count: int = 1) -> dt.date | None:
    """The `count`-th trading day after a day; None: the calendar ends before."""
    place = int(sessions.search_sorted(day, side="right")) + count - 1
    return sessions[place] if place < len(sessions) else None


def _as_of(rows: pl.DataFrame, facts: pl.DataFrame, on: str) -> pl.DataFrame:
    """Each row with the newest fact of its stock on or before its day; both sorted by (code, day)."""
    joined = rows.sort(on).join_asof(
        facts.sort(on), on=on, by=CODE, strategy="backward", check_sortedness=False
    )
    return joined.sort(CODE, on)
