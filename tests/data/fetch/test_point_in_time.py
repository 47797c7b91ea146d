"""Splits, delistings, late disclosures and revised statements are known on their day and not before."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import exchange_calendars
import polars as pl
import pytest
from jquants_server import FUND, KEY, JQuantsServer, serve

from gogooku3.data.fetch.jquants import fetch_jquants
from gogooku3.data.fetch.jquants_client import JQuantsClient
from gogooku3.data.fetch.known_facts import add_known_facts
from gogooku3.data.fetch.point_in_time import known_on, tokyo_prices
from gogooku3.data.fetch.store import RawStore
from gogooku3.data.quality.exchange_calendar import check_days, tokyo_close
from gogooku3.errors import ConfigError, DataError

FIRST, LAST = dt.date(2024, 1, 4), dt.date(2024, 2, 29)
SPLIT_DAY = dt.date(2024, 1, 22)
STOCK = "13020"


def statement(
    day: str, time: str, number: int, period: str, fy_end: str, **figures: object
) -> dict[str, str]:
    ends = {"1Q": "06-30", "2Q": "09-30", "3Q": "12-31", "FY": "03-31"}
    year = int(fy_end[:4]) - (period != "FY")
    fields = {"DiscDate": day, "DiscTime": time, "Code": STOCK, "DiscNo": str(number), "CurPerType": period}
    fields |= {"DocType": f"{period}FinancialStatements_Consolidated_JP", "CurFYEn": fy_end}
    return (
        fields
        | {"CurPerEn": f"{year}-{ends[period]}"}
        | {name: str(value) for name, value in figures.items()}
    )


STATEMENTS = [
    statement("2024-01-05", "14:00:00", 1, "3Q", "2023-03-31", NP=60, Sales=600),
    statement(
        "2024-01-05", "14:00:00", 2, "FY", "2023-03-31", NP=100, Sales=1000, Eq=800, ShOutFY=1e6, TrShFY=1e5
    ),
    # At the close: known the next trading day.
    statement("2024-01-12", "15:00:00", 3, "3Q", "2024-03-31", NP=90, Sales=700, FNP=150),
    # On a Saturday.
    statement("2024-01-27", "12:00:00", 4, "3Q", "2024-03-31", FNP=120),
    # A revision in February of the results of January.
    statement("2024-02-14", "10:00:00", 5, "3Q", "2024-03-31", NP=80, Sales=700),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawStore]:
    market = JQuantsServer(
        splits={(STOCK, SPLIT_DAY): 0.5}, delisted={"13050": dt.date(2024, 1, 30)}, statements=STATEMENTS
    )
    with serve(market):
        store = RawStore(tmp_path_factory.mktemp("raw"))
        client = JQuantsClient(KEY, 1e6, 5.0, 0.01, market.url)
        fetch_jquants(store, client, FIRST, LAST, today=dt.date(2024, 6, 1))
        yield store


@pytest.fixture(scope="module")
def prices(store: RawStore) -> pl.DataFrame:
    return add_known_facts(tokyo_prices(store).frame, store)


def fact(prices: pl.DataFrame, name: str, day: str, code: str = STOCK) -> float | None:
    row = prices.filter((pl.col("code") == code) & (pl.col("date") == dt.date.fromisoformat(day)))
    value: float | None = row[name].item()
    return value


def test_a_split_leaves_no_jump_and_changes_no_price_before_it(store: RawStore, prices: pl.DataFrame) -> None:
    own = prices.filter(pl.col("code") == STOCK)
    steps = own["close"].log().diff().abs().drop_nulls()
    assert steps.max() < 0.1
    assert own["volume"].unique().to_list() == [10_000.0]
    raw = store.read("bars").filter((pl.col("Code") == STOCK) & (pl.col("Date") < SPLIT_DAY))
    assert own.filter(pl.col("date") < SPLIT_DAY)["close"].to_list() == raw.sort("Date")["C"].to_list()


def test_a_delisted_stock_ends_on_its_last_day_and_funds_are_left_out(prices: pl.DataFrame) -> None:
    gone = prices.filter(pl.col("code") == "13050")
    assert gone["date"].min() == FIRST
    assert gone["date"].max() == dt.date(2024, 1, 29)
    assert FUND not in prices["code"]


def test_dropped_rows_are_counted(store: RawStore) -> None:
    assert tokyo_prices(store).dropped == {"not a domestic stock (fund, trust, other section)": 40}


def test_the_sector_is_that_of_the_day(prices: pl.DataFrame) -> None:
    own = prices.filter(pl.col("code") == "13010")
    assert own.filter(pl.col("date") < dt.date(2024, 2, 1))["sector"].unique().to_list() == ["0050"]
    assert own.filter(pl.col("date") >= dt.date(2024, 2, 1))["sector"].unique().to_list() == ["9050"]


def test_the_index_comes_from_topix(prices: pl.DataFrame) -> None:
    assert fact(prices, "index_close", "2024-01-15") == 2415.0


def test_a_disclosure_before_the_close_counts_for_the_day_and_later_ones_for_the_next() -> None:
    sessions = pl.Series([dt.date(2024, 11, 1), dt.date(2024, 11, 5), dt.date(2024, 11, 6)])
    disclosures = [
        (dt.date(2024, 11, 1), "14:59", dt.date(2024, 11, 1)),
        (dt.date(2024, 11, 1), "15:00", dt.date(2024, 11, 5)),
        (dt.date(2024, 11, 1), None, dt.date(2024, 11, 5)),
        (dt.date(2024, 11, 3), "09:00", dt.date(2024, 11, 5)),
        # From 2024-11-05 the market closes at 15:30.
        (dt.date(2024, 11, 5), "15:29:59", dt.date(2024, 11, 5)),
        (dt.date(2024, 11, 5), "15:30:00", dt.date(2024, 11, 6)),
        (dt.date(2024, 11, 6), "16:00:00", None),
    ]
    disclosed = pl.DataFrame(
        [t[:2] for t in disclosures], schema={"DiscDate": pl.Date, "DiscTime": pl.String}, orient="row"
    )
    assert known_on(disclosed, sessions).to_list() == [t[2] for t in disclosures]


def test_results_are_known_from_their_disclosure(prices: pl.DataFrame) -> None:
    profit = "known_net_profit_ttm"
    assert fact(prices, profit, "2024-01-04") is None
    assert fact(prices, profit, "2024-01-05") == 100.0
    assert fact(prices, profit, "2024-01-12") == 100.0
    # Three quarters of this year, and the last quarter of last year: 90 + 100 - 60.
    assert fact(prices, profit, "2024-01-15") == 130.0
    assert fact(prices, "known_sales_ttm", "2024-01-15") == 1100.0


def test_a_revision_counts_from_its_own_day(prices: pl.DataFrame) -> None:
    assert fact(prices, "known_net_profit_ttm", "2024-02-13") == 130.0
    assert fact(prices, "known_net_profit_ttm", "2024-02-14") == 120.0


def test_a_forecast_published_on_saturday_is_known_on_monday(prices: pl.DataFrame) -> None:
    assert fact(prices, "known_net_profit_forecast", "2024-01-26") == 150.0
    assert fact(prices, "known_net_profit_forecast", "2024-01-29") == 120.0
    assert fact(prices, "known_net_profit_forecast_before", "2024-01-29") == 150.0
    assert fact(prices, "known_disclosure_age", "2024-02-13") == 11.0


def test_market_value_is_price_times_shares_across_the_split(store: RawStore, prices: pl.DataFrame) -> None:
    raw = store.read("bars").filter(pl.col("Code") == STOCK)
    for day, shares in (("2024-01-19", 9e5), ("2024-01-22", 1.8e6)):
        quoted = raw.filter(pl.col("Date") == dt.date.fromisoformat(day))["C"].item()
        assert fact(prices, "known_market_cap", day) == pytest.approx(quoted * shares)


def test_weekly_margin_balances_are_known_on_the_third_day_of_the_next_week(prices: pl.DataFrame) -> None:
    share = "known_margin_long_share"
    # Counted on Friday the 12th, published on Tuesday the 16th after the close.
    assert fact(prices, share, "2024-01-16") == pytest.approx(1005 / 9e5)
    assert fact(prices, share, "2024-01-17") == pytest.approx(1012 / 9e5)
    assert fact(prices, share, "2024-01-17", code="13010") is None


def test_flows_are_known_the_day_after_their_publication(prices: pl.DataFrame) -> None:
    share = "known_foreign_balance_share"
    assert fact(prices, share, "2024-01-18") == pytest.approx((11 - 15) * 1e9 / 1e12)
    assert fact(prices, share, "2024-01-19") == pytest.approx((18 - 15) * 1e9 / 1e12)


def test_later_disclosures_do_not_change_earlier_rows(store: RawStore, prices: pl.DataFrame) -> None:
    """Remove all data after a day: every row up to that day stays bit-identical."""
    cut = dt.date(2024, 2, 1)
    live = RawStore(store.folder.with_name("live"))
    for dataset in store.datasets():
        for unit in store.units(dataset):
            frame = pl.read_parquet(store.path(dataset, unit), hive_partitioning=False)
            day = next((name for name in ("DiscDate", "PubDate", "Date") if name in frame.columns), None)
            day = "Date" if dataset == "margin" else day
            if day in frame.columns and dataset != "calendar":
                frame = frame.filter(pl.col(day) <= cut)
            if unit[:10] <= str(cut)[: len(unit)] or dataset == "calendar":
                live.write(dataset, unit, frame)
    then = add_known_facts(tokyo_prices(live).frame, live)
    now = prices.filter(pl.col("date") <= cut)
    assert then.select(now.columns).equals(now)
    assert then.height == now.height > 200


def test_bars_without_listings_are_refused(tmp_path: Path, store: RawStore) -> None:
    bare = RawStore(tmp_path)
    bare.write(
        "bars", "2024-01-04", pl.read_parquet(store.path("bars", "2024-01-04"), hive_partitioning=False)
    )
    with pytest.raises(DataError, match="has no master; it has bars"):
        tokyo_prices(bare)


def test_tokyo_closing_times_equal_those_of_exchange_calendars() -> None:
    calendar = exchange_calendars.get_calendar("XTKS", start="2024-10-01", end="2024-12-01")
    for session in calendar.sessions:
        close = calendar.session_close(session).tz_convert("Asia/Tokyo").time()
        assert tokyo_close(session.date()) == close


def test_the_outage_of_2020_10_01_is_not_a_session() -> None:
    days = [dt.date(2020, 9, 30), dt.date(2020, 10, 1), dt.date(2020, 10, 5)]
    check = check_days(days)
    assert check.extra == (dt.date(2020, 10, 1),)
    assert check.missing == (dt.date(2020, 10, 2),)


def test_an_unknown_exchange_is_refused_with_the_known_codes() -> None:
    with pytest.raises(ConfigError, match=r"unknown exchange 'TOKYO'; choose a market identifier code: .*X"):
        check_days([dt.date(2024, 1, 4)], "TOKYO")
