"""Correlations by hand and against scipy; Sharpe ratio and drawdown by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import (
    annualised_sharpe,
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
)

NAN = float("nan")
RNG = np.random.default_rng(7)
BOTH = pytest.mark.parametrize(
    ("ours", "scipys"),
    [(information_coefficient, stats.pearsonr), (rank_information_coefficient, stats.spearmanr)],
)


@BOTH
def test_one_cross_section_equals_scipy_with_ties(ours, scipys):
    x, y = RNG.integers(0, 6, size=50).astype(float), RNG.normal(size=50)
    assert ours(x, y) == pytest.approx(scipys(x, y).statistic, abs=1e-12)


@BOTH
def test_days_are_correlated_one_by_one_and_averaged(ours, scipys):
    day = RNG.integers(0, 5, size=200)
    x, y = RNG.integers(0, 9, size=200) / 8 + 100.0 * day, RNG.normal(size=200) - 50.0 * day
    expected = np.mean([scipys(x[day == d], y[day == d]).statistic for d in range(5)])
    dates = np.datetime64("2024-01-01") + day
    assert ours(x, y, dates) == pytest.approx(expected, abs=1e-10)


@BOTH
def test_a_panel_of_days_by_stocks_equals_the_flat_form_with_dates(ours, scipys):
    x, y = RNG.normal(size=(6, 15)), RNG.normal(size=(6, 15))
    x[2, 3] = y[4, 1] = NAN
    days = np.repeat(np.arange(6), 15)
    assert ours(x, y) == pytest.approx(ours(x.ravel(), y.ravel(), days), abs=1e-14)
    shuffled = RNG.permutation(90)
    assert ours(x.ravel()[shuffled], y.ravel()[shuffled], days[shuffled]) == pytest.approx(
        ours(x, y), abs=1e-12
    )


@BOTH
def test_pairs_with_a_missing_value_are_dropped(ours, scipys):
    assert ours([1, 2, 3, NAN, 9], [1, 2, 3, 7, NAN]) == pytest.approx(1.0)


@BOTH
def test_days_with_two_names_or_no_spread_are_skipped(ours, scipys):
    x = [1.0, 2.0, 0.1, 0.1, 0.1, 1.0, 2.0, 3.0]
    y = [1.0, 2.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0]
    days = ["a", "a", "b", "b", "b", "c", "c", "c"]
    assert ours(x, y, days) == pytest.approx(-1.0)
    assert np.isnan(ours(x[:5], y[:5], days[:5]))
    assert np.isnan(ours(y[:5], x[:5], days[:5]))


@BOTH
def test_nothing_to_correlate_is_nan(ours, scipys):
    assert np.isnan(ours([], []))
    assert np.isnan(ours([NAN, NAN, NAN], [1.0, 2.0, 3.0]))


@BOTH
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
@settings(max_examples=25, deadline=None)
def test_rescaling_the_predictions_changes_nothing(ours, scipys, scale, shift):
    x, y = np.array([0.5, -1.0, 2.0, 0.25, 4.0]), np.array([1.0, 0.0, 3.0, -2.0, 1.5])
    assert ours(x * scale + shift * scale, y) == pytest.approx(ours(x, y), abs=1e-6)


def test_shapes_that_differ_are_refused_with_both():
    with pytest.raises(DataError, match=r"\(2,\) and targets \(3,\)"):
        information_coefficient([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="one date per row"):
        information_coefficient([1, 2, 3], [1, 2, 3], dates=[1, 2])
    with pytest.raises(DataError, match=r"\[days, stocks\]"):
        compute_sharpe_ratio(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))


def test_sharpe_is_mean_over_sample_deviation_annualised():
    assert annualised_sharpe([0.01, 0.02, 0.03]) == pytest.approx(2.0 * np.sqrt(252))
    assert annualised_sharpe([0.01, NAN, 0.02, 0.03], 12) == pytest.approx(2.0 * np.sqrt(12))


@pytest.mark.parametrize("series", [[], [0.01], [0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]])
def test_sharpe_without_spread_is_nan(series):
    assert np.isnan(annualised_sharpe(series))


def test_sharpe_of_a_panel_is_that_of_the_long_short_portfolio():
    predictions = [[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]
    returns = [[0.03, 0, 0, 0, 0.01], [0.01, 9, 9, 9, 0.02], [0.01, 0, 0, 0, 0.03]]
    daily = [0.02, 0.01, -0.02]
    assert compute_sharpe_ratio(predictions, returns) == pytest.approx(annualised_sharpe(daily))
    flat = compute_sharpe_ratio(np.ravel(predictions), np.ravel(returns), dates=np.repeat([3, 4, 5], 5))
    assert flat == pytest.approx(annualised_sharpe(daily))


def test_costs_are_charged_on_turnover():
    predictions = [[2, 1], [2, 1], [1, 2]]
    returns = [[0.03, 0.01], [0.01, 0.02], [0.01, 0.03]]
    # Drifted weights before the second and third day, from growth of 1.02 and 0.99.
    second = abs(1 - 1.03 / 1.02) + abs(-1 + 1.01 / 1.02)
    third = abs(-1 - 1.01 / 0.99) + abs(1 + 1.02 / 0.99)
    net = [0.02 - 2 * 0.001, -0.01 - second * 0.001, 0.02 - third * 0.001]
    assert compute_sharpe_ratio(predictions, returns, cost_bps=10) == pytest.approx(annualised_sharpe(net))
    reordered = compute_sharpe_ratio(predictions[::-1], returns[::-1], dates=[3, 2, 1], cost_bps=10)
    assert reordered == pytest.approx(annualised_sharpe(net))


def test_costs_without_stock_identities_are_refused():
    with pytest.raises(DataError, match="position on the day before"):
        compute_sharpe_ratio([1, 2], [0.1, 0.2], dates=[1, 1], cost_bps=5)


def test_one_asset_is_held_by_the_sign_of_its_prediction():
    series = [0.01, 0.02, 0.0, 0.03]
    assert compute_sharpe_ratio([2.0, -1.0, NAN, 0.1], [0.01, -0.02, 0.5, 0.03]) == pytest.approx(
        annualised_sharpe(series)
    )


def test_a_held_stock_without_a_return_earns_zero_and_an_unknown_day_is_skipped():
    predictions = [[2, 1], [2, 1], [2, 1]]
    returns = [[NAN, 0.01], [0.03, 0.01], [NAN, NAN]]
    assert compute_sharpe_ratio(predictions, returns) == pytest.approx(annualised_sharpe([-0.01, 0.02]))


def test_drawdown_of_returns_and_of_predictions_by_hand():
    series = [0.10, -0.20, 0.05, -0.10, 0.30]
    deepest = 1 - 0.8 * 1.05 * 0.9
    assert compute_max_drawdown(series) == pytest.approx(deepest)
    assert compute_max_drawdown(np.ones(5), series) == pytest.approx(deepest)
    panel = np.tile([2.0, 1.0], (5, 1)), np.column_stack([series, np.zeros(5)])
    assert compute_max_drawdown(*panel) == pytest.approx(deepest)


def test_drawdown_includes_the_start_and_is_at_most_one():
    assert compute_max_drawdown([-0.3, 0.1]) == pytest.approx(0.3)
    assert compute_max_drawdown([0.1, 0.2]) == 0.0
    assert compute_max_drawdown([0.5, -1.5, 3.0]) == 1.0
    assert np.isnan(compute_max_drawdown([]))
    with pytest.raises(DataError, match="flat"):
        compute_max_drawdown([[0.1, 0.2]])
