"""Rows of another calendar don't move the calendar of a market."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from gogooku3.data.prices import read_prices
from gogooku3.data.quality.findings import price_findings
from gogooku3.data.quality.validation import validate
from gogooku3.data.trading_days import has_utc_times, stray_rows, thin_days
from gogooku3.errors import DataError

FIRST = dt.date(2024, 1, 1)
"""A Monday."""
MONDAY_TO_FRIDAY, SUNDAY_TO_THURSDAY = range(1, 6), (7, 1, 2, 3, 4)


def stock(code: str, weekdays: object = MONDAY_TO_FRIDAY, days: int = 56) -> pl.DataFrame:
    """A stock that trades on some weekdays, with steady prices."""
    dates = [FIRST + dt.timedelta(day) for day in range(days)]
    dates = [day for day in dates if day.isoweekday() in weekdays]  # type: ignore[operator]
    columns = {name: 10.0 for name in ("open", "high", "low", "close", "volume")}
    return pl.DataFrame({"date": dates, "code": code}).with_columns(
        **{n: pl.lit(v) for n, v in columns.items()}
    )


def market(weekdays: object = MONDAY_TO_FRIDAY) -> pl.DataFrame:
    return pl.concat([stock(code, weekdays) for code in ("A", "B", "C", "D")])


def write(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_parquet(folder / "p.parquet")
    return folder / "p.parquet"


def error_names(path: Path) -> list[str]:
    return [problem.name for problem in validate(path).errors if problem.name != "few_stocks"]


def test_a_stray_weekend_row_is_refused_and_named(tmp_path: Path) -> None:
    saturday = stock("A").head(1).with_columns(date=pl.date(2024, 1, 20))
    path = write(pl.concat([market(), saturday]), tmp_path)
    with pytest.raises(DataError, match=r"1 rows are on Saturdays, .*\(2024-01-20, A\); remove them"):
        read_prices(path)
    assert error_names(path) == ["stray_rows"]


def test_a_coin_among_stocks_is_refused_by_its_code(tmp_path: Path) -> None:
    path = write(pl.concat([market(), stock("BTC-USD", range(1, 8))]), tmp_path)
    with pytest.raises(DataError, match=r"BTC-USD trades on Saturdays and Sundays, the others do not"):
        read_prices(path)
    assert error_names(path) == ["stray_rows"]


def test_a_saturday_session_of_most_stocks_is_no_stray(tmp_path: Path) -> None:
    session = market().filter(pl.col("date") == FIRST).with_columns(date=pl.date(2024, 1, 20))
    assert stray_rows(pl.concat([market(), session])) is None
    assert stray_rows(market(range(1, 8))) is None


def test_sparse_stocks_are_no_strays() -> None:
    frame = pl.concat([stock(code, range(1, 8)) for code in "ABCDE"])
    assert stray_rows(frame.sample(fraction=0.4, seed=1)) is None


@pytest.mark.parametrize("kind", ["times", "text"])
def test_times_in_utc_of_another_zones_sessions_are_refused(tmp_path: Path, kind: str) -> None:
    tokyo = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo")
    frame = market().with_columns(tokyo.dt.convert_time_zone("UTC"))
    if kind == "text":
        frame = frame.with_columns(pl.col("date").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    path = write(frame, tmp_path)
    with pytest.raises(DataError, match=r"Sundays and never on Fridays, so the times, in UTC"):
        read_prices(path)
    assert error_names(path) == ["shifted_days"]


def test_days_of_a_market_that_trades_on_sundays_are_read_with_a_finding(tmp_path: Path) -> None:
    path = write(market(SUNDAY_TO_THURSDAY), tmp_path)
    frame = read_prices(path).frame
    assert "trade on Sundays and never on Fridays: right for some markets" in next(price_findings(frame))
    assert "odd_weekdays" in {problem.name for problem in validate(path).problems}


def test_times_that_skip_mondays_for_saturdays_are_refused(tmp_path: Path) -> None:
    closes = pl.col("date").cast(pl.Datetime("us")) + pl.duration(hours=5)
    with pytest.raises(DataError, match="Saturdays and never on Mondays"):
        read_prices(write(market(range(2, 7)).with_columns(closes), tmp_path))


def test_times_at_midnight_or_in_another_zone_are_not_utc() -> None:
    assert not has_utc_times(pl.Series(["2024-01-04 00:00:00", "2024-01-04T00:00:00Z", "2024-01-04", None]))
    assert not has_utc_times(pl.Series([dt.datetime(2024, 1, 4)]))
    local = pl.Series([dt.datetime(2024, 1, 4, 15)]).dt.replace_time_zone("Asia/Tokyo")
    assert not has_utc_times(local) and has_utc_times(local.dt.convert_time_zone("UTC"))


def test_a_weekday_on_which_few_stocks_trade_is_a_finding() -> None:
    frame = pl.concat([stock(f"{code}") for code in range(20)])
    thin = frame.filter((pl.col("date") != dt.date(2024, 1, 17)) | (pl.col("code") == "7"))
    assert thin_days(thin).rows() == [(dt.date(2024, 1, 17), 1, 20)]
    assert next(price_findings(thin)).startswith(
        "1 days with few stocks, which count as trading days of all: 2024-01-17"
    )
