"""Calendar, limits and ticks against the published ones."""

import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gogooku3.data.synthetic.tokyo_rules import (
    closed_days,
    price_limits,
    round_to_tick,
    tick_size,
    trading_days,
)


def test_the_holidays_of_2024_are_the_published_ones() -> None:
    published = ["01-01", "01-02", "01-03", "01-08", "02-12", "02-23", "03-20", "04-29", "05-03", "05-06"]
    published += ["07-15", "08-12", "09-16", "09-23", "10-14", "11-04", "12-31"]
    on_weekdays = [f"{day:%m-%d}" for day in closed_days(2024) if day.weekday() < 5]
    assert on_weekdays == published


def test_years_have_the_published_number_of_trading_days() -> None:
    for year, published in ((2022, 244), (2023, 246), (2024, 245)):
        days = trading_days(dt.date(year, 1, 1), 300)
        assert int((days < np.datetime64(f"{year + 1}-01-01")).sum()) == published


def test_a_day_between_two_holidays_is_closed() -> None:
    assert dt.date(2015, 9, 22) in closed_days(2015)
    assert dt.date(2024, 9, 17) not in closed_days(2024)


def test_requesting_more_days_does_not_change_earlier_ones() -> None:
    long = trading_days(dt.date(1999, 12, 30), 1000)
    assert (trading_days(dt.date(1999, 12, 30), 400) == long[:400]).all()
    assert (np.diff(long) > np.timedelta64(0, "D")).all()
    assert np.is_busday(long).all()


def test_the_limit_widens_at_the_published_bands() -> None:
    base = np.array([99.9, 100.0, 499.9, 500.0, 1500.0, 9990.0, 10_000.0])
    low, high = price_limits(base)
    assert (high - base).round(1).tolist() == [30.0, 50.0, 80.0, 100.0, 400.0, 1500.0, 3000.0]
    assert (base - low).round(1).tolist()[1:5] == [50.0, 80.0, 100.0, 400.0]


@given(st.floats(min_value=2.0, max_value=90_000.0))
def test_limits_are_on_ticks_around_the_base(price: float) -> None:
    base = np.array([price])
    low, high = price_limits(base)
    assert 1.0 <= low[0] < price < high[0]
    assert np.array_equal(round_to_tick(low), low)
    assert np.array_equal(round_to_tick(high), high)


@given(st.floats(min_value=100.0, max_value=90_000.0))
def test_a_tick_is_at_most_a_thousandth_of_the_price(price: float) -> None:
    assert tick_size(np.array([price]))[0] <= price / 1000.0 * (1 + 1e-12)
