"""Money is neither made nor lost by counting: every book against a ledger of cash and shares."""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.evaluation.portfolio import portfolio_returns

COST, FEE = 0.002, 0.03


def world(seed: int, n_days: int, n_stocks: int, horizon: int) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    """A prediction table with ties, the market's prices, and the prices as arrays `[days + 1, stocks]`."""
    rng = np.random.default_rng(seed)
    night, daytime = rng.normal(0, 0.03, size=(2, n_days, n_stocks))
    opened = np.ones((n_days + 1, n_stocks))
    closed = np.ones((n_days + 1, n_stocks))
    for day in range(n_days):
        opened[day + 1] = closed[day] * (1 + night[day])
        closed[day + 1] = opened[day + 1] * (1 + daytime[day])
    days = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(n_days + 1)]
    codes = [f"{stock:02}" for stock in range(n_stocks)]
    prices = pl.DataFrame(
        {
            "date": np.repeat(np.array(days, dtype="datetime64[D]"), n_stocks),
            "code": codes * (n_days + 1),
            "open": opened.ravel(),
            "close": closed.ravel(),
        }
    )
    keys = prices.filter(pl.col("date") < days[-1]).select("date", "code")
    table = pl.concat(
        keys.with_columns(
            fold=0,
            model=pl.lit("m"),
            horizon=each,
            prediction=pl.Series(rng.integers(0, 4, size=keys.height).astype(float)),
            target=pl.Series((closed[1:] / closed[:-1] - 1).ravel()),
        )
        for each in {1, horizon}
    )
    return table, prices, (opened, closed)


def ledger(
    table: pl.DataFrame, prices: Any, horizon: int, side: str, entry: str, quantile: float
) -> list[float]:
    """Wealth after each day, beside a capital of 1 that never enters: cash and shares, trade by trade.

    Each book is bought and sold by itself; nothing is netted but the fee that a trade pays.
    """
    opened, closed = prices
    n_days, n_stocks = closed.shape[0] - 1, closed.shape[1]
    scores = (
        table.filter(horizon=horizon).sort("date", "code")["prediction"].to_numpy().reshape(n_days, n_stocks)
    )
    places = max(1, int(n_stocks * quantile + 1e-9))
    books: list[np.ndarray] = []
    shares, cash, before, wealth = np.zeros(n_stocks), 0.0, np.zeros(n_stocks), []
    for day in range(n_days):
        price = closed[day] if entry == "close" else opened[day + 1]
        books = [*books, _book(scores[day], places, side) / horizon][-horizon:]
        wanted = np.sum(books, axis=0)
        # What the shares are worth comes back as cash, and what is wanted is paid from it.
        cash += shares @ price - wanted.sum() - COST * np.abs(wanted - before).sum()
        shares, before = wanted / price, wanted
        cash -= FEE / 252 * np.maximum(-wanted, 0).sum()
        wealth.append(cash + shares @ closed[day + 1])
    return wealth


def _book(scores: np.ndarray, places: int, side: str) -> np.ndarray:
    """Places handed out one at a time: a place among the tied goes to each of them in equal parts."""
    if scores.min() == scores.max():
        return np.zeros_like(scores)
    weights = np.zeros_like(scores)
    for sign in (1, -1) if side == "long_short" else (1,):
        left = float(places)
        for value in sorted(set(sign * scores), reverse=True):
            tied = sign * scores == value
            taken = min(left, float(tied.sum()))
            weights[tied] += sign * taken / tied.sum() / places
            left -= taken
    return weights


CASES = {
    "seed": st.integers(0, 10_000),
    "n_days": st.integers(2, 12),
    "n_stocks": st.integers(3, 9),
    "horizon": st.sampled_from([1, 2, 5, 20]),
    "side": st.sampled_from(["long_short", "long_only"]),
    "entry": st.sampled_from(["close", "open"]),
    "quantile": st.sampled_from([0.2, 0.34, 0.5]),
}


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_the_profits_add_up_to_the_wealth_in_the_ledger(
    seed, n_days, n_stocks, horizon, side, entry, quantile
):
    table, prices, arrays = world(seed, n_days, n_stocks, horizon)
    how = {"side": side, "entry": entry, "borrow_rate": FEE, "prices": prices}
    result = portfolio_returns(table, quantile, COST * 1e4, **how).filter(horizon=horizon)
    expected = ledger(table, arrays, horizon, side, entry, quantile)
    np.testing.assert_allclose(result["net"].cum_sum(), expected, atol=1e-12)


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_costs_and_fees_are_all_that_lies_between_gross_and_net(
    seed, n_days, n_stocks, horizon, side, entry, quantile
):
    table, prices, _ = world(seed, n_days, n_stocks, horizon)
    how = {"side": side, "entry": entry, "prices": prices}
    free = portfolio_returns(table, quantile, 0.0, **how)
    dear = portfolio_returns(table, quantile, 50.0, **how, borrow_rate=0.252)
    assert free["net"].to_list() == free["gross"].to_list() == dear["gross"].to_list()
    paid = (dear["gross"] - dear["net"] - 0.005 * dear["turnover"]).to_numpy()
    # A fee of 0.1 % a day on no more than the capital that is short, and on nothing without a short leg.
    assert (paid >= -1e-12).all() and (paid <= 0.001 + 1e-12).all()
    assert side == "long_short" or np.allclose(paid, 0)


@given(seed=st.integers(0, 1000), horizon=st.sampled_from([1, 3, 5]))
@settings(max_examples=15, deadline=None)
def test_both_legs_are_the_long_leg_and_the_long_leg_of_the_opposite_predictions(seed, horizon):
    table, _, _ = world(seed, 8, 7, horizon)
    both = portfolio_returns(table, cost_bps=0.0)
    long = portfolio_returns(table, cost_bps=0.0, side="long_only")
    short = portfolio_returns(table.with_columns(-pl.col("prediction")), cost_bps=0.0, side="long_only")
    assert np.allclose(both["gross"], long["gross"] - short["gross"])


def test_the_night_belongs_to_those_who_held_before_the_open():
    """By hand: A gains 10 % in the night and nothing in the day; who buys at the open earns nothing of it."""
    days = [dt.date(2024, 1, day) for day in (1, 2, 3)]
    prices = pl.DataFrame(
        {
            "date": [day for day in days for _ in "AB"],
            "code": ["A", "B"] * 3,
            "open": [1.0, 1.0, 1.1, 1.0, 1.21, 1.0],
            "close": [1.0, 1.0, 1.1, 1.0, 1.21, 1.0],
        }
    )
    table = pl.DataFrame(
        {
            "date": [day for day in days[:2] for _ in "AB"],
            "code": ["A", "B"] * 2,
            "fold": 0,
            "model": "m",
            "horizon": 1,
            "prediction": [1.0, 0.0] * 2,
            "target": [0.1, 0.0] * 2,
        }
    )
    at = {
        entry: portfolio_returns(table, cost_bps=0.0, entry=entry, prices=prices)["gross"].to_list()
        for entry in ("close", "open")
    }
    assert at["close"] == pytest.approx([0.1, 0.1])
    assert at["open"] == pytest.approx([0.0, 0.1])
