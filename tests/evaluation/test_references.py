"""Scores against values computed once with other libraries.

alphalens-reloaded 0.5.1, empyrical-reloaded 0.7.1, skfolio 1.12.2, statsmodels 0.15.0. The inputs are
sines, which are the same on every machine.
"""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.metrics import annualised_sharpe, compute_max_drawdown, equity_curve
from gogooku3.evaluation.portfolio_weights import quantile_weights, turnover
from gogooku3.evaluation.quantiles import quantile_returns
from gogooku3.evaluation.scores import market_exposure
from gogooku3.evaluation.significance import deflated_sharpe, probabilistic_sharpe

STEP = np.arange(250)
RETURNS = 0.01 * np.sin(1.7 * STEP) + 0.004 * np.cos(0.37 * STEP * STEP) + 0.0006
MARKET = 0.008 * np.sin(0.9 * STEP + 0.5) + 0.0004
CELL = np.arange(120).reshape(12, 10)
FACTOR = np.sin(1.3 * CELL) + 0.2 * np.cos(2.1 * CELL * CELL)
NEXT = 0.01 * np.sin(1.3 * CELL + 0.8) + 0.005 * np.cos(CELL * CELL * 0.7)
TABLE = pl.DataFrame(
    {
        "date": [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(12) for _ in range(10)],
        "code": list("ABCDEFGHIJ") * 12,
        "fold": 0,
        "model": "m",
        "horizon": 1,
        "prediction": FACTOR.ravel(),
        "target": NEXT.ravel(),
    }
)


def test_sharpe_drawdown_equity_and_beta_equal_empyrical() -> None:
    assert annualised_sharpe(RETURNS) == pytest.approx(1.6928817348699563, rel=1e-12)
    assert compute_max_drawdown(RETURNS) == pytest.approx(0.02585921784594581, rel=1e-12)
    assert equity_curve(RETURNS)[-1] - 1 == pytest.approx(0.20800029499296002, rel=1e-12)
    assert market_exposure(RETURNS, MARKET)[0] == pytest.approx(-0.029621489567326915, rel=1e-10)


def test_the_probabilistic_and_the_deflated_sharpe_equal_skfolio() -> None:
    assert probabilistic_sharpe(RETURNS) == pytest.approx(0.9537806095705712, rel=1e-12)
    assert probabilistic_sharpe(RETURNS, 0.05) == pytest.approx(0.8142676353894371, rel=1e-12)
    trials = [0.02, -0.01, 0.05, 0.1065, 0.03]
    assert deflated_sharpe(RETURNS, trials) == pytest.approx(0.8069653917349574, rel=1e-12)


def test_the_rank_ic_of_every_day_equals_alphalens() -> None:
    expected = [71, 69, 73, 65, 79, 103, 51, 133, 57, 125, 109, 93]
    assert daily_ic(TABLE)["rank_ic"].to_list() == pytest.approx([each / 165 for each in expected], abs=1e-12)


def test_the_returns_by_quantile_equal_alphalens() -> None:
    excess = quantile_returns(TABLE, 5).sort("quantile")["mean"].to_list()
    expected = [
        -0.005958955015649237,
        -0.0034080796218106594,
        0.0008727441556789576,
        0.0035815679937291002,
        0.004912722488051839,
    ]
    assert excess == pytest.approx(expected, rel=1e-10)


def test_the_turnover_of_both_fifths_equals_alphalens() -> None:
    # alphalens counts the share of new names in a quantile; we count purchases and sales, twice as much.
    weights = quantile_weights(FACTOR, 0.2)
    for leg, share in ((np.maximum(-weights, 0), 3.5 / 11), (np.maximum(weights, 0), 4 / 11)):
        assert turnover(leg)[1:].mean() / 2 == pytest.approx(share, rel=1e-12)
