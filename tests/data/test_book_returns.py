"""Returns of portfolios over halts: from the data set's column to the daily returns."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.data.book_returns import add_book_returns, daily_returns

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(6)]


def prices() -> pl.DataFrame:
    rows = [(day, "A", 10.0) for day in DAYS]
    rows += [
        (DAYS[0], "HALT", 100.0),
        (DAYS[1], "HALT", 110.0),
        (DAYS[4], "HALT", 44.0),
        (DAYS[5], "HALT", 44.0),
    ]
    return pl.DataFrame(rows, schema=["date", "code", "close"], orient="row")


def test_the_return_bridges_a_halt_of_any_length():
    books = add_book_returns(prices())
    assert books["date"].is_sorted()
    assert books.filter(code="HALT")["book_return"].to_list() == pytest.approx([None, 0.1, -0.6, 0.0])


def test_a_later_price_changes_no_earlier_return():
    later = prices().with_columns(
        pl.when(pl.col("date") >= DAYS[4]).then(1.0).otherwise("close").alias("close")
    )
    before = pl.col("date") < DAYS[4]
    assert add_book_returns(later).filter(before).equals(add_book_returns(prices()).filter(before))


def test_the_move_over_a_halt_is_earned_on_the_day_before_the_stock_trades_again():
    daily = daily_returns(add_book_returns(prices())).filter(code="HALT")
    assert daily["date"].to_list() == [DAYS[0], DAYS[1], DAYS[3], DAYS[4], DAYS[5]]
    assert daily["return"].to_list() == pytest.approx([0.1, 0.0, -0.6, 0.0, None])
    assert daily["traded"].to_list() == [True, True, False, True, True]


def test_without_the_column_daily_returns_are_the_targets_of_one_day():
    frame = pl.DataFrame({"date": DAYS[:2], "code": ["A", "A"], "target_1d": [0.5, None]})
    assert daily_returns(frame)["return"].to_list() == [0.5, None]
    assert daily_returns(frame).columns == ["date", "code", "return"]
