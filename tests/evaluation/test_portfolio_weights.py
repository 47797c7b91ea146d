"""Portfolio weights by hand, with ties, and over overlapping books."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gogooku3.errors import ConfigError
from gogooku3.evaluation.portfolio_weights import overlapping_weights, quantile_weights, turnover

NAN = float("nan")
SCORES = arrays(float, (4, 11), elements=st.sampled_from([-1.0, 0.0, 0.0, 0.5, 2.0, NAN]))


def test_the_top_and_bottom_fifth_of_ten_stocks_hold_two_each():
    weights = quantile_weights([np.arange(10.0)], 0.2)
    assert weights.tolist() == [[-0.5, -0.5, 0, 0, 0, 0, 0, 0, 0.5, 0.5]]


def test_a_stock_without_a_score_has_no_weight_and_is_not_counted():
    weights = quantile_weights([[NAN, 1.0, np.inf, 2.0, 3.0, 4.0, -np.inf]], 0.25)
    assert weights.tolist() == [[0, -1, 0, 0, 0, 1, 0]]


def test_each_leg_holds_at_least_one_stock():
    assert quantile_weights([[3.0, 1.0]], 0.2).tolist() == [[1.0, -1.0]]


def test_stocks_tied_at_the_edge_share_the_places_left():
    weights = quantile_weights([[9.0, 5.0, 5.0, 5.0, 1.0, 0.0]], 1 / 3)
    assert np.allclose(weights, [[0.5, 1 / 6, 1 / 6, 1 / 6, -0.5, -0.5]])


@pytest.mark.parametrize("row", [[1.0, 1.0, 1.0], [NAN, NAN, NAN], [NAN, 2.0, NAN]])
def test_a_day_with_equal_scores_holds_nothing(row):
    assert not quantile_weights([row]).any()


def test_an_empty_market_holds_nothing():
    assert quantile_weights(np.empty((3, 0))).shape == (3, 0)


@given(SCORES, st.sampled_from([0.1, 0.2, 0.3, 0.5]))
@settings(max_examples=60, deadline=None)
def test_each_day_is_neutral_and_the_order_of_stocks_does_not_matter(scores, quantile):
    weights = quantile_weights(scores, quantile)
    assert np.allclose(weights.sum(axis=1), 0.0)
    assert (np.abs(weights).sum(axis=1) <= 2.0 + 1e-9).all()
    order = np.random.default_rng(0).permutation(scores.shape[1])
    assert np.allclose(quantile_weights(scores[:, order], quantile), weights[:, order])
    assert np.allclose(quantile_weights(-scores, quantile), -weights)


@pytest.mark.parametrize("quantile", [0.0, -0.1, 0.51, NAN])
def test_a_quantile_out_of_range_is_refused(quantile):
    with pytest.raises(ConfigError, match=r"above 0 and up to 0\.5"):
        quantile_weights([[1.0, 2.0]], quantile)


@pytest.mark.parametrize("horizon", [1, 2, 5, 20, 50])
def test_overlapping_books_together_hold_the_capital_once(horizon):
    decided = quantile_weights(np.random.default_rng(1).normal(size=(40, 10)))
    held = overlapping_weights(decided, horizon)
    invested = np.minimum(np.arange(40) + 1, horizon) / horizon
    assert (np.abs(held).sum(axis=1) <= 2 * invested + 1e-12).all()
    # Constant scores hold exactly the capital invested.
    steady = overlapping_weights(np.tile(decided[:1], (40, 1)), horizon)
    assert np.allclose(np.abs(steady).sum(axis=1), 2 * invested)


def test_a_book_is_closed_after_its_horizon():
    decided = np.zeros((6, 1))
    decided[1] = 1.0
    assert overlapping_weights(decided, 3).ravel().tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_turnover_counts_opening_and_every_change():
    assert turnover([[0.5, -0.5], [0.5, -0.5], [0.0, 0.0], [0.25, 0.0]]).tolist() == [1.0, 0.0, 1.0, 0.25]
