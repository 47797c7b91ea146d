"""One file per ticker. The library's download is replaced, because its address can't be changed."""

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from gogooku3.data.fetch.yahoo import fetch_yahoo, read_tickers
from gogooku3.data.prices import read_prices
from gogooku3.errors import ConfigError, DataError

FIRST, LAST = dt.date(2024, 1, 4), dt.date(2024, 1, 12)
FIELDS = ["Open", "High", "Low", "Close", "Adj Close", "Volume"]


class Yahoo:
    """Stand-in for `yfinance.download` that records the requested tickers."""

    def __init__(self, known: list[str], timezone: str | None = None) -> None:
        self.known, self.timezone, self.requested = known, timezone, list[str]()
        self.price, self.spans = 100.0, list[tuple[str, str]]()

    def __call__(self, tickers: list[str], start: str, end: str, **options: Any) -> pd.DataFrame:
        assert options == {"auto_adjust": False, "group_by": "ticker", "progress": False}
        self.requested += tickers
        self.spans.append((start, end))
        days = pd.bdate_range(start, end, inclusive="left", tz=self.timezone, name="Date")
        values = {(t, f): self.price if t in self.known else float("nan") for t in tickers for f in FIELDS}
        return pd.DataFrame(values, index=days)


def test_each_ticker_is_written_to_a_file_that_the_builder_reads(tmp_path: Path) -> None:
    report = fetch_yahoo(tmp_path, ["AAA", "7203.T", "NONE"], FIRST, LAST, Yahoo(["AAA", "7203.T"]))
    assert (report.written, report.kept, report.empty) == (2, 0, ["NONE"])
    prices = read_prices(tmp_path).report
    assert (prices.n_stocks, prices.n_days) == (2, 7)
    assert (prices.first_date, prices.last_date) == (FIRST, LAST)


def test_a_time_zone_does_not_move_a_day(tmp_path: Path) -> None:
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, Yahoo(["AAA"], "America/New_York"))
    assert read_prices(tmp_path).report.first_date == FIRST


def test_only_outdated_files_are_requested(tmp_path: Path) -> None:
    yahoo = Yahoo(["AAA", "BBB"])
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, yahoo)
    fetch_yahoo(tmp_path, ["AAA", "BBB"], FIRST, LAST, yahoo)
    assert yahoo.requested == ["AAA", "BBB"]
    fetch_yahoo(tmp_path, ["AAA"], FIRST, dt.date(2024, 2, 2), yahoo)
    assert yahoo.requested == ["AAA", "BBB", "AAA"]


def last_days(folder: Path) -> dict[str, dt.date]:
    frame = read_prices(folder).frame
    return dict(frame.group_by("code").agg(pl.col("date").max()).rows())


def test_every_evening_only_new_days_are_requested_for_all_tickers(tmp_path: Path) -> None:
    yahoo = Yahoo(["AAA", "BBB"])
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, yahoo)
    monday = LAST + dt.timedelta(3)
    report = fetch_yahoo(tmp_path, ["AAA", "BBB"], FIRST, monday, yahoo)
    assert (report.written, report.kept, report.behind) == (2, 0, {})
    assert sorted(yahoo.spans[1:]) == [("2024-01-04", "2024-01-16"), ("2024-01-12", "2024-01-16")]
    assert last_days(tmp_path) == {"AAA": monday, "BBB": monday}
    assert read_prices(tmp_path).report.rows_read == 16


def test_a_stock_listed_later_is_not_fetched_whole_every_evening(tmp_path: Path) -> None:
    class Listed(Yahoo):
        def __call__(self, tickers: list[str], start: str, end: str, **options: Any) -> pd.DataFrame:
            return super().__call__(tickers, start, end, **options).loc["2024-01-10":]

    yahoo = Listed(["AAA"])
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, yahoo)
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, yahoo)
    assert yahoo.requested == ["AAA"]
    fetch_yahoo(tmp_path, ["AAA"], FIRST - dt.timedelta(30), LAST, yahoo)
    assert yahoo.spans[1:] == [("2023-12-05", "2024-01-13")]


def test_a_changed_close_of_a_stored_day_fetches_all_days_again(tmp_path: Path) -> None:
    yahoo = Yahoo(["AAA"])
    fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, yahoo)
    yahoo.price = 50.0
    report = fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST + dt.timedelta(3), yahoo)
    assert report.written == 1 and yahoo.spans[-1] == ("2024-01-04", "2024-01-16")
    assert read_prices(tmp_path).frame["close"].unique().to_list() == [50.0]


def test_a_bar_of_an_unfinished_session_is_not_kept(tmp_path: Path) -> None:
    tickers = ["AAPL", "7203.T"]
    evening_in_tokyo = dt.datetime(2024, 1, 12, 8, 0, tzinfo=dt.UTC)
    report = fetch_yahoo(tmp_path, tickers, FIRST, LAST, Yahoo(tickers), now=evening_in_tokyo)
    assert last_days(tmp_path) == {"AAPL": dt.date(2024, 1, 11), "7203.T": LAST}
    assert report.behind == {}  # They are of different exchanges.


def test_a_stock_without_new_days_is_kept_and_named(tmp_path: Path) -> None:
    fetch_yahoo(tmp_path, ["AAA", "OLD"], FIRST, LAST, Yahoo(["AAA", "OLD"]))
    report = fetch_yahoo(tmp_path, ["AAA", "OLD"], FIRST, LAST + dt.timedelta(3), Yahoo(["AAA"]))
    assert (report.written, report.kept, report.empty, report.behind) == (1, 1, [], {"OLD": LAST})


def test_no_data_and_wrong_days_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no data for any of AAA"):
        fetch_yahoo(tmp_path, ["AAA"], FIRST, LAST, Yahoo([]))
    with pytest.raises(ConfigError, match="is after the last"):
        fetch_yahoo(tmp_path, ["AAA"], LAST, FIRST, Yahoo([]))


def test_a_list_of_tickers_may_have_comments_but_no_paths(tmp_path: Path) -> None:
    file = tmp_path / "tickers.txt"
    file.write_text("AAA # an old one\n\n^N225\nAAA\n")
    assert read_tickers(file) == ["AAA", "^N225"]
    for text, message in (
        ("# none", "has no ticker"),
        ("../../etc/passwd", "these are not tickers: ../../etc/passwd"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_tickers(file)
