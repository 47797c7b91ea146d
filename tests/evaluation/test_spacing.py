"""Prediction tables that are not daily: periods, annualisation, and what can't be scored."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import annualised_sharpe
from gogooku3.evaluation.portfolio import portfolio_returns
from gogooku3.evaluation.scores import score_predictions
from gogooku3.evaluation.spacing import table_spacing

N_DAYS, N_STOCKS = 200, 12
DAYS = [
    day for day in (dt.date(2024, 1, 1) + dt.timedelta(number) for number in range(400)) if day.weekday() < 5
][:N_DAYS]
CODES = [f"{stock:02}" for stock in range(N_STOCKS)]


@pytest.fixture(scope="module")
def closes() -> np.ndarray:
    """Prices `[days, stocks]` of which the first half of the stocks rises."""
    rng = np.random.default_rng(0)
    drift = np.where(np.arange(N_STOCKS) < N_STOCKS // 2, 0.002, -0.002)
    return 100 * np.cumprod(1 + rng.normal(0, 0.01, size=(N_DAYS, N_STOCKS)) + drift, axis=0)


def table(closes: np.ndarray, horizons: tuple[int, ...], every: int) -> pl.DataFrame:
    """Constant predictions that favour the rising stocks, on every `every`-th day."""
    frames = []
    for horizon in horizons:
        days = np.arange(0, N_DAYS - horizon, every)
        target = closes[days + horizon] / closes[days] - 1
        frames.append(
            pl.DataFrame(
                {
                    "date": np.repeat(np.array(DAYS, dtype="datetime64[D]")[days], N_STOCKS),
                    "code": CODES * len(days),
                    "fold": 0,
                    "model": "m",
                    "horizon": horizon,
                    "prediction": list(-np.arange(N_STOCKS, dtype=float)) * len(days),
                    "target": target.ravel(),
                }
            )
        )
    return pl.concat(frames)


def prices(closes: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": np.repeat(np.array(DAYS, dtype="datetime64[D]"), N_STOCKS),
            "code": CODES * N_DAYS,
            "open": closes.ravel(),
            "close": closes.ravel(),
        }
    )


def period_returns(closes: np.ndarray, every: int) -> np.ndarray:
    """Long the first two stocks and short the last two, from one rebalancing to the next."""
    at = closes[::every]
    moves = at[1:] / at[:-1] - 1
    return moves[:, :2].mean(axis=1) - moves[:, -2:].mean(axis=1)


def test_a_weekly_table_of_five_days_is_held_one_week_and_annualised_by_weeks(closes):
    weekly = table(closes, (5,), every=5)
    expected = period_returns(closes, 5)
    result = portfolio_returns(weekly, cost_bps=0.0)
    assert result["gross"].to_list() == pytest.approx(expected.tolist())
    scores = score_predictions(weekly, cost_bps=0.0)
    block = scores["models"]["m"]["horizons"]["5"]["pooled"]
    assert block["sharpe_gross"] == pytest.approx(annualised_sharpe(expected, 252 / 5))
    assert scores["settings"]["periods_per_year"] == pytest.approx(50.4)
    assert scores["settings"]["spacing_days"] == 5
    assert scores["models"]["m"]["decay"] == [], "there are no daily returns"


def test_the_one_day_targets_of_a_weekly_table_are_no_daily_returns(closes):
    both = portfolio_returns(table(closes, (1, 5), every=5), cost_bps=0.0)
    alone = portfolio_returns(table(closes, (5,), every=5), cost_bps=0.0)
    assert both.filter(horizon=5)["gross"].to_list() == alone["gross"].to_list()
    # A book of one day is held on one day of the week.
    daily = closes[1::5] / closes[:-1:5] - 1
    expected = daily[:, :2].mean(axis=1) - daily[:, -2:].mean(axis=1)
    assert both.filter(horizon=1)["gross"].to_list() == pytest.approx(expected.tolist())


def test_longer_horizons_of_a_weekly_table_overlap_in_weeks(closes):
    result = portfolio_returns(table(closes, (5, 20), every=5), cost_bps=0.0).filter(horizon=20)
    invested = np.minimum(np.arange(len(result)) + 1, 4) / 4
    expected = (invested * period_returns(closes, 5)[: len(result)]).tolist()
    assert result["gross"].to_list() == pytest.approx(expected)


def test_with_prices_a_weekly_table_earns_daily_returns(closes):
    weekly = table(closes, (5,), every=5)
    result = portfolio_returns(weekly, cost_bps=0.0, prices=prices(closes))
    growth = (1 + result["gross"].to_numpy()).prod()
    assert result["date"].to_list() == DAYS[: len(result)]
    assert growth == pytest.approx(np.prod(1 + period_returns(closes, 5)), rel=0.05)
    scores = score_predictions(weekly, cost_bps=0.0, prices=prices(closes))
    assert scores["settings"]["periods_per_year"] == 252
    by_week = score_predictions(weekly, cost_bps=0.0)["models"]["m"]["pooled_sharpe_gross"]
    assert scores["models"]["m"]["pooled_sharpe_gross"] == pytest.approx(by_week, rel=0.15)


def test_a_horizon_without_targets_for_a_period_is_refused(closes):
    with pytest.raises(DataError, match="every 5 trading days, so portfolios of 20 days need targets of 5"):
        portfolio_returns(table(closes, (20,), every=5))


def test_irregular_dates_are_refused_without_prices(closes):
    chosen = [day for number, day in enumerate(DAYS) if number in {0, 2, 20, 24, 60, 61, 90, 130}]
    irregular = table(closes, (5,), every=1).filter(pl.col("date").is_in(chosen))
    with pytest.raises(DataError, match="1 to 40 weekdays apart"):
        portfolio_returns(irregular)
    assert len(portfolio_returns(irregular, prices=prices(closes)))


def test_holidays_and_gaps_between_folds_leave_a_table_daily():
    days = [day for number, day in enumerate(DAYS) if number % 7 and not 50 < number < 80]
    assert table_spacing(pl.Series(days)) == 1
    assert table_spacing(pl.Series(DAYS[::21])) == 21
    assert table_spacing(pl.Series(DAYS[:1])) == 1
