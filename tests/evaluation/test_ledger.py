"""Portfolio returns against a ledger of cash and shares."""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.evaluation.portfolio import portfolio_returns

COST, FEE = 0.002, 0.03


def make_market(
    seed: int, n_days: int, n_stocks: int, horizon: int
) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
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
) -> list[tuple[float, float, float]]:
    """Gross return, net return and turnover of each day, from cash and shares, trade by trade."""
    opened, closed = prices
    n_days, n_stocks = closed.shape[0] - 1, closed.shape[1]
    scores = (
        table.filter(horizon=horizon).sort("date", "code")["prediction"].to_numpy().reshape(n_days, n_stocks)
    )
    places = max(1, int(n_stocks * quantile + 1e-9))
    books: list[np.ndarray] = []
    shares, cash, rows = np.zeros(n_stocks), 1.0, []
    for day in range(n_days):
        before = cash + shares @ closed[day]
        price = closed[day] if entry == "close" else opened[day + 1]
        books = [*books, _book(scores[day], places, side) / horizon][-horizon:]
        wealth = cash + shares @ price
        target = np.sum(books, axis=0) * wealth
        traded = np.abs(target - shares * price).sum() / wealth
        cash += shares @ price - target.sum()
        shares = target / price
        gross = (cash + shares @ closed[day + 1]) / before - 1
        fee = FEE / 252 * np.maximum(-target, 0).sum() / wealth
        rows.append((gross, gross - COST * traded - fee, traded))
    return rows


def _book(scores: np.ndarray, places: int, side: str) -> np.ndarray:
    """Fill a leg's places from the best score down; tied stocks share places equally."""
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
def test_returns_and_turnover_equal_those_of_the_ledger(
    seed, n_days, n_stocks, horizon, side, entry, quantile
):
    table, prices, arrays = make_market(seed, n_days, n_stocks, horizon)
    trading = {"side": side, "entry": entry, "borrow_rate": FEE, "prices": prices}
    result = portfolio_returns(table, quantile, COST * 1e4, **trading).filter(horizon=horizon)
    expected = ledger(table, arrays, horizon, side, entry, quantile)
    np.testing.assert_allclose(result.select("gross", "net", "turnover").to_numpy(), expected, atol=1e-12)


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_gross_and_net_differ_only_by_costs_and_fees(seed, n_days, n_stocks, horizon, side, entry, quantile):
    table, prices, _ = make_market(seed, n_days, n_stocks, horizon)
    trading = {"side": side, "entry": entry, "prices": prices}
    free = portfolio_returns(table, quantile, 0.0, **trading)
    costly = portfolio_returns(table, quantile, 50.0, **trading, borrow_rate=0.252)
    assert free["net"].to_list() == free["gross"].to_list() == costly["gross"].to_list()
    paid = (costly["gross"] - costly["net"] - 0.005 * costly["turnover"]).to_numpy()
    # The fee is 0.1 % per day of at most the capital short, and zero without a short leg.
    assert (paid >= -1e-12).all() and (paid <= 0.001 + 1e-12).all()
    assert side == "long_short" or np.allclose(paid, 0)


@given(seed=st.integers(0, 1000), horizon=st.sampled_from([1, 3, 5]))
@settings(max_examples=15, deadline=None)
def test_the_short_leg_is_the_long_leg_of_the_negated_predictions(seed, horizon):
    table, _, _ = make_market(seed, 8, 7, horizon)
    both = portfolio_returns(table, cost_bps=0.0)
    long = portfolio_returns(table, cost_bps=0.0, side="long_only")
    short = portfolio_returns(table.with_columns(-pl.col("prediction")), cost_bps=0.0, side="long_only")
    assert np.allclose(both["gross"], long["gross"] - short["gross"])


def test_a_position_opened_at_the_open_does_not_earn_the_night():
    """A gains 10 % overnight and nothing during the day."""
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
